/* Which parts there are: sets of them, the manifest, changes. Merging and sealing them:
 * text_index_merge.c. */
#include "vectorstore/text_index_internal.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"

#define MAGIC "carrel-fulltext1"

struct row { /* of the manifest */
    uint32_t first, last;
    char name[32];
};

/* ---- sets ---- */

struct text_set *text_set_new(void)
{
    struct text_set *s = calloc(1, sizeof *s);
    if (s != NULL) {
        atomic_init(&s->refs, 1);
    }
    return s;
}

void text_set_drop(struct text_set *s)
{
    if (s != NULL && atomic_fetch_sub(&s->refs, 1) == 1) {
        for (size_t i = 0; i < s->n; i++) {
            text_part_drop(s->entries[i].part);
        }
        free(s);
    }
}

const struct text_about *text_set_about(const struct text_set *s, size_t i)
{
    return text_part_about(s->entries[i].part);
}

bool text_set_sealed(const struct text_set *s, size_t i)
{
    return s->entries[i].name[0] != '\0';
}

size_t text_set_starting_by(const struct text_set *s, uint64_t n)
{
    size_t low = 0;
    size_t high = s->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (text_set_about(s, middle)->first <= n) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct text_part *text_set_part(const struct text_set *s, uint64_t n)
{
    size_t i = text_set_starting_by(s, n);
    return i > 0 && text_set_about(s, i - 1)->last >= n ? s->entries[i - 1].part : NULL;
}

struct text_set *text_index_hold(struct text_index *t)
{
    (void)pthread_mutex_lock(&t->lock);
    struct text_set *s = t->set;
    (void)atomic_fetch_add(&s->refs, 1);
    (void)pthread_mutex_unlock(&t->lock);
    return s;
}

static void count(struct text_set *s)
{
    s->stats = (struct lexical_stats){0};
    for (size_t i = 0; i < s->n; i++) {
        const struct text_about *a = text_set_about(s, i);
        s->stats.chunks += a->chunks;
        s->stats.length_total += a->length_total;
        s->stats.gram_length_total += a->gram_length_total;
        s->stats.plain_length_total += a->plain_length_total;
    }
}

void text_set_splice(const struct text_set *from, size_t at, size_t n,
                     const struct text_entry *fresh, struct text_set *to)
{
    for (size_t i = 0; i < at; i++) {
        to->entries[to->n++] = from->entries[i];
    }
    if (fresh->part != NULL) {
        to->entries[to->n++] = *fresh;
    }
    for (size_t i = at + n; i < from->n; i++) {
        to->entries[to->n++] = from->entries[i];
    }
    for (size_t i = 0; i < to->n; i++) {
        (void)text_part_hold(to->entries[i].part);
    }
    count(to);
}

void text_index_add_grams(struct text_index *t, struct text_part *part, int sign)
{
    struct error err;
    if (t->grams != NULL && text_part_grams(part, sign, t->grams, &err) != STATUS_OK) {
        LOG_WARN("counts of 4-grams are damaged", LOG_STR("err", err.text), LOG_END);
    }
}

enum status text_index_grams(struct text_index *t, const _Atomic uint32_t **out, struct error *err)
{
    (void)pthread_mutex_lock(&t->changing);
    if (t->grams == NULL) {
        t->grams = calloc(LEXICAL_GRAM_BUCKETS, sizeof *t->grams);
        for (size_t i = 0; i < t->set->n; i++) {
            text_index_add_grams(t, t->set->entries[i].part, 1);
        }
    }
    *out = t->grams;
    (void)pthread_mutex_unlock(&t->changing);
    return *out == NULL ? error_set(err, STATUS_NO_MEMORY, "full text: out of memory") : STATUS_OK;
}

/* ---- the manifest ---- */

static enum status manifest_write(const struct text_index *t, const struct text_set *s,
                                  struct error *err)
{
    struct buf out;
    char path[1200];
    uint8_t hash[SHA256_BYTES];
    buf_init(&out, (size_t)1024 * 1024);
    buf_z(&out, MAGIC);
    for (size_t i = 0; i < s->n; i++) {
        struct row row = {.first = text_set_about(s, i)->first, .last = text_set_about(s, i)->last};
        memcpy(row.name, s->entries[i].name, sizeof s->entries[i].name);
        if (text_set_sealed(s, i)) {
            buf_append(&out, &row, sizeof row);
        }
    }
    enum status st = buf_status(&out);
    if (st != STATUS_OK) {
        st = error_set(err, st, "full text: out of memory");
    } else {
        sha256_of(out.ptr, out.len, hash);
        buf_append(&out, hash, sizeof hash);
        st = buf_status(&out) == STATUS_OK ? file_join(path, sizeof path, t->dir, "manifest", err)
                                           : error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    if (st == STATUS_OK) {
        st = file_write_atomic(path, out.ptr, out.len, 0600, err);
    }
    buf_deinit(&out);
    return st;
}

static void open_row(struct text_index *t, const struct row *row)
{
    char path[1200];
    struct error err;
    struct text_part *p = NULL;
    struct text_set *s = t->set;
    if (!id_valid(row->name) || s->n == TEXT_PARTS_MAX) {
        return;
    }
    (void)snprintf(path, sizeof path, "%s/%s", t->dir, row->name);
    enum status st = text_index_open_part(t, path, &p, &err);
    if (st == STATUS_OK) {
        const struct text_about *a = text_part_about(p);
        if (a->first != row->first || a->last != row->last ||
            (s->n > 0 && a->first <= text_set_about(s, s->n - 1)->last)) {
            st = error_set(&err, STATUS_CORRUPT, "%s: is not what the manifest lists", path);
        }
    }
    if (st != STATUS_OK) {
        LOG_WARN("a full-text segment is made again from the database", LOG_STR("err", err.text),
                 LOG_END);
        text_part_drop(p);
        return;
    }
    struct text_entry *e = &s->entries[s->n++];
    e->part = p;
    memcpy(e->name, row->name, sizeof e->name);
    e->name[sizeof e->name - 1] = '\0';
}

/* A damaged manifest is the same as none: everything is made again. */
static void manifest_read(struct text_index *t)
{
    struct buf in;
    struct error err;
    char path[1200];
    uint8_t hash[SHA256_BYTES];
    size_t head = strlen(MAGIC);
    buf_init(&in, (size_t)1024 * 1024);
    (void)snprintf(path, sizeof path, "%s/manifest", t->dir);
    enum status st = file_read(path, &in, &err);
    if (st == STATUS_OK && in.len >= head + sizeof hash) {
        sha256_of(in.ptr, in.len - sizeof hash, hash);
    }
    if (st == STATUS_OK && in.len >= head + sizeof hash &&
        memcmp(hash, in.ptr + in.len - sizeof hash, sizeof hash) == 0 &&
        memcmp(in.ptr, MAGIC, head) == 0) {
        for (size_t at = head; at + sizeof(struct row) + sizeof hash <= in.len;
             at += sizeof(struct row)) {
            struct row row;
            memcpy(&row, in.ptr + at, sizeof row);
            row.name[sizeof row.name - 1] = '\0';
            open_row(t, &row);
        }
        count(t->set);
    } else if (st != STATUS_NOT_FOUND) {
        LOG_WARN("the list of full-text segments is damaged; they are made again", LOG_END);
    }
    buf_deinit(&in);
}

static bool listed(const struct text_set *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++) {
        if (strcmp(s->entries[i].name, name) == 0) {
            return true;
        }
    }
    return strcmp(name, "manifest") == 0;
}

static void sweep(const struct text_index *t)
{
    DIR *d = opendir(t->dir);
    for (const struct dirent *e = d == NULL ? NULL : readdir(d); e != NULL; e = readdir(d)) {
        if (e->d_name[0] != '.' && !listed(t->set, e->d_name)) {
            (void)unlinkat(dirfd(d), e->d_name, 0);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
}

enum status text_index_open_part(const struct text_index *t, const char *path,
                                 struct text_part **out, struct error *err)
{
    return text_part_open(path, segment_keys_key(t->keys), segment_keys_cache(t->keys), out, err);
}

const struct segment_key *text_index_key(const struct text_index *t)
{
    return segment_keys_key(t->keys);
}

enum status text_index_open(const char *tenant_dir, const struct segment_keys *keys,
                            struct text_index **out, struct error *err)
{
    struct text_index *t = calloc(1, sizeof *t);
    if (t == NULL || (t->set = text_set_new()) == NULL) {
        free(t);
        return error_set(err, STATUS_NO_MEMORY, "full text: out of memory");
    }
    t->keys = keys;
    (void)pthread_mutex_init(&t->lock, NULL);
    (void)pthread_mutex_init(&t->changing, NULL);
    enum status st = file_join(t->dir, sizeof t->dir, tenant_dir, "text", err);
    if (st == STATUS_OK) {
        st = file_mkdirs(t->dir, 0700, err);
    }
    if (st != STATUS_OK) {
        text_index_close(t);
        return st;
    }
    manifest_read(t);
    sweep(t);
    *out = t;
    return STATUS_OK;
}

void text_index_close(struct text_index *t)
{
    if (t != NULL) {
        text_set_drop(t->set);
        free(t->spare);
        free(t->grams);
        (void)pthread_mutex_destroy(&t->lock);
        (void)pthread_mutex_destroy(&t->changing);
        free(t);
    }
}

/* ---- changes ---- */

static void remove_files(const struct text_index *t, const struct text_set *s, size_t at, size_t n)
{
    char path[1200];
    for (size_t i = at; i < at + n; i++) {
        if (text_set_sealed(s, i)) {
            (void)snprintf(path, sizeof path, "%s/%s", t->dir, s->entries[i].name);
            (void)unlink(path); /* one that stays is swept at the next opening */
        }
    }
}

struct text_set *text_index_change(struct text_index *t, struct text_set *to)
{
    (void)pthread_mutex_lock(&t->lock);
    struct text_set *old = t->set;
    t->set = to;
    (void)pthread_mutex_unlock(&t->lock);
    return old;
}

enum status text_index_change_files(struct text_index *t, size_t at, size_t n,
                                    const struct text_entry *fresh, struct text_set *to,
                                    struct text_set **old, struct error *err)
{
    text_set_splice(t->set, at, n, fresh, to);
    enum status st = manifest_write(t, to, err);
    if (st != STATUS_OK) {
        return st;
    }
    *old = text_index_change(t, to);
    uint32_t dropped = fresh->part == NULL ? 0 : text_part_about(fresh->part)->dropped;
    for (size_t i = at; i < at + n; i++) {
        dropped -= text_set_about(*old, i)->dropped;
    }
    if (dropped != 0 || fresh->part == NULL || n == 0) { /* merged whole, the counts are the same */
        for (size_t i = at; i < at + n; i++) {
            text_index_add_grams(t, (*old)->entries[i].part, -1);
        }
        if (fresh->part != NULL) {
            text_index_add_grams(t, fresh->part, 1);
        }
    }
    remove_files(t, *old, at, n);
    return STATUS_OK;
}

void text_index_give_up(struct text_index *t, const struct text_part *part)
{
    struct text_set *to = text_set_new();
    struct text_set *old = to; /* dropped where nothing changes */
    const struct text_entry nothing = {.part = NULL};
    (void)pthread_mutex_lock(&t->changing);
    for (size_t i = 0; to != NULL && i < t->set->n; i++) {
        if (t->set->entries[i].part == part) {
            struct error err;
            text_set_splice(t->set, i, 1, &nothing, to);
            if (manifest_write(t, to, &err) != STATUS_OK) { /* found damaged again next time */
                LOG_WARN("the list of full-text segments could not be written",
                         LOG_STR("err", err.text), LOG_END);
            }
            old = text_index_change(t, to);
            text_index_add_grams(t, old->entries[i].part, -1);
            remove_files(t, old, i, 1);
            break;
        }
    }
    (void)pthread_mutex_unlock(&t->changing);
    text_set_drop(old);
}

uint64_t text_index_epoch(struct text_index *t)
{
    (void)pthread_mutex_lock(&t->changing);
    uint64_t epoch = t->epoch;
    (void)pthread_mutex_unlock(&t->changing);
    return epoch;
}

void text_index_turn(struct text_index *t)
{
    (void)pthread_mutex_lock(&t->changing);
    t->epoch++;
    (void)pthread_mutex_unlock(&t->changing);
}

static uint64_t tail_chunks(const struct text_set *s)
{
    uint64_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        n += text_set_sealed(s, i) ? 0 : text_set_about(s, i)->chunks;
    }
    return n;
}

bool text_index_due(struct text_index *t)
{
    (void)pthread_mutex_lock(&t->changing);
    bool due =
        t->held == 0 && (t->runs >= TEXT_SEAL_RUNS || tail_chunks(t->set) >= TEXT_SEAL_CHUNKS);
    (void)pthread_mutex_unlock(&t->changing);
    return due;
}

enum status text_index_reserve(struct text_index *t, struct error *err)
{
    (void)pthread_mutex_lock(&t->changing);
    if (t->spare == NULL) {
        t->spare = text_set_new();
    }
    bool memory = t->spare != NULL;
    bool room = t->set->n < TEXT_PARTS_MAX - 8 && tail_chunks(t->set) < TEXT_TAIL_MAX;
    (void)pthread_mutex_unlock(&t->changing);
    if (!memory) {
        return error_set(err, STATUS_NO_MEMORY, "full text: out of memory");
    }
    return room ? STATUS_OK
                : error_set(err, STATUS_BUSY,
                            "full text cannot be sealed as fast as it comes in; is the disk full?");
}

void text_index_publish(struct text_index *t, struct text_part *part)
{
    struct text_entry fresh = {.part = part};
    const struct text_about *a = text_part_about(part);
    struct text_set *old = NULL;
    (void)pthread_mutex_lock(&t->changing);
    size_t at = text_set_starting_by(t->set, a->last);
    bool covered = at > 0 && text_set_about(t->set, at - 1)->last >= a->first;
    if (!covered && t->spare != NULL && t->set->n < TEXT_PARTS_MAX) {
        text_set_splice(t->set, at, 0, &fresh, t->spare);
        old = text_index_change(t, t->spare);
        t->spare = NULL;
        t->runs++;
        text_index_add_grams(t, part, 1);
    }
    (void)pthread_mutex_unlock(&t->changing);
    text_set_drop(old);
    text_part_drop(part); /* the set has its own reference */
}
