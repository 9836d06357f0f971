/* What the files of disk.h share. */
#ifndef CARREL_INGEST_DISK_INTERNAL_H
#define CARREL_INGEST_DISK_INTERNAL_H

#include <uv.h>

#include "base/map.h"
#include "ingest/disk.h"
#include "ingest/ignore.h"

struct disk_said {
    unsigned uses;
    struct arena arena;
    struct file_stamp ignore_stamp, rule_stamp; /* ino 0: there is no such file */
    struct ignore_rules ignore;
    struct folder_rule rule;
    bool closed;       /* its .carrel.yaml cannot be understood */
    char wrong[200];   /* "" nothing */
    char refused[200]; /* a line that would widen; "" none */
    size_t len;
    char path[];
};

struct mount {
    bool away;
    bool network;
    size_t len;
    char *path;
};

struct disk {
    int root;
    uv_mutex_t lock; /* of all below; the loop takes it too: nobody looks at the disk under it */
    struct map said; /* folder -> struct disk_said */
    struct mount mounts[DISK_MOUNTS_MAX];
    size_t n_mounts;
    uint64_t mounts_version;
    bool rules_changed, network;
    char closed[200]; /* the first file that was closed because its rights cannot be told; "" */
    size_t n_closed;
};

/* disk_said.c: what the folder open as fd says now, NULL: nothing. The caller releases it, under
 * the lock. */
enum status disk_said_of(struct disk *d, int fd, struct str folder, struct disk_said **out,
                         struct error *err) MUST_CHECK;
void disk_said_release(struct disk_said *s); /* NULL is fine */

/* disk_mounts.c: the folder at path, open as fd (-1: there is none): is it what was mounted there?
 * UNAVAILABLE: no. */
enum status disk_check_mount(struct disk *d, struct str path, int fd, struct error *err) MUST_CHECK;

#endif
