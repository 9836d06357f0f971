/* The VFS that checks pages, and writes none with bytes in it that belong to nothing; for base/db.c
 * alone. */
#ifndef CARREL_BASE_DB_CHECK_H
#define CARREL_BASE_DB_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DB_VFS "carrel"
#define DB_PAGE_BYTES 8192
#define DB_RESERVED_BYTES 32
#define DB_APPLICATION_ID 0x4361724cU /* "CarL": every page of this file was written with a sum */
/* "CarM": that too, and each with its free space blank, and by writers that blank what they delete
 * (secure_delete) */
#define DB_BLANKED_ID 0x4361724dU
/* From so many pages on (256 GiB) a page of a tree cannot be told by its first byte. */
#define DB_BLANKED_PAGES (UINT32_C(1) << 25)

/* Makes DB_VFS known to SQLite; any thread, any number of times. */
void db_check_register(void);

#endif
