#include "base/audit/payload.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(AUDIT_BOX_PUBLIC_BYTES == crypto_box_PUBLICKEYBYTES, "X25519 public key");
_Static_assert(AUDIT_BOX_SECRET_BYTES == crypto_box_SECRETKEYBYTES, "X25519 secret key");

static const struct db_migration migrations[] = {
    {1, "CREATE TABLE payload(seq INTEGER PRIMARY KEY, sealed INTEGER NOT NULL,"
        " salt BLOB, text BLOB NOT NULL, at_wall_ms INTEGER NOT NULL) STRICT;"
        "CREATE INDEX payload_by_time ON payload(at_wall_ms);"
        "CREATE TABLE documents(document TEXT NOT NULL, seq INTEGER NOT NULL,"
        " PRIMARY KEY(document, seq)) STRICT, WITHOUT ROWID;"
        "CREATE INDEX documents_by_seq ON documents(seq);"
        "CREATE TABLE erased(document TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;"},
    /* lines of the chain, a group by its last record's number, that the chain's own file may not
     * have on the disk yet */
    {2, "CREATE TABLE waiting(seq INTEGER PRIMARY KEY, lines BLOB NOT NULL) STRICT;"},
    /* versions before left texts behind whose records could not be written: a row says that there
     * may be such, until the chain is opened the next time */
    {3, "CREATE TABLE loose(seq INTEGER PRIMARY KEY) STRICT;"
        "INSERT INTO loose SELECT max(seq) FROM payload HAVING count(*) > 0;"},
};

static void need_sodium(void)
{
    if (sodium_init() < 0) {
        abort();
    }
}

void audit_box_new(struct audit_box_key *out)
{
    need_sodium();
    (void)crypto_box_keypair(out->public, out->secret);
}

void audit_box_public(const uint8_t secret[AUDIT_BOX_SECRET_BYTES],
                      uint8_t out[AUDIT_BOX_PUBLIC_BYTES])
{
    (void)crypto_scalarmult_base(out, secret);
}

enum status audit_payload_open(const char *path, unsigned flags, sqlite3 **out, struct error *err)
{
    return db_open(path, flags, migrations, sizeof migrations / sizeof migrations[0], out, err);
}

static enum status put_row(sqlite3 *db, int64_t seq, int64_t at, const uint8_t *salt,
                           const void *text, size_t len, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s =
        db_prepare(db, "INSERT OR REPLACE INTO payload VALUES(?1,?2,?3,?4,?5)", &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 1, seq);
        (void)sqlite3_bind_int(st, 2, salt == NULL);
        if (salt != NULL) {
            (void)sqlite3_bind_blob(st, 3, salt, AUDIT_SALT_BYTES, SQLITE_STATIC);
        }
        (void)sqlite3_bind_blob64(st, 4, text, len, SQLITE_STATIC);
        (void)sqlite3_bind_int64(st, 5, at);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

static enum status put_sealed(sqlite3 *db, int64_t seq, int64_t at,
                              const uint8_t salt[AUDIT_SALT_BYTES], struct str text,
                              const uint8_t *to, struct error *err)
{
    size_t len = AUDIT_SALT_BYTES + text.len;
    uint8_t *clear = malloc(len);
    uint8_t *box = malloc(len + crypto_box_SEALBYTES);
    enum status s = STATUS_OK;
    if (clear == NULL || box == NULL) {
        s = error_set(err, STATUS_NO_MEMORY, "out of memory");
        goto out;
    }
    need_sodium();
    memcpy(clear, salt, AUDIT_SALT_BYTES);
    if (text.len > 0) {
        memcpy(clear + AUDIT_SALT_BYTES, text.ptr, text.len);
    }
    if (crypto_box_seal(box, clear, len, to) != 0) {
        s = error_set(err, STATUS_INVALID, "audit.auditor_key: this is no public key");
        goto out;
    }
    s = put_row(db, seq, at, NULL, box, len + crypto_box_SEALBYTES, err);
out:
    if (clear != NULL) {
        sodium_memzero(clear, len);
    }
    free(clear);
    free(box);
    return s;
}

enum status audit_payload_put(sqlite3 *db, int64_t seq, int64_t at_wall_ms,
                              const uint8_t salt[AUDIT_SALT_BYTES], struct str text,
                              const uint8_t *seal_to, const char *documents, size_t n_documents,
                              struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = seal_to == NULL ? put_row(db, seq, at_wall_ms, salt, text.ptr, text.len, err)
                                    : put_sealed(db, seq, at_wall_ms, salt, text, seal_to, err);
    if (s == STATUS_OK && n_documents > 0) {
        s = db_prepare(db, "INSERT OR IGNORE INTO documents VALUES(?1,?2)", &st, err);
    }
    for (size_t i = 0; i < n_documents && s == STATUS_OK; i++) {
        (void)sqlite3_bind_text(st, 1, documents, -1, SQLITE_STATIC);
        (void)sqlite3_bind_int64(st, 2, seq);
        s = db_run(st, err);
        documents += strlen(documents) + 1;
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status audit_payload_erased(sqlite3 *db, const char *documents, size_t n, bool *out,
                                 struct error *err)
{
    sqlite3_stmt *st = NULL;
    *out = false;
    enum status s = db_prepare(db, "SELECT 1 FROM erased WHERE document=?1", &st, err);
    for (size_t i = 0; i < n && s == STATUS_OK && !*out; i++) {
        (void)sqlite3_bind_text(st, 1, documents, -1, SQLITE_STATIC);
        s = db_row(st, out, err);
        db_reset(st);
        documents += strlen(documents) + 1;
    }
    (void)sqlite3_finalize(st);
    return s;
}

static enum audit_text_state open_sealed(struct str box, const struct audit_box_key *key,
                                         struct audit_payload *out, struct buf *text)
{
    if (key == NULL) {
        return AUDIT_TEXT_SEALED;
    }
    if (box.len < crypto_box_SEALBYTES + AUDIT_SALT_BYTES) {
        return AUDIT_TEXT_BAD;
    }
    size_t len = box.len - crypto_box_SEALBYTES;
    uint8_t *clear = malloc(len);
    enum audit_text_state state = AUDIT_TEXT_BAD;
    if (clear != NULL && crypto_box_seal_open(clear, (const uint8_t *)box.ptr, box.len, key->public,
                                              key->secret) == 0) {
        memcpy(out->salt, clear, AUDIT_SALT_BYTES);
        buf_append(text, clear + AUDIT_SALT_BYTES, len - AUDIT_SALT_BYTES);
        state = AUDIT_TEXT_HERE;
    }
    free(clear);
    return state;
}

enum status audit_payload_get(sqlite3 *db, int64_t seq, const struct audit_box_key *key,
                              struct audit_payload *out, struct buf *text, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    out->state = AUDIT_TEXT_ABSENT;
    enum status s = db_prepare(db, "SELECT sealed, salt, text FROM payload WHERE seq=?1", &st, err);
    if (s == STATUS_OK) {
        need_sodium();
        (void)sqlite3_bind_int64(st, 1, seq);
        s = db_row(st, &row, err);
    }
    if (s == STATUS_OK && row) {
        struct str salt = db_column(st, 1);
        struct str bytes = db_column(st, 2);
        buf_reset(text);
        if (sqlite3_column_int(st, 0) != 0) {
            out->state = open_sealed(bytes, key, out, text);
        } else if (salt.len == AUDIT_SALT_BYTES) {
            memcpy(out->salt, salt.ptr, AUDIT_SALT_BYTES);
            buf_str(text, bytes);
            out->state = AUDIT_TEXT_HERE;
        } else {
            out->state = AUDIT_TEXT_BAD;
        }
        s = buf_status(text);
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status audit_waiting_put(sqlite3 *db, int64_t last_seq, struct str lines, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(db, "INSERT OR REPLACE INTO waiting VALUES(?1,?2)", &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 1, last_seq);
        (void)sqlite3_bind_blob64(st, 2, lines.ptr, lines.len, SQLITE_STATIC);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status audit_waiting_drop(sqlite3 *db, int64_t from, int64_t to, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(db, "DELETE FROM waiting WHERE seq BETWEEN ?1 AND ?2", &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 1, from);
        (void)sqlite3_bind_int64(st, 2, to);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status audit_waiting_get(sqlite3 *db, int64_t after, struct buf *lines, int64_t *last,
                              struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    *last = 0;
    enum status s =
        db_prepare(db, "SELECT seq, lines FROM waiting WHERE seq>?1 ORDER BY seq", &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 1, after);
    }
    while (s == STATUS_OK && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        *last = sqlite3_column_int64(st, 0);
        buf_str(lines, db_column(st, 1));
    }
    (void)sqlite3_finalize(st);
    return s == STATUS_OK ? buf_status(lines) : s;
}

/* Of a group's first line; 0: it is none. */
static int64_t first_number(struct str lines)
{
    struct audit_record r;
    struct error why;
    const char *nl = lines.len == 0 ? NULL : memchr(lines.ptr, '\n', lines.len);
    struct str line = {lines.ptr, nl == NULL ? 0 : (size_t)(nl - lines.ptr)};
    return line.len > 0 && audit_read(line, &r, &why) == STATUS_OK ? r.seq : 0;
}

enum status audit_payload_beyond(sqlite3 *db, int64_t end, struct audit_beyond *out,
                                 struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    *out = (struct audit_beyond){0};
    enum status s = db_prepare(
        db, "SELECT count(*) FROM sqlite_master WHERE type='table' AND name='loose'", &st, err);
    s = s == STATUS_OK ? db_row(st, &row, err) : s;
    bool told = s == STATUS_OK && row && sqlite3_column_int64(st, 0) > 0;
    (void)sqlite3_finalize(st);
    st = NULL;
    if (s != STATUS_OK || !told) {
        out->may_be = s == STATUS_OK;
        return s;
    }
    s = db_prepare(db,
                   "SELECT (SELECT count(*) FROM payload WHERE seq > ?1),"
                   " coalesce((SELECT max(seq) FROM payload WHERE seq > ?1), 0),"
                   " (SELECT count(*) FROM loose),"
                   " (SELECT lines FROM waiting WHERE seq > ?1 ORDER BY seq LIMIT 1)",
                   &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 1, end);
        s = db_row(st, &row, err);
    }
    if (s == STATUS_OK && row) {
        out->texts = sqlite3_column_int64(st, 0);
        out->last = sqlite3_column_int64(st, 1);
        out->may_be = sqlite3_column_int64(st, 2) > 0;
        out->waiting_from = first_number(db_column(st, 3));
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status audit_payload_between(sqlite3 *db, int64_t after, int64_t to, int64_t *n,
                                  struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    *n = 0;
    enum status s =
        db_prepare(db, "SELECT count(*) FROM payload WHERE seq > ?1 AND seq <= ?2", &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 1, after);
        (void)sqlite3_bind_int64(st, 2, to);
        s = db_row(st, &row, err);
    }
    *n = s == STATUS_OK && row ? sqlite3_column_int64(st, 0) : 0;
    (void)sqlite3_finalize(st);
    return s;
}

enum status audit_payload_cut(sqlite3 *db, int64_t end, struct error *err)
{
    static const char *const steps[] = {"DELETE FROM payload WHERE seq > ?1",
                                        "DELETE FROM documents WHERE seq > ?1",
                                        "DELETE FROM waiting WHERE seq > ?1", "DELETE FROM loose"};
    enum status s = db_exec(db, "BEGIN IMMEDIATE", err);
    bool begun = s == STATUS_OK;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0] && s == STATUS_OK; i++) {
        sqlite3_stmt *st = NULL;
        s = db_prepare(db, steps[i], &st, err);
        if (s == STATUS_OK) {
            (void)sqlite3_bind_int64(st, 1, end);
            s = db_run(st, err);
        }
        (void)sqlite3_finalize(st);
    }
    s = s == STATUS_OK ? db_exec(db, "COMMIT", err) : s;
    if (s != STATUS_OK && begun) {
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }
    return s;
}
