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

static bool syncs_fail;

int fdatasync(int fd)
{
    errno = EIO;
    return syncs_fail ? -1 : (int)syscall(SYS_fdatasync, fd);
}

/* A full file is whole and stays whole while the next one cannot be begun. */
static void next_file_cannot_be_begun(void **state)
{
    char home[] = "/tmp/carrel-chain-XXXXXX";
    char next[PATH_MAX];
    struct chain c = {.fd = -1, .tenant = "main"};
    struct error err;
    (void)state;
    assert_non_null(mkdtemp(home));
    struct audit_policy p = {.home = home, .signer = signer_new(), .payload = AUDIT_KEEP};
    assert_int_equal(write_some(&c, &p, 1), STATUS_OK);
    while (c.size < AUDIT_SEGMENT_BYTES) {
        assert_int_equal(write_some(&c, &p, 400), STATUS_OK);
    }
    int64_t seq = c.seq;
    off_t full = length(home, "00000001.log");
    (void)snprintf(next, sizeof next, "%s/tenants/main/audit/00000002.log", home);
    assert_int_equal(symlink("nowhere/at-all", next), 0); /* O_NOFOLLOW: it cannot be opened */
    assert_int_not_equal(write_some(&c, &p, 1), STATUS_OK);
    assert_int_equal(length(home, "00000001.log"), full);
    assert_int_equal(unlink(next), 0);
    assert_int_equal(write_some(&c, &p, 1), STATUS_OK);
    assert_int_equal(c.seq, seq + 2); /* "start", and the one */
    assert_true(length(home, "00000001.log") >= full);
    assert_true(length(home, "00000002.log") > 0);
    chain_close(&c);
    signer_end(p.signer);
    assert_int_equal(file_remove_tree(home, &err), STATUS_OK);
}

/* A chain that is closed and opened again and again is signed all the same. */
static void left_unsigned(void **state)
{
    char home[] = "/tmp/carrel-chain-XXXXXX";
    struct chain c = {.fd = -1, .tenant = "main"};
    struct error err;
    struct buf line;
    (void)state;
    assert_non_null(mkdtemp(home));
    struct audit_policy p = {
        .home = home, .signer = signer_new(), .payload = AUDIT_KEEP, .checkpoint_ms = 60000};
    buf_init(&line, 4096);
    assert_int_equal(write_some(&c, &p, 1), STATUS_OK);
    assert_int_equal(chain_checkpoint(&c, &p, &line, &err), STATUS_OK);
    assert_int_equal(line.len, 0); /* it is young */
    chain_close(&c);
    assert_int_equal(chain_ready(&c, &p, &err), STATUS_OK);
    assert_int_equal(chain_checkpoint(&c, &p, &line, &err), STATUS_OK);
    assert_true(line.len > 0);
    buf_deinit(&line);
    chain_close(&c);
    signer_end(p.signer);
    assert_int_equal(file_remove_tree(home, &err), STATUS_OK);
}

/* While the signer says nothing, records are written all the same; what it noted in its silence is
 * the place of a "start". */
static void signer_is_silent(void **state)
{
    char home[] = "/tmp/carrel-chain-XXXXXX";
    struct chain c = {.fd = -1, .tenant = "main"};
    struct error err;
    struct buf line;
    (void)state;
    assert_non_null(mkdtemp(home));
    struct audit_policy p = {.home = home, .signer = signer_new(), .payload = AUDIT_KEEP};
    buf_init(&line, 4096);
    assert_int_equal(write_some(&c, &p, 1), STATUS_OK);
    assert_int_equal(kill(signer_pid, SIGSTOP), 0);
    assert_int_equal(chain_checkpoint(&c, &p, &line, &err), STATUS_UNAVAILABLE);
    assert_false(signer_listens(p.signer));
    int64_t seq = 2;               /* "begin", and the one */
    for (int i = 0; i < 20; i++) { /* nobody waits for it a second time, nor is it asked */
        assert_int_equal(write_some(&c, &p, 1), STATUS_OK);
        assert_int_equal(chain_checkpoint(&c, &p, &line, &err), STATUS_OK);
        assert_int_equal(c.seq, seq + 2 + i); /* one "start" */
    }
    assert_int_equal(line.len, 0);
    assert_int_equal(kill(signer_pid, SIGCONT), 0);
    for (int i = 0; i < 3000 && !signer_listens(p.signer); i++) {
        (void)usleep(10 * 1000);
    }
    assert_int_equal(chain_checkpoint(&c, &p, &line, &err), STATUS_OK);
    assert_true(line.len > 0);
    buf_deinit(&line);
    chain_close(&c);
    signer_end(p.signer);
    assert_int_equal(file_remove_tree(home, &err), STATUS_OK);
}

/* Opened, and then its group cannot be written, again and again: nothing is left of that. */
static void tries_leave_nothing(void **state)
{
    char home[] = "/tmp/carrel-chain-XXXXXX";
    struct chain c = {.fd = -1, .tenant = "main"};
    struct error err;
    (void)state;
    assert_non_null(mkdtemp(home));
    struct audit_policy p = {.home = home, .signer = signer_new(), .payload = AUDIT_KEEP};
    assert_int_equal(write_some(&c, &p, 1), STATUS_OK);
    int64_t seq = c.seq;
    off_t was = length(home, "00000001.log");
    for (int i = 0; i < 5; i++) {
        chain_close(&c);
        assert_int_equal(chain_ready(&c, &p, &err), STATUS_OK);
    }
    assert_int_equal(length(home, "00000001.log"), was);
    assert_int_equal(write_some(&c, &p, 1), STATUS_OK);
    assert_int_equal(c.seq, seq + 2);
    chain_close(&c);
    signer_end(p.signer);
    assert_int_equal(file_remove_tree(home, &err), STATUS_OK);
}

/* Writes and dies, its file not synced; then `harm` is what a power cut makes of the file's end. */
static struct chain after_power_cut(const char *home, struct audit_policy *p,
                                    void (*harm)(int fd, off_t size))
{
    char path[PATH_MAX];
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        struct chain c = {.fd = -1, .tenant = "main"};
        struct error err;
        bool good = chain_ready(&c, p, &err) == STATUS_OK && write_some(&c, p, 1) == STATUS_OK;
        for (int i = 0; i < 5; i++) {
            good = good && write_text(&c, p, "{\"question\":\"what?\"}") == STATUS_OK;
            good = good && c.unsettled;
        }
        _exit(good ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    (void)snprintf(path, sizeof path, "%s/tenants/main/audit/00000001.log", home);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    harm(fd, lseek(fd, 0, SEEK_END));
    (void)close(fd);
    return (struct chain){.fd = -1, .tenant = "main"};
}

static void nothing(int fd, off_t size)
{
    (void)fd;
    (void)size;
}

static void cut_short(int fd, off_t size)
{
    assert_int_equal(ftruncate(fd, size - 900), 0); /* two records and a half */
}

static void zeros(int fd, off_t size)
{
    char none[700] = {0};
    assert_int_equal(pwrite(fd, none, sizeof none, size - 900), sizeof none);
}

static void altered(int fd, off_t size)
{
    assert_int_equal(pwrite(fd, "!", 1, size - 500), 1);
}

/* What was told durable is there after a power cut, with its texts, and the chain holds. */
static void power_cut(void **state)
{
    static void (*const harms[])(int fd, off_t size) = {nothing, cut_short, zeros, altered};
    (void)state;
    for (size_t i = 0; i < sizeof harms / sizeof harms[0]; i++) {
        char home[] = "/tmp/carrel-chain-XXXXXX";
        char folder[PATH_MAX], payload[PATH_MAX];
        struct error err;
        assert_non_null(mkdtemp(home));
        struct audit_policy p = {.home = home, .signer = signer_new(), .payload = AUDIT_KEEP};
        struct chain c = after_power_cut(home, &p, harms[i]);
        assert_int_equal(chain_ready(&c, &p, &err), STATUS_OK);
        assert_int_equal(write_text(&c, &p, "{}"), STATUS_OK);
        chain_close(&c);
        struct audit_report *r = calloc(1, sizeof *r);
        assert_non_null(r);
        (void)snprintf(folder, sizeof folder, "%s/tenants/main/audit", home);
        (void)snprintf(payload, sizeof payload, "%s/tenants/main/payload.db", home);
        struct audit_verify_options o = {.folder = folder, .payload = payload};
        assert_int_equal(audit_verify(&o, r, &err), STATUS_OK);
        assert_int_equal(r->texts, 6);
        for (size_t k = 0; k < r->n_findings; k++) { /* the test's records open one call */
            assert_string_equal(r->findings[k].text, "opens a call that is open already");
        }
        free(r);
        signer_end(p.signer);
        assert_int_equal(file_remove_tree(home, &err), STATUS_OK);
    }
}

/* What is put back and cannot be synced is not taken for durable the next time: it still waits. */
static void put_back_and_not_synced(void **state)
{
    char home[] = "/tmp/carrel-chain-XXXXXX";
    struct error err;
    (void)state;
    assert_non_null(mkdtemp(home));
    struct audit_policy p = {.home = home, .signer = signer_new(), .payload = AUDIT_KEEP};
    struct chain c = after_power_cut(home, &p, cut_short);
    off_t cut = length(home, "00000001.log");
    syncs_fail = true;
    assert_int_not_equal(chain_ready(&c, &p, &err), STATUS_OK);
    syncs_fail = false;
    assert_true(length(home, "00000001.log") <= cut);
    assert_int_equal(write_text(&c, &p, "{}"), STATUS_OK);
    chain_close(&c);
    struct audit_report *r = calloc(1, sizeof *r);
    assert_non_null(r);
    verify_tenant(home, "main", r);
    assert_int_equal(r->texts, 6);
    free(r);
    signer_end(p.signer);
    assert_int_equal(file_remove_tree(home, &err), STATUS_OK);
}

/* After a sync that failed the file may show what the disk does not have: it is written anew. */
static void sync_fails(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        char home[] = "/tmp/carrel-chain-XXXXXX";
        struct chain c = {.fd = -1, .tenant = "main"};
        struct error err;
        assert_non_null(mkdtemp(home));
        struct audit_policy p = {.home = home, .signer = signer_new(), .payload = AUDIT_KEEP};
        assert_int_equal(write_some(&c, &p, 1), STATUS_OK);
        off_t synced = length(home, "00000001.log");
        for (int i = 0; i < 3; i++) {
            assert_int_equal(write_text(&c, &p, "{}"), STATUS_OK);
        }
        int64_t seq = c.seq;
        assert_true(length(home, "00000001.log") > synced);
        syncs_fail = true;
        if (way == 0) {
            assert_int_not_equal(chain_settle(&c, true, &err), STATUS_OK);
        } else if (way == 1) {
            assert_int_not_equal(write_some(&c, &p, 1), STATUS_OK);
        } else {
            chain_close(&c);
        }
        syncs_fail = false;
        assert_int_equal(length(home, "00000001.log"), synced);
        assert_int_equal(write_text(&c, &p, "{}"), STATUS_OK);
        assert_int_equal(c.seq, seq + 2); /* "start", and the one */
        chain_close(&c);
        signer_end(p.signer);
        assert_int_equal(file_remove_tree(home, &err), STATUS_OK);
    }
}

/* What was synced and is altered later is not mended but told. */
static void altered_later(void **state)
{
    char home[] = "/tmp/carrel-chain-XXXXXX";
    char path[PATH_MAX];
    struct chain c = {.fd = -1, .tenant = "main"};
    struct error err;
    (void)state;
    assert_non_null(mkdtemp(home));
    struct audit_policy p = {.home = home, .signer = signer_new(), .payload = AUDIT_KEEP};
    assert_int_equal(write_text(&c, &p, "{}"), STATUS_OK);
    assert_int_equal(write_text(&c, &p, "{}"), STATUS_OK);
    assert_int_equal(write_some(&c, &p, 1), STATUS_OK); /* synced with all before it */
    assert_false(c.unsettled);
    (void)snprintf(path, sizeof path, "%s/tenants/main/audit/00000001.log", home);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    altered(fd, 700 + 500); /* of the first with a text */
    (void)close(fd);
    struct chain other = {.fd = -1, .tenant = "main"};
    assert_int_equal(chain_ready(&other, &p, &err), STATUS_CORRUPT);
    chain_close(&other);
    chain_close(&c);
    signer_end(p.signer);
    assert_int_equal(file_remove_tree(home, &err), STATUS_OK);
}

static void altered_first(int fd, off_t size)
{
    (void)size;
    assert_int_equal(pwrite(fd, "!", 1, 60), 1);
}

/* Nor is what stands before the lines that wait, were it the file's very first record: nothing of
 * the file is cut away for them. */
static void altered_at_the_front(void **state)
{
    (void)state;
    for (int second = 0; second < 2; second++) {
        char home[] = "/tmp/carrel-chain-XXXXXX";
        const char *file = second ? "00000002.log" : "00000001.log";
        char path[PATH_MAX];
        struct chain c = {.fd = -1, .tenant = "main"};
        struct error err;
        assert_non_null(mkdtemp(home));
        struct audit_policy p = {.home = home, .signer = signer_new(), .payload = AUDIT_KEEP};
        assert_int_equal(write_some(&c, &p, 1), STATUS_OK);
        while (second && c.size < AUDIT_SEGMENT_BYTES) {
            assert_int_equal(write_some(&c, &p, 400), STATUS_OK);
        }
        chain_close(&c);
        c = after_power_cut(home, &p, nothing);
        off_t size = length(home, file);
        (void)snprintf(path, sizeof path, "%s/tenants/main/audit/%s", home, file);
        int fd = open(path, O_RDWR);
        assert_true(fd >= 0 && size > 0);
        altered_first(fd, size);
        (void)close(fd);
        assert_int_equal(chain_ready(&c, &p, &err), STATUS_CORRUPT);
        assert_int_equal(length(home, file), size);
        chain_close(&c);
        signer_end(p.signer);
        assert_int_equal(file_remove_tree(home, &err), STATUS_OK);
    }
}

static void verify(const char *home, struct audit_report *r)
{
    verify_tenant(home, "main", r);
}

static bool found(const struct audit_report *r, const char *what)
{
    for (size_t i = 0; i < r->n_findings; i++) {
        if (strstr(r->findings[i].text, what) != NULL) {
            return true;
        }
    }
    return false;
}

/* audit.keep_days: texts that are too old are erased, which the chain says; and what an older
 * payload.db brings back is seen. */
static void kept_so_long(void **state)
{
    char home[] = "/tmp/carrel-chain-XXXXXX";
    char path[PATH_MAX];
    struct chain c = {.fd = -1, .tenant = "main"};
    struct error err;
    struct buf old;
    struct audit_report *r = calloc(1, sizeof *r);
    (void)state;
    assert_non_null(r);
    assert_non_null(mkdtemp(home));
    struct audit_policy p = {
        .home = home, .signer = signer_new(), .payload = AUDIT_KEEP, .keep_ms = 24 * 3600 * 1000};
    (void)snprintf(path, sizeof path, "%s/tenants/main/payload.db", home);
    for (int i = 0; i < 3; i++) { /* of 1970 */
        assert_int_equal(write_text(&c, &p, "{\"question\":\"Mariposa?\"}"), STATUS_OK);
    }
    chain_close(&c);
    buf_init(&old, (size_t)16 << 20);
    assert_int_equal(file_read(path, &old, &err), STATUS_OK);
    assert_non_null(memmem(old.ptr, old.len, "Mariposa", 8));
    assert_int_equal(chain_ready(&c, &p, &err), STATUS_OK);
    assert_int_equal(audit_expire_due(&c, &p, &err), STATUS_OK);
    assert_int_equal(write_text(&c, &p, "{}"), STATUS_OK);
    chain_close(&c);
    verify(home, r);
    assert_int_equal(r->erased, 3);
    assert_int_equal(r->erases, 1);
    assert_int_equal(r->texts, 1);
    assert_int_equal(r->back, 0);
    struct buf now;
    buf_init(&now, (size_t)16 << 20);
    assert_int_equal(file_read(path, &now, &err), STATUS_OK);
    assert_null(memmem(now.ptr, now.len, "Mariposa", 8));
    buf_deinit(&now);
    /* the old one, put back */
    assert_int_equal(file_write_atomic(path, old.ptr, old.len, 0600, &err), STATUS_OK);
    verify(home, r);
    assert_int_equal(r->back, 3);
    assert_true(found(r, "its text is not in payload.db")); /* the last one's */
    /* and serve goes on with it: the chain is as it was */
    assert_int_equal(write_text(&c, &p, "{}"), STATUS_OK);
    chain_close(&c);
    verify(home, r);
    assert_int_equal(r->back, 3);
    buf_deinit(&old);
    free(r);
    signer_end(p.signer);
    assert_int_equal(file_remove_tree(home, &err), STATUS_OK);
}

/* Who verifies while texts are being erased finds the record that came before the rows went. */
static void verified_meanwhile(void **state)
{
    char home[] = "/tmp/carrel-chain-XXXXXX";
    struct audit_report *r = calloc(1, sizeof *r);
    struct error err;
    (void)state;
    assert_non_null(mkdtemp(home));
    struct audit_policy p = {
        .home = home, .signer = signer_new(), .payload = AUDIT_KEEP, .keep_ms = 24 * 3600 * 1000};
    struct chain first = {.fd = -1, .tenant = "main"};
    assert_int_equal(write_text(&first, &p, "{}"), STATUS_OK);
    chain_close(&first);
    pid_t pid = fork();
    if (pid == 0) {
        struct chain c = {.fd = -1, .tenant = "main"};
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        struct audit_matter m = {
            .type = "refused", .fields = STR(",\"times\":1"), .text = STR("{}")};
        for (;;) {
            bool good = chain_ready(&c, &p, &err) == STATUS_OK;
            for (int i = 0; i < 300 && good; i++) {
                good = chain_add(&c, &p, &m, 1000, &err) == STATUS_OK;
            }
            if (!good || chain_commit(&c, &err) != STATUS_OK) {
                _exit(1);
            }
            c.expired_ms = 0;
            if (audit_expire_due(&c, &p, &err) != STATUS_OK) {
                _exit(1);
            }
        }
    }
    bool lost = false;
    for (int i = 0; i < 2000 && !lost && r->erases < 60; i++) {
        verify(home, r);
        lost = found(r, "no record says that it was erased");
    }
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    assert_false(lost);
    assert_true(r->erased > 0);
    free(r);
    signer_end(p.signer);
    assert_int_equal(file_remove_tree(home, &err), STATUS_OK);
}

static void ended(void *data)
{
    *(bool *)data = true;
}

static void stop_loop(uv_timer_t *t)
{
    uv_stop(t->loop);
}

/* The running audit erases old texts of a tenant of whom nobody asks anything, too. */
static void nobody_asks(void **state)
{
    static const char *const tenants[] = {"main", "quiet"};
    static struct settings set;
    char home[] = "/tmp/carrel-chain-XXXXXX";
    struct audit *a = NULL;
    struct audit_report *r = calloc(1, sizeof *r);
    struct error err;
    struct arena arena;
    uv_loop_t loop;
    uv_timer_t timer;
    bool over = false;
    (void)state;
    assert_non_null(mkdtemp(home));
    struct audit_policy p = {.home = home, .signer = signer_new(), .payload = AUDIT_KEEP};
    for (size_t i = 0; i < 2; i++) {
        struct chain c = {.fd = -1};
        (void)snprintf(c.tenant, sizeof c.tenant, "%s", tenants[i]);
        assert_int_equal(write_text(&c, &p, "{\"question\":\"Mariposa?\"}"), STATUS_OK);
        chain_close(&c);
    }
    arena_init(&arena, (size_t)4 << 20);
    assert_int_equal(
        settings_parse(home, STR("audit:\n  keep_days: 1\n"), "test", &arena, &set, &err),
        STATUS_OK);
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(audit_open(&loop, home, &set, p.signer->fd, &a, &err), STATUS_OK);
    (void)uv_timer_init(&loop, &timer);
    for (int i = 0; i < 200 && r->erases < 1; i++) { /* it looks a second after its start */
        (void)uv_timer_start(&timer, stop_loop, 50, 0);
        (void)uv_run(&loop, UV_RUN_DEFAULT);
        verify_tenant(home, "quiet", r);
    }
    audit_close(a, ended, &over);
    uv_close((uv_handle_t *)&timer, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(over);
    assert_int_equal(uv_loop_close(&loop), 0);
    for (size_t i = 0; i < 2; i++) {
        verify_tenant(home, tenants[i], r);
        assert_int_equal(r->erased, 1);
        assert_int_equal(r->texts + r->back, 0);
    }
    arena_reset(&arena);
    free(r);
    signer_end(p.signer);
    assert_int_equal(file_remove_tree(home, &err), STATUS_OK);
}

struct telling {
    struct audit *a;
    bool told, silent_before;
    enum status status;
};

static void on_told(const struct error *err, void *data)
{
    struct telling *t = data;
    struct audit_state state;
    audit_state(t->a, &state);
    t->told = true;
    t->silent_before = state.not_signed;
    t->status = err->code;
}

static void turn(uv_loop_t *loop, uv_timer_t *timer)
{
    (void)uv_timer_start(timer, stop_loop, 10, 0);
    (void)uv_run(loop, UV_RUN_DEFAULT);
}

/* Who waits for a record is told of it before its head is signed: here by a signer that says
 * nothing, which the run that signs finds out later. */
static void told_before_signed(void **state)
{
    static struct settings set;
    char home[] = "/tmp/carrel-chain-XXXXXX";
    struct telling t = {0};
    struct audit_state s = {0};
    struct error err;
    struct arena arena;
    uv_loop_t loop;
    uv_timer_t timer;
    bool over = false;
    (void)state;
    assert_non_null(mkdtemp(home));
    struct signer *signer = signer_new();
    struct audit_report *r = calloc(1, sizeof *r);
    assert_non_null(r);
    arena_init(&arena, (size_t)4 << 20);
    assert_int_equal(settings_parse(home, STR(""), "test", &arena, &set, &err), STATUS_OK);
    set.audit.checkpoint_ms = 0; /* each group is due */
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(audit_open(&loop, home, &set, signer->fd, &t.a, &err), STATUS_OK);
    (void)uv_timer_init(&loop, &timer);
    for (int i = 0; i < 2; i++) { /* the first reads the key */
        t.told = false;
        audit_put(t.a, audit_item_new("main", "open"), on_told, &t);
        while (!t.told) {
            turn(&loop, &timer);
        }
        assert_int_equal(t.status, STATUS_OK);
        assert_false(t.silent_before);
        for (int k = 0; i == 0 && k < 6000 && r->checkpoints == 0; k++) {
            turn(&loop, &timer);
            verify_tenant(home, "main", r);
        }
        assert_int_equal(kill(signer_pid, SIGSTOP), 0);
    }
    for (int i = 0; i < 6000 && !s.not_signed; i++) {
        turn(&loop, &timer);
        audit_state(t.a, &s);
    }
    assert_true(s.not_signed);
    assert_int_equal(kill(signer_pid, SIGCONT), 0);
    audit_close(t.a, ended, &over);
    uv_close((uv_handle_t *)&timer, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(over);
    assert_int_equal(uv_loop_close(&loop), 0);
    arena_reset(&arena);
    free(r);
    signer_end(signer);
    assert_int_equal(file_remove_tree(home, &err), STATUS_OK);
}

/* audit.payload: none: commitments, no text and no salt. */
static void no_texts(void **state)
{
    char home[] = "/tmp/carrel-chain-XXXXXX";
    char path[PATH_MAX];
    struct chain c = {.fd = -1, .tenant = "main"};
    struct error err;
    struct buf b;
    struct audit_report *r = calloc(1, sizeof *r);
    (void)state;
    assert_non_null(r);
    assert_non_null(mkdtemp(home));
    struct audit_policy p = {.home = home, .signer = signer_new(), .payload = AUDIT_NONE};
    assert_int_equal(write_text(&c, &p, "{\"question\":\"Mariposa?\"}"), STATUS_OK);
    assert_false(c.unsettled); /* one sync, of the file */
    chain_close(&c);
    verify(home, r);
    assert_string_equal(audit_verdict(r), "whole");
    assert_int_equal(r->texts + r->sealed + r->erased, 0);
    (void)snprintf(path, sizeof path, "%s/tenants/main/audit/00000001.log", home);
    buf_init(&b, (size_t)1 << 20);
    assert_int_equal(file_read(path, &b, &err), STATUS_OK);
    assert_non_null(strstr(b.ptr, "\"kept\":\"no\",\"payload\":\""));
    assert_null(memmem(b.ptr, b.len, "Mariposa", 8));
    buf_deinit(&b);
    free(r);
    signer_end(p.signer);
    assert_int_equal(file_remove_tree(home, &err), STATUS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(next_file_cannot_be_begun),
        cmocka_unit_test(left_unsigned),
        cmocka_unit_test(signer_is_silent),
        cmocka_unit_test(tries_leave_nothing),
        cmocka_unit_test(power_cut),
        cmocka_unit_test(put_back_and_not_synced),
        cmocka_unit_test(sync_fails),
        cmocka_unit_test(altered_later),
        cmocka_unit_test(altered_at_the_front),
        cmocka_unit_test(kept_so_long),
        cmocka_unit_test(verified_meanwhile),
        cmocka_unit_test(nobody_asks),
        cmocka_unit_test(told_before_signed),
        cmocka_unit_test(no_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
