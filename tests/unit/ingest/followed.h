/* A folder that is followed: real inotify, a real journal, a loop that the test turns. */
#ifndef CARREL_TESTS_UNIT_INGEST_FOLLOWED_H
#define CARREL_TESTS_UNIT_INGEST_FOLLOWED_H

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "ingest/follow.h"
#include "tests/unit/test.h"

struct followed {
    uv_loop_t loop;
    uv_timer_t timer;
    char dir[64], root[80], db[80];
    struct journal_lane journal;
    struct lane scans;
    struct follow *f;
    struct arena arena;
    struct disk *disk;
    bool woken, closed;
    int rules; /* times that on_rules was called */
    int64_t settle_ms;
};

static inline void on_work(void *data)
{
    ((struct followed *)data)->woken = true;
}

static inline void on_scanned(void *data)
{
    (void)data;
}

static inline void on_rules(void *data)
{
    ((struct followed *)data)->rules++;
}

static inline void start_following(struct followed *p)
{
    struct error err = {0};
    struct follow_options o = {.loop = &p->loop,
                               .root = p->root,
                               .tenant = "main",
                               .disk = p->disk,
                               .journal = &p->journal,
                               .scans = &p->scans,
                               .settle_ms = p->settle_ms,
                               .rescan_s = 3600,
                               .poll_s = 30,
                               .on_work = on_work,
                               .on_rules = on_rules,
                               .on_scanned = on_scanned,
                               .data = p};
    assert_int_equal(follow_new(&o, &p->f, &err), STATUS_OK);
}

static inline int setup(void **state)
{
    struct followed *p = calloc(1, sizeof *p);
    struct journal *j = NULL;
    struct error err = {0};
    assert_non_null(p);
    p->settle_ms = 100;
    (void)snprintf(p->dir, sizeof p->dir, "/tmp/carrel-follow-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    (void)snprintf(p->root, sizeof p->root, "%s/w", p->dir);
    (void)snprintf(p->db, sizeof p->db, "%s/ingest.db", p->dir);
    assert_int_equal(mkdir(p->root, 0700), 0);
    assert_int_equal(uv_loop_init(&p->loop), 0);
    assert_int_equal(uv_timer_init(&p->loop, &p->timer), 0);
    assert_int_equal(journal_open(p->db, "t", &j, &err), STATUS_OK);
    journal_lane_init(&p->journal, &p->loop, j);
    lane_init(&p->scans, &p->loop, 1, 16);
    assert_int_equal(disk_new(&p->disk, &err), STATUS_OK);
    arena_init(&p->arena, 64 << 20);
    *state = p;
    return 0;
}

static inline void on_closed(void *data)
{
    ((struct followed *)data)->closed = true;
}

static inline int teardown(void **state)
{
    struct followed *p = *state;
    if (p->f != NULL) {
        follow_close(p->f, on_closed, p);
    }
    uv_close((uv_handle_t *)&p->timer, NULL);
    assert_int_equal(uv_run(&p->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&p->loop), 0);
    assert_true(p->closed || p->f == NULL);
    journal_close(p->journal.journal);
    disk_free(p->disk);
    arena_reset(&p->arena);
    char cmd[128];
    (void)snprintf(cmd, sizeof cmd, "rm -rf %s", p->dir);
    assert_int_equal(system(cmd), 0);
    free(p);
    return 0;
}

static inline void on_tick(uv_timer_t *t)
{
    (void)t;
}

/* ---- what the journal says, as "path|path|" of documents with their jobs done ---- */

struct look {
    struct journal_op op;
    struct followed *p;
    size_t n;
    struct file_row *rows;
    bool done, finish_jobs;
};

static inline enum status run_look(struct journal *j, struct journal_op *op, struct error *err)
{
    struct look *l = container_of(op, struct look, op);
    enum status s = STATUS_OK;
    if (l->finish_jobs) { /* play the store: everything asked for has been done */
        int64_t next;
        s = journal_take(j, clock_wall_ms(), &(struct take_limits){.most_bytes = INT64_MAX}, 4096,
                         &l->p->arena, &l->rows, &l->n, &next, err);
        for (size_t i = 0; i < l->n && s == STATUS_OK; i++) {
            static const uint8_t hash[SHA256_BYTES];
            struct job_result r = {.hash = hash,
                                   .format = "txt",
                                   .title = "",
                                   .author = "",
                                   .language = "",
                                   .chunks = 1};
            const struct file_row *row = &l->rows[i];
            s = row->op == FILE_OP_REMOVE ? journal_removed(j, row->id, row->wanted, false, err)
                                          : journal_done(j, row->id, row->wanted, &r, err);
        }
    }
    return s != STATUS_OK ? s : journal_list(j, "", 20000, &l->p->arena, &l->rows, &l->n, err);
}

static inline void look_done(struct journal_op *op)
{
    container_of(op, struct look, op)->done = true;
}

static inline size_t look(struct followed *p, struct file_row **rows, bool finish_jobs)
{
    struct look l = {.p = p, .finish_jobs = finish_jobs};
    arena_reset(&p->arena);
    l.op.run = run_look;
    l.op.done = look_done;
    journal_submit(&p->journal, &l.op);
    while (!l.done) {
        (void)uv_run(&p->loop, UV_RUN_ONCE);
    }
    assert_int_equal(l.op.err.code, STATUS_OK);
    *rows = l.rows;
    return l.n;
}

static inline bool has(const struct file_row *rows, size_t n, const char *path)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(rows[i].path, str_from(path))) {
            return true;
        }
    }
    return false;
}

/* Run the loop until the journal holds exactly these paths (NULL-terminated); fails after 10 s. */
static inline void expect(struct followed *p, const char *const *paths)
{
    size_t wanted = 0;
    while (paths[wanted] != NULL) {
        wanted++;
    }
    int64_t end = clock_monotonic_ms() + 60000;
    struct file_row *rows;
    size_t n = 0;
    while (clock_monotonic_ms() < end) {
        n = look(p, &rows, true);
        bool all = n == wanted;
        for (size_t i = 0; i < wanted && all; i++) {
            all = has(rows, n, paths[i]);
        }
        if (all) {
            return;
        }
        uv_update_time(&p->loop);
        (void)uv_timer_start(&p->timer, on_tick, 10, 0);
        (void)uv_run(&p->loop, UV_RUN_ONCE);
    }
    for (size_t i = 0; i < n; i++) {
        print_message("there: %.*s\n", STR_ARG(rows[i].path));
    }
    fail_msg("the journal did not come to %zu files (%zu there)", wanted, n);
}

#define EXPECT(p, ...) expect((p), (const char *const[]){__VA_ARGS__, NULL})

static inline void path_in(const struct followed *p, const char *name, char out[512])
{
    (void)snprintf(out, 512, "%s/%s", p->root, name);
}

static inline void write_file(const struct followed *p, const char *name, const char *content)
{
    char path[512];
    path_in(p, name, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(file_write_all(fd, content, strlen(content), NULL), STATUS_OK);
    assert_int_equal(close(fd), 0);
}

static inline void make_dir(const struct followed *p, const char *name)
{
    char path[512];
    path_in(p, name, path);
    assert_int_equal(file_mkdirs(path, 0700, NULL), STATUS_OK);
}

static inline void move(const struct followed *p, const char *from, const char *to)
{
    char a[512];
    char b[512];
    path_in(p, from, a);
    path_in(p, to, b);
    assert_int_equal(rename(a, b), 0);
}

static inline void document_at(struct followed *p, const char *path, char out[ID_CAP])
{
    struct file_row *rows;
    size_t n = look(p, &rows, true);
    out[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        if (str_eq(rows[i].path, str_from(path))) {
            memcpy(out, rows[i].document, ID_CAP);
        }
    }
    assert_true(id_valid(out));
}

static inline void wait_scanned(struct followed *p)
{
    struct follow_status st = {0};
    int64_t end = clock_monotonic_ms() + 60000;
    while (!st.scanned && clock_monotonic_ms() < end) {
        uv_update_time(&p->loop);
        (void)uv_timer_start(&p->timer, on_tick, 10, 0);
        (void)uv_run(&p->loop, UV_RUN_ONCE);
        follow_status(p->f, &st);
    }
    assert_true(st.scanned);
}

#endif
