/* Pages that say when the disk has changed them. SQLite does not check what it reads: a flipped bit
 * in a text is returned as text. This VFS, over "unix", keeps in the last 8 bytes of a page's
 * reserved 32 a sum over the page and its number, and compares it at every read of a page from the
 * database file.
 *
 * Only the database file: pages in the log (-wal) carry SQLite's own sums, checked when a log is
 * recovered, and get ours when a checkpoint carries them over. Files made before this have pages
 * without a sum (all zero): those pass until they are next written; in files made since
 * (application id) only a page that was never written may be without. Method: the sum of SQLite's
 * cksumvfs extension, seeded with the page number, so that a page written to the wrong place is
 * noticed too.
 *
 * And pages without what was. SQLite blanks a row that is deleted (secure_delete), but when it
 * moves rows between pages their old bytes stay behind in what is free space now, and are deleted
 * by nobody. So the free space of a page of a tree (file format, section 1.6: the gap between the
 * cell pointers and the cells, the inside of free blocks) is written as zeros. What a database file
 * holds is then what its rows hold, at every moment, and nothing has to be rewritten to be sure of
 * it. */
#include "base/db_check.h"

#include <pthread.h>
#include <sqlite3.h>
#include <string.h>

#define PAGE DB_PAGE_BYTES
#define SUM_AT (PAGE - 8)
#define RESERVED_AT 20
#define APPLICATION_AT 68
#define PAGES_AT 28
#define USABLE (PAGE - DB_RESERVED_BYTES)
#define FILE_HEADER 100 /* before the tree's header, on page 1 */

struct checked {
    sqlite3_file base;
    bool known, strict; /* its pages carry sums; every one does */
    uint32_t pages;
};

static sqlite3_file *real(sqlite3_file *f)
{
    return (sqlite3_file *)(void *)((struct checked *)(void *)f + 1);
}

static uint32_t be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static size_t be16(const unsigned char *p)
{
    return (size_t)p[0] << 8 | p[1];
}

static void learn(struct checked *f, const unsigned char *head)
{
    f->known = memcmp(head, "SQLite format 3", 16) == 0 && head[16] == (PAGE >> 8) &&
               head[17] == (PAGE & 0xff) && head[RESERVED_AT] == DB_RESERVED_BYTES;
    uint32_t id = be32(head + APPLICATION_AT);
    f->strict = f->known && (id == DB_APPLICATION_ID || id == DB_BLANKED_ID);
    f->pages = be32(head + PAGES_AT);
}

/* ---- free space ---- */

/* Is it a page of a tree, sound in what is looked at here? Free blocks in ascending order. */
static bool is_tree(const unsigned char *page, size_t at, size_t *pointers_end, size_t *cells)
{
    const unsigned char *h = page + at;
    bool leaf = h[0] == 10 || h[0] == 13;
    if (!leaf && h[0] != 2 && h[0] != 5) {
        return false;
    }
    size_t pointers = at + (leaf ? 8 : 12);
    *pointers_end = pointers + 2 * be16(h + 3);
    *cells = be16(h + 5);
    if (*pointers_end > *cells || *cells > USABLE) {
        return false;
    }
    for (size_t i = pointers; i < *pointers_end; i += 2) {
        if (be16(page + i) < *cells || be16(page + i) >= USABLE) {
            return false;
        }
    }
    size_t least = *cells;
    for (size_t b = be16(h + 1); b != 0; b = be16(page + b)) {
        if (b < least || b + 4 > USABLE || be16(page + b + 2) < 4 ||
            b + be16(page + b + 2) > USABLE) {
            return false;
        }
        least = b + be16(page + b + 2);
    }
    return true;
}

static void blank_free_space(unsigned char *page, size_t at)
{
    size_t pointers_end = 0;
    size_t cells = 0;
    if (!is_tree(page, at, &pointers_end, &cells)) {
        return; /* of an overflowing row, or of the list of free pages */
    }
    memset(page + pointers_end, 0, cells - pointers_end);
    for (size_t b = be16(page + at + 1); b != 0; b = be16(page + b)) {
        memset(page + b + 4, 0, be16(page + b + 2) - 4);
    }
}

/* ---- sums ---- */

static void sum_of(const unsigned char *page, sqlite3_int64 number, unsigned char out[8])
{
    uint32_t s1 = (uint32_t)number;
    uint32_t s2 = (uint32_t)((uint64_t)number >> 32) + 1;
    for (size_t i = 0; i < SUM_AT; i += 8) {
        uint32_t w[2];
        memcpy(w, page + i, sizeof w);
        s1 += w[0] + s2;
        s2 += w[1] + s1;
    }
    s1 = s1 == 0 && s2 == 0 ? 1 : s1; /* zero means: none */
    memcpy(out, &s1, 4);
    memcpy(out + 4, &s2, 4);
}

static bool all_zero(const unsigned char *p, size_t n)
{
    return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

static bool sound(const struct checked *f, const unsigned char *page, sqlite3_int64 number)
{
    unsigned char sum[8];
    if (all_zero(page + SUM_AT, 8)) {
        return !f->strict || all_zero(page, PAGE);
    }
    sum_of(page, number, sum);
    return memcmp(sum, page + SUM_AT, sizeof sum) == 0;
}

static int on_read(sqlite3_file *file, void *p, int n, sqlite3_int64 at)
{
    struct checked *f = (struct checked *)(void *)file;
    int rc = real(file)->pMethods->xRead(real(file), p, n, at);
    if (rc != SQLITE_OK) {
        return rc;
    }
    if (at == 0 && n >= 100) {
        learn(f, p);
    }
    return f->known && n == PAGE && at % PAGE == 0 && !sound(f, p, at / PAGE) ? SQLITE_IOERR_DATA
                                                                              : SQLITE_OK;
}

static int on_write(sqlite3_file *file, const void *p, int n, sqlite3_int64 at)
{
    struct checked *f = (struct checked *)(void *)file;
    unsigned char page[PAGE];
    if (at == 0 && n >= 100) {
        learn(f, p);
    }
    if (f->known && n == PAGE && at % PAGE == 0) {
        memcpy(page, p, PAGE);
        if (f->pages < DB_BLANKED_PAGES) {
            blank_free_space(page, at == 0 ? FILE_HEADER : 0);
        }
        sum_of(page, at / PAGE, page + SUM_AT);
        p = page;
    }
    return real(file)->pMethods->xWrite(real(file), p, n, at);
}

/* ---- the rest goes on as it is ---- */

#define PASS(name, params, args)                                                                   \
    static int name params                                                                         \
    {                                                                                              \
        return real(f)->pMethods->name args;                                                       \
    }

static int xClose(sqlite3_file *f)
{
    int rc = real(f)->pMethods->xClose(real(f));
    f->pMethods = NULL;
    return rc;
}
PASS(xTruncate, (sqlite3_file * f, sqlite3_int64 size), (real(f), size))
PASS(xSync, (sqlite3_file * f, int flags), (real(f), flags))
PASS(xFileSize, (sqlite3_file * f, sqlite3_int64 *size), (real(f), size))
PASS(xLock, (sqlite3_file * f, int level), (real(f), level))
PASS(xUnlock, (sqlite3_file * f, int level), (real(f), level))
PASS(xCheckReservedLock, (sqlite3_file * f, int *out), (real(f), out))
PASS(xFileControl, (sqlite3_file * f, int op, void *arg), (real(f), op, arg))
PASS(xSectorSize, (sqlite3_file * f), (real(f)))
PASS(xDeviceCharacteristics, (sqlite3_file * f), (real(f)))
PASS(xShmMap, (sqlite3_file * f, int page, int size, int extend, void volatile **out),
     (real(f), page, size, extend, out))
PASS(xShmLock, (sqlite3_file * f, int offset, int n, int flags), (real(f), offset, n, flags))
PASS(xShmUnmap, (sqlite3_file * f, int remove), (real(f), remove))

static void xShmBarrier(sqlite3_file *f)
{
    real(f)->pMethods->xShmBarrier(real(f));
}

/* Version 2: no memory mapping, which would read past the check. */
static const sqlite3_io_methods methods = {.iVersion = 2,
                                           .xClose = xClose,
                                           .xRead = on_read,
                                           .xWrite = on_write,
                                           .xTruncate = xTruncate,
                                           .xSync = xSync,
                                           .xFileSize = xFileSize,
                                           .xLock = xLock,
                                           .xUnlock = xUnlock,
                                           .xCheckReservedLock = xCheckReservedLock,
                                           .xFileControl = xFileControl,
                                           .xSectorSize = xSectorSize,
                                           .xDeviceCharacteristics = xDeviceCharacteristics,
                                           .xShmMap = xShmMap,
                                           .xShmLock = xShmLock,
                                           .xShmBarrier = xShmBarrier,
                                           .xShmUnmap = xShmUnmap};

static int on_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
    sqlite3_vfs *unix_vfs = vfs->pAppData;
    if ((flags & SQLITE_OPEN_MAIN_DB) == 0) {
        return unix_vfs->xOpen(unix_vfs, name, file, flags, out);
    }
    struct checked *f = (struct checked *)(void *)file;
    *f = (struct checked){.known = false};
    int rc = unix_vfs->xOpen(unix_vfs, name, real(file), flags, out);
    if (rc == SQLITE_OK) {
        file->pMethods = &methods;
    }
    return rc;
}

static sqlite3_vfs checked_vfs; /* SQLite keeps it: registered once a process */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void enlist(void)
{
    sqlite3_vfs *unix_vfs = sqlite3_vfs_find("unix");
    if (unix_vfs == NULL) {
        return;
    }
    checked_vfs = *unix_vfs;
    checked_vfs.zName = DB_VFS;
    checked_vfs.pNext = NULL;
    checked_vfs.pAppData = unix_vfs;
    checked_vfs.szOsFile = (int)sizeof(struct checked) + unix_vfs->szOsFile;
    checked_vfs.xOpen = on_open;
    (void)sqlite3_vfs_register(&checked_vfs, 0); /* one that is missing shows at the opening */
}

void db_check_register(void)
{
    (void)pthread_once(&once, enlist);
}
