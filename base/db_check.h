/* The VFS that checks pages; for base/db.c alone. */
#ifndef CARREL_BASE_DB_CHECK_H
#define CARREL_BASE_DB_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DB_VFS "carrel"
#define DB_PAGE_BYTES 8192
#define DB_RESERVED_BYTES 32
#define DB_APPLICATION_ID 0x4361724cU /* "CarL": every page of this file was written with a sum */

/* Makes DB_VFS known to SQLite; any thread, any number of times. */
void db_check_register(void);

#endif
