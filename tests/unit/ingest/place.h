/* A watched folder and its journal in a folder of their own. */
#ifndef CARREL_TESTS_UNIT_INGEST_PLACE_H
#define CARREL_TESTS_UNIT_INGEST_PLACE_H

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "ingest/journal.h"
#include "tests/unit/test.h"

struct place {
    char dir[64];
    char db[96];
    int root;
    struct disk *disk;
    struct journal *j;
    struct arena arena;
};

static inline void open_journal(struct place *p, const char *pipeline)
{
    struct error err = {0};
    if (journal_open(p->db, pipeline, &p->j, &err) != STATUS_OK) {
        fail_msg("%s", err.text);
    }
}

static inline int setup(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    assert_non_null(p);
    (void)snprintf(p->dir, sizeof p->dir, "/tmp/carrel-journal-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    char watch[96];
    (void)snprintf(watch, sizeof watch, "%s/w", p->dir);
    assert_int_equal(mkdir(watch, 0700), 0);
    (void)snprintf(p->db, sizeof p->db, "%s/ingest.db", p->dir);
    p->root = open(watch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(p->root >= 0);
    assert_int_equal(disk_new(&p->disk, NULL), STATUS_OK);
    disk_set_root(p->disk, p->root);
    arena_init(&p->arena, 64 << 20);
    open_journal(p, "x1c1");
    *state = p;
    return 0;
}

static inline int teardown(void **state)
{
    struct place *p = *state;
    char cmd[128];
    journal_close(p->j);
    disk_free(p->disk);
    (void)close(p->root);
    arena_reset(&p->arena);
    (void)snprintf(cmd, sizeof cmd, "rm -rf %s", p->dir);
    assert_int_equal(system(cmd), 0);
    free(p);
    return 0;
}

static inline void put_file(struct place *p, const char *path, const char *content)
{
    int fd = openat(p->root, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(file_write_all(fd, content, strlen(content), NULL), STATUS_OK);
    /* no two states of a file look alike, however coarse the clock */
    static int64_t tick = 1700000000;
    struct timespec t[2] = {{.tv_sec = ++tick}, {.tv_sec = tick}};
    assert_int_equal(futimens(fd, t), 0);
    assert_int_equal(close(fd), 0);
}

#endif
