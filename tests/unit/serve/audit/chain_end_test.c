/* Texts of records after the chain's end. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/audit/verify.h"
#include "base/file.h"
#include "serve/audit/audit.h"
#include "serve/audit/chain_write.h"
#include "serve/audit/erase.h"
#include "serve/audit/signer.h"
#include "tests/unit/serve/audit/chain_made.h"

static int64_t texts_after(const char *home, int64_t seq)
{
    char path[PATH_MAX];
    sqlite3 *db = NULL;
    struct audit_beyond b;
    struct error err;
    (void)snprintf(path, sizeof path, "%s/tenants/main/payload.db", home);
    assert_int_equal(audit_payload_open(path, DB_READONLY, &db, &err), STATUS_OK);
    assert_int_equal(audit_payload_beyond(db, seq, &b, &err), STATUS_OK);
    db_close(db);
    return b.texts;
}

/* Records taken from the end of the file, all of them or the file: their texts are no leavings but
 * what tells of it. They stay, nothing is written after them, and verify says so. */
static void records_removed(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        char home[] = "/tmp/carrel-chain-XXXXXX";
        char folder[PATH_MAX], path[PATH_MAX], payload[PATH_MAX];
        struct chain c = {.fd = -1, .tenant = "main"};
        struct error err;
        struct buf whole;
        assert_non_null(mkdtemp(home));
        (void)snprintf(folder, sizeof folder, "%s/tenants/main/audit", home);
        (void)snprintf(path, sizeof path, "%s/tenants/main/audit/00000001.log", home);
        (void)snprintf(payload, sizeof payload, "%s/tenants/main/payload.db", home);
        struct audit_policy p = {.home = home, .signer = signer_new(), .payload = AUDIT_KEEP};
        assert_int_equal(write_some(&c, &p, 1), STATUS_OK);
        int64_t at = c.seq;
        off_t end = length(home, "00000001.log");
        for (int i = 0; i < 5; i++) {
            assert_int_equal(write_text(&c, &p, "{}"), STATUS_OK);
        }
        chain_close(&c);
        buf_init(&whole, 1 << 20);
        assert_int_equal(file_read(path, &whole, &err), STATUS_OK);
        assert_int_equal(way == 2 ? unlink(path) : truncate(path, way == 0 ? end : 0), 0);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(chain_ready(&c, &p, &err), STATUS_CORRUPT);
            assert_non_null(strstr(err.text, "records were removed"));
        }
        assert_int_equal(texts_after(home, at), 5);
        struct audit_report *r = calloc(1, sizeof *r);
        assert_non_null(r);
        struct audit_verify_options o = {.folder = folder, .payload = payload};
        assert_int_equal(audit_verify(&o, r, &err), STATUS_OK);
        assert_string_equal(audit_verdict(r), way == 0 ? "older" : "broken");
        assert_int_equal(r->texts_beyond, at + 5);
        assert_int_equal(file_write_atomic(path, whole.ptr, whole.len, 0600, &err), STATUS_OK);
        assert_int_equal(write_text(&c, &p, "{}"), STATUS_OK); /* they are back */
        assert_int_equal(audit_verify(&o, r, &err), STATUS_OK);
        assert_int_equal(r->texts, 6);
        free(r);
        buf_deinit(&whole);
        chain_close(&c);
        signer_end(p.signer);
        assert_int_equal(file_remove_tree(home, &err), STATUS_OK);
    }
}

/* A disk that takes one line more of this file, and then none; and that may not let go of it. */
static int full = -1;
static bool stuck;

ssize_t write(int fd, const void *data, size_t len)
{
    const char *nl = fd != full ? NULL : memchr(data, '\n', len);
    if (fd != full) {
        return (ssize_t)syscall(SYS_write, fd, data, len);
    }
    if (nl != NULL && nl < (const char *)data + len - 1) {
        return (ssize_t)syscall(SYS_write, fd, data, (size_t)(nl - (const char *)data) + 20);
    }
    errno = ENOSPC;
    return -1;
}

int ftruncate(int fd, off_t size)
{
    errno = EIO;
    return stuck && fd == full ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

/* What was committed and could not be written to the file was told nobody: nothing of it stays, or
 * all of it. A line whose text is gone would look as if somebody had taken the text. */
static void not_written(void **state)
{
    (void)state;
    for (int way = 0; way < 2; way++) {
        char home[] = "/tmp/carrel-chain-XXXXXX";
        struct chain c = {.fd = -1, .tenant = "main"};
        struct error err;
        assert_non_null(mkdtemp(home));
        struct audit_policy p = {.home = home, .signer = signer_new(), .payload = AUDIT_KEEP};
        assert_int_equal(write_text(&c, &p, "{}"), STATUS_OK);
        int64_t seq = c.seq;
        off_t was = length(home, "00000001.log");
        struct audit_matter m = {
            .type = "open", .fields = STR(",\"call\":\"b\""), .text = STR("{}")};
        assert_int_equal(chain_add(&c, &p, &m, 1000, &err), STATUS_OK);
        full = c.fd;
        stuck = way == 1;
        assert_int_not_equal(write_text(&c, &p, "{}"), STATUS_OK);
        full = -1;
        assert_int_equal(texts_after(home, seq), way == 0 ? 0 : 2);
        assert_true(way == 0 ? length(home, "00000001.log") == was
                             : length(home, "00000001.log") > was);
        assert_int_equal(write_text(&c, &p, "{}"), STATUS_OK);
        assert_int_equal(c.seq, seq + (way == 0 ? 2 : 4)); /* "start", and the one */
        chain_close(&c);
        struct audit_report *r = calloc(1, sizeof *r);
        assert_non_null(r);
        verify_tenant(home, "main", r);
        assert_int_equal(r->texts, way == 0 ? 2 : 4);
        for (size_t k = 0; k < r->n_findings; k++) { /* the test's records open one call */
            assert_string_equal(r->findings[k].text, "opens a call that is open already");
        }
        free(r);
        signer_end(p.signer);
        assert_int_equal(file_remove_tree(home, &err), STATUS_OK);
    }
}

/* A version before left such texts in payload.db: they go once, at the first opening. */
static void left_by_a_version_before(void **state)
{
    char home[] = "/tmp/carrel-chain-XXXXXX";
    char path[PATH_MAX];
    struct chain c = {.fd = -1, .tenant = "main"};
    struct error err;
    sqlite3 *db = NULL;
    (void)state;
    assert_non_null(mkdtemp(home));
    struct audit_policy p = {.home = home, .signer = signer_new(), .payload = AUDIT_KEEP};
    assert_int_equal(write_text(&c, &p, "{}"), STATUS_OK);
    chain_close(&c);
    (void)snprintf(path, sizeof path, "%s/tenants/main/payload.db", home);
    assert_int_equal(audit_payload_open(path, 0, &db, &err), STATUS_OK);
    assert_int_equal(db_exec(db,
                             "INSERT INTO payload VALUES(9,0,x'00',x'7b7d',1);"
                             "DROP TABLE loose; PRAGMA user_version=2",
                             &err),
                     STATUS_OK);
    db_close(db);
    assert_int_equal(write_text(&c, &p, "{}"), STATUS_OK);
    assert_int_equal(texts_after(home, c.seq), 0);
    chain_close(&c);
    assert_int_equal(audit_payload_open(path, 0, &db, &err), STATUS_OK);
    assert_int_equal(db_exec(db, "INSERT INTO payload VALUES(90,0,x'00',x'7b7d',1)", &err),
                     STATUS_OK);
    db_close(db);
    assert_int_equal(chain_ready(&c, &p, &err), STATUS_CORRUPT);
    signer_end(p.signer);
    assert_int_equal(file_remove_tree(home, &err), STATUS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_removed),
        cmocka_unit_test(not_written),
        cmocka_unit_test(left_by_a_version_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
