/* A folder that struct disk looks at. */
#ifndef CARREL_TESTS_UNIT_INGEST_DISK_PLACE_H
#define CARREL_TESTS_UNIT_INGEST_DISK_PLACE_H

#include <fcntl.h>
#include <unistd.h>

#include "ingest/disk.h"
#include "tests/unit/test.h"

struct place {
    char dir[64];
    int root;
    struct disk *disk;
};

static inline int setup(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    assert_non_null(p);
    test_folder(p->dir);
    p->root = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(p->root >= 0);
    assert_int_equal(disk_new(&p->disk, NULL), STATUS_OK);
    disk_set_root(p->disk, p->root);
    *state = p;
    return 0;
}

static inline int teardown(void **state)
{
    struct place *p = *state;
    disk_free(p->disk);
    (void)close(p->root);
    test_folder_remove(p->dir);
    free(p);
    return 0;
}

#endif
