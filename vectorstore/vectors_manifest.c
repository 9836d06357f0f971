/* The list of segments, segments/manifest: magic, one row a segment, a SHA-256 of all that. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "vectorstore/vectors_internal.h"

#define MAGIC "carrel-manifest2"

struct row {
    int64_t encoder, after, until;
    uint64_t n;
    uint32_t dimensions, unused;
    char name[32];
};

static void add_rows(const struct encoder_vectors *ev, struct buf *out)
{
    for (size_t j = 0; ev->encoder != 0 && j < ev->n_segments; j++) {
        const struct sealed *s = &ev->segments[j];
        struct row row = {.encoder = ev->encoder,
                          .after = s->after,
                          .until = s->until,
                          .n = s->n,
                          .dimensions = ev->dimensions};
        memcpy(row.name, s->name, sizeof row.name);
        buf_append(out, &row, sizeof row);
    }
}

enum status manifest_write(struct vectors *v, struct error *err)
{
    struct buf out;
    char path[VECTORS_PATH];
    uint8_t hash[SHA256_BYTES];
    buf_init(&out, (size_t)1024 * 1024);
    (void)pthread_mutex_lock(&v->manifest); /* whoever writes last wrote the newest */
    buf_z(&out, MAGIC);
    (void)pthread_mutex_lock(&v->lock);
    for (size_t i = 0; i < ENCODERS_MAX; i++) {
        add_rows(&v->encoders[i], &out);
    }
    (void)pthread_mutex_unlock(&v->lock);
    sha256_of(out.ptr, out.len, hash);
    buf_append(&out, hash, sizeof hash);
    enum status s = buf_status(&out);
    if (s != STATUS_OK) {
        s = error_set(err, s, "segments: out of memory");
    } else {
        vectors_path(v, "manifest", path);
        s = file_write_atomic(path, out.ptr, out.len, 0600, err);
    }
    (void)pthread_mutex_unlock(&v->manifest);
    buf_deinit(&out);
    return s;
}

static void take_row(struct vectors *v, const struct row *row)
{
    struct encoder_vectors *ev = vectors_find(v, row->encoder);
    if (ev == NULL) {
        ev = vectors_find(v, 0);
    }
    if (row->encoder <= 0 || ev == NULL || ev->n_segments == SEGMENTS_MAX || row->after < 0 ||
        row->until <= row->after || row->after < sealed_until(ev) ||
        memchr(row->name, '\0', sizeof row->name) == NULL || strchr(row->name, '/') != NULL) {
        return;
    }
    ev->encoder = row->encoder;
    ev->dimensions = row->dimensions;
    struct sealed *s = &ev->segments[ev->n_segments++];
    *s = (struct sealed){.after = row->after, .until = row->until, .n = row->n};
    memcpy(s->name, row->name, sizeof s->name);
    ev->tail.from = ev->tail.loaded = s->until;
}

void manifest_read(struct vectors *v)
{
    struct buf in;
    struct error err;
    char path[VECTORS_PATH];
    uint8_t hash[SHA256_BYTES];
    size_t head = strlen(MAGIC);
    buf_init(&in, (size_t)1024 * 1024);
    vectors_path(v, "manifest", path);
    enum status s = file_read(path, &in, &err);
    if (s == STATUS_OK && in.len >= head + sizeof hash) {
        sha256_of(in.ptr, in.len - sizeof hash, hash);
        if (memcmp(hash, in.ptr + in.len - sizeof hash, sizeof hash) == 0 &&
            memcmp(in.ptr, MAGIC, head) == 0) {
            for (size_t at = head; at + sizeof(struct row) + sizeof hash <= in.len;
                 at += sizeof(struct row)) {
                struct row row;
                memcpy(&row, in.ptr + at, sizeof row);
                take_row(v, &row);
            }
        } else {
            LOG_WARN("the list of vector segments is damaged or of an earlier version; they are "
                     "made again from the database",
                     LOG_STR("path", path), LOG_END);
        }
    } else if (s != STATUS_NOT_FOUND) {
        LOG_WARN("the list of vector segments cannot be read; they are made again from the "
                 "database",
                 LOG_STR("path", path), LOG_END);
    }
    buf_deinit(&in);
}

static bool listed(const struct vectors *v, const char *name)
{
    for (size_t i = 0; i < ENCODERS_MAX; i++) {
        for (size_t j = 0; j < v->encoders[i].n_segments; j++) {
            if (strcmp(v->encoders[i].segments[j].name, name) == 0) {
                return true;
            }
        }
    }
    return strcmp(name, "manifest") == 0;
}

void manifest_sweep(struct vectors *v)
{
    DIR *d = opendir(v->dir);
    for (const struct dirent *e = d == NULL ? NULL : readdir(d); e != NULL; e = readdir(d)) {
        if (e->d_name[0] != '.' && !listed(v, e->d_name)) {
            (void)unlinkat(dirfd(d), e->d_name, 0); /* folders, if any, are not ours and stay */
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
}
