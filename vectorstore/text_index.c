#include "vectorstore/text_index.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"

#define MAGIC "carrel-fulltext1"
#define DEAD_SHARE 4 /* a file that has lost a quarter is rewritten */
#define DEAD_MIN 64U

struct text_index {
    char dir[1100];
    const struct segment_keys *keys;
    pthread_mutex_t lock;     /* of set: held for a moment only, searches wait for it */
    struct text_set *set;     /* replaced under both locks, so that either is enough to read it */
    pthread_mutex_t changing; /* of all that follows; taken first */
    struct text_set *spare;   /* for the next publish */
    uint64_t held;            /* parts of the tail up to this number are being sealed */
    uint64_t epoch;
    uint32_t runs;           /* published since the tail was sealed */
    _Atomic uint32_t *grams; /* NULL until someone asks */
};

struct row { /* of the manifest */
    uint32_t first, last;
    char name[32];
};

/* ---- sets ---- */

static struct text_set *set_new(void)
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

static const struct text_about *about(const struct text_set *s, size_t i)
{
    return text_part_about(s->entries[i].part);
}

static bool sealed(const struct text_set *s, size_t i)
{
    return s->entries[i].name[0] != '\0';
}

/* The number of parts that start at or before n. */
static size_t starting_by(const struct text_set *s, uint64_t n)
{
    size_t low = 0;
    size_t high = s->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (about(s, middle)->first <= n) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct text_part *text_set_part(const struct text_set *s, uint64_t n)
{
    size_t i = starting_by(s, n);
    return i > 0 && about(s, i - 1)->last >= n ? s->entries[i - 1].part : NULL;
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
        const struct text_about *a = about(s, i);
        s->stats.chunks += a->chunks;
        s->stats.length_total += a->length_total;
        s->stats.gram_length_total += a->gram_length_total;
        s->stats.plain_length_total += a->plain_length_total;
    }
}

/* Into `to`: the set with the n entries from `at` on replaced by `fresh` (part NULL: by nothing),
 * each with a reference of its own. */
static void splice(const struct text_set *from, size_t at, size_t n, const struct text_entry *fresh,
                   struct text_set *to)
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

/* A part's counts of 4-grams come or go; changing is held. */
static void add_grams(struct text_index *t, struct text_part *part, int sign)
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
            add_grams(t, t->set->entries[i].part, 1);
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
        struct row row = {.first = about(s, i)->first, .last = about(s, i)->last};
        memcpy(row.name, s->entries[i].name, sizeof s->entries[i].name);
        if (sealed(s, i)) {
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
            (s->n > 0 && a->first <= about(s, s->n - 1)->last)) {
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
    if (t == NULL || (t->set = set_new()) == NULL) {
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
        if (sealed(s, i)) {
            (void)snprintf(path, sizeof path, "%s/%s", t->dir, s->entries[i].name);
            (void)unlink(path); /* one that stays is swept at the next opening */
        }
    }
}

/* `to` becomes the set; changing is held. Returns the old one, to be dropped. */
static struct text_set *change(struct text_index *t, struct text_set *to)
{
    (void)pthread_mutex_lock(&t->lock);
    struct text_set *old = t->set;
    t->set = to;
    (void)pthread_mutex_unlock(&t->lock);
    return old;
}

/* Files first: the n entries at `at` become `fresh` (part NULL: nothing), in the manifest, in the
 * set, in the counts, and on the disk. changing is held. `to`: new and empty; where this succeeds
 * it is the set and *old what it replaced. */
static enum status change_files(struct text_index *t, size_t at, size_t n,
                                const struct text_entry *fresh, struct text_set *to,
                                struct text_set **old, struct error *err)
{
    splice(t->set, at, n, fresh, to);
    enum status st = manifest_write(t, to, err);
    if (st != STATUS_OK) {
        return st;
    }
    *old = change(t, to);
    uint32_t dropped = fresh->part == NULL ? 0 : text_part_about(fresh->part)->dropped;
    for (size_t i = at; i < at + n; i++) {
        dropped -= about(*old, i)->dropped;
    }
    if (dropped != 0 || fresh->part == NULL || n == 0) { /* merged whole, the counts are the same */
        for (size_t i = at; i < at + n; i++) {
            add_grams(t, (*old)->entries[i].part, -1);
        }
        if (fresh->part != NULL) {
            add_grams(t, fresh->part, 1);
        }
    }
    remove_files(t, *old, at, n);
    return STATUS_OK;
}

void text_index_give_up(struct text_index *t, const struct text_part *part)
{
    struct text_set *to = set_new();
    struct text_set *old = to; /* dropped where nothing changes */
    const struct text_entry nothing = {.part = NULL};
    (void)pthread_mutex_lock(&t->changing);
    for (size_t i = 0; to != NULL && i < t->set->n; i++) {
        if (t->set->entries[i].part == part) {
            struct error err;
            splice(t->set, i, 1, &nothing, to);
            if (manifest_write(t, to, &err) != STATUS_OK) { /* found damaged again next time */
                LOG_WARN("the list of full-text segments could not be written",
                         LOG_STR("err", err.text), LOG_END);
            }
            old = change(t, to);
            add_grams(t, old->entries[i].part, -1);
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
        n += sealed(s, i) ? 0 : about(s, i)->chunks;
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
        t->spare = set_new();
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
    size_t at = starting_by(t->set, a->last);
    bool covered = at > 0 && about(t->set, at - 1)->last >= a->first;
    if (!covered && t->spare != NULL && t->set->n < TEXT_PARTS_MAX) {
        splice(t->set, at, 0, &fresh, t->spare);
        old = change(t, t->spare);
        t->spare = NULL;
        t->runs++;
        add_grams(t, part, 1);
    }
    (void)pthread_mutex_unlock(&t->changing);
    text_set_drop(old);
    text_part_drop(part); /* the set has its own reference */
}

/* ---- merging by size ---- */

static unsigned tier(uint64_t chunks, uint64_t least)
{
    unsigned t = 0;
    for (; chunks >= least * TEXT_FANOUT; chunks /= TEXT_FANOUT) {
        t++;
    }
    return t;
}

/* No live chunk lies between two neighbours (there NULL: their numbers must meet). */
static bool gapless(const struct text_set *s, size_t i, const struct lexical_allowed *there)
{
    uint64_t past = (uint64_t)about(s, i)->last + 1;
    uint64_t next = about(s, i + 1)->first;
    for (uint64_t n = past; n < next; n++) {
        if (there == NULL || n >= there->limit || lexical_allowed(there, n)) {
            return false;
        }
    }
    return true;
}

/* The last stretch of TEXT_FANOUT or more neighbours, of files or of the tail, none of them of a
 * higher tier than the lowest that has so many; *n 0: there is none. */
static void mergeable(const struct text_set *s, bool files, uint64_t after, uint64_t least,
                      const struct lexical_allowed *there, size_t *at, size_t *n)
{
    *n = 0;
    for (unsigned t = 0; t < 8 && *n == 0; t++) {
        size_t run = 0;
        for (size_t i = s->n; i-- > 0;) {
            const struct text_about *a = about(s, i);
            bool fits = sealed(s, i) == files && a->first > after && tier(a->chunks, least) <= t;
            fits = fits && (run == 0 || (gapless(s, i, there) && run < TEXT_MERGE_MAX &&
                                         about(s, i + run)->last - a->first < TEXT_SEGMENT_MAX));
            if (fits) {
                run++;
                *at = i;
            } else if (run >= TEXT_FANOUT) {
                break;
            } else {
                run = sealed(s, i) == files && a->first > after && tier(a->chunks, least) <= t;
                *at = i;
            }
        }
        *n = run >= TEXT_FANOUT ? run : 0;
    }
}

static void parts_of(const struct text_set *s, size_t at, size_t n, struct text_part **out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = s->entries[at + i].part;
    }
}

/* changing is held: where the n parts from s's place `at` stand in the present set; SIZE_MAX: not
 * any more. */
static size_t still_there(const struct text_index *t, const struct text_set *s, size_t at, size_t n)
{
    size_t i = 0;
    while (i < t->set->n && t->set->entries[i].part != s->entries[at].part) {
        i++;
    }
    for (size_t k = 0; k < n; k++) {
        if (i + k >= t->set->n || t->set->entries[i + k].part != s->entries[at + k].part) {
            return SIZE_MAX;
        }
    }
    return i;
}

bool text_index_untidy(struct text_index *t, bool crowded)
{
    size_t n = 0;
    (void)pthread_mutex_lock(&t->changing);
    for (size_t i = 0; i < t->set->n; i++) {
        n += !sealed(t->set, i) && about(t->set, i)->first > t->held ? 1 : 0;
    }
    (void)pthread_mutex_unlock(&t->changing);
    return n >= (crowded ? TEXT_CROWDED_PARTS : TEXT_TIDY_PARTS);
}

void text_index_tidy(struct text_index *t)
{
    struct text_pace pace = {.there = NULL};
    struct text_part *parts[TEXT_MERGE_MAX];
    for (;;) {
        struct error err;
        struct text_entry fresh = {.part = NULL};
        size_t at = 0;
        size_t n = 0;
        (void)pthread_mutex_lock(&t->changing);
        uint64_t held = t->held;
        (void)pthread_mutex_unlock(&t->changing);
        struct text_set *s = text_index_hold(t);
        struct text_set *to = NULL;
        struct text_set *old = NULL;
        mergeable(s, false, held, 1, NULL, &at, &n);
        if (n > 0) {
            parts_of(s, at, n, parts);
            to = set_new();
        }
        /* a failure leaves more parts than need be: the next run tries again */
        if (to != NULL && text_merge_image(parts, n, &pace, &fresh.part, &err) == STATUS_OK) {
            (void)pthread_mutex_lock(&t->changing);
            size_t now = still_there(t, s, at, n);
            if (now != SIZE_MAX && about(t->set, now)->first > t->held) {
                splice(t->set, now, n, &fresh, to);
                old = change(t, to);
                to = NULL;
            }
            (void)pthread_mutex_unlock(&t->changing);
        }
        bool changed = old != NULL;
        text_set_drop(to);
        text_set_drop(old);
        text_set_drop(s);
        text_part_drop(fresh.part);
        if (!changed) {
            return;
        }
    }
}

/* ---- sealing ---- */

void text_index_path(const struct text_index *t, char name[ID_CAP], char *path, size_t cap)
{
    id_new(name);
    (void)snprintf(path, cap, "%s/%s", t->dir, name);
}

/* The n parts at s's place `at` become the one file, or nothing (name NULL). */
static enum status replace(struct text_index *t, const struct text_set *s, size_t at, size_t n,
                           const char *name, uint64_t epoch, bool *done, struct error *err)
{
    struct text_entry fresh = {.part = NULL};
    struct text_set *to = set_new();
    struct text_set *old = to;
    char path[1200];
    enum status st =
        to == NULL ? error_set(err, STATUS_NO_MEMORY, "full text: out of memory") : STATUS_OK;
    if (st == STATUS_OK && name != NULL) {
        (void)snprintf(path, sizeof path, "%s/%s", t->dir, name);
        (void)snprintf(fresh.name, sizeof fresh.name, "%s", name);
        st = text_index_open_part(t, path, &fresh.part, err);
    }
    (void)pthread_mutex_lock(&t->changing);
    size_t now = still_there(t, s, at, n);
    bool is = st == STATUS_OK && now != SIZE_MAX && epoch == t->epoch;
    if (is) {
        st = change_files(t, now, n, &fresh, to, &old, err);
        is = st == STATUS_OK;
    }
    (void)pthread_mutex_unlock(&t->changing);
    if (!is && name != NULL) {
        (void)unlink(path);
    }
    text_set_drop(old);
    text_part_drop(fresh.part);
    *done = is;
    return st;
}

static enum status merge_to_file(struct text_index *t, const struct text_set *s, size_t at,
                                 size_t n, const struct text_pace *pace, bool *done,
                                 struct error *err)
{
    struct text_part *parts[TEXT_MERGE_MAX];
    char name[ID_CAP];
    char path[1200];
    parts_of(s, at, n, parts);
    text_index_path(t, name, path, sizeof path);
    enum status st = text_merge_file(parts, n, pace, path, text_index_key(t), err);
    return st == STATUS_OK ? replace(t, s, at, n, name, pace->epoch, done, err) : st;
}

/* The first stretch of the tail without a gap. */
static size_t tail_of(const struct text_set *s, const struct lexical_allowed *there, size_t *at)
{
    size_t n = 0;
    for (*at = 0; *at < s->n && sealed(s, *at); (*at)++) {
    }
    while (*at + n < s->n && !sealed(s, *at + n) && n < TEXT_MERGE_MAX &&
           (n == 0 || gapless(s, *at + n - 1, there))) {
        n++;
    }
    return n;
}

enum status text_index_seal(struct text_index *t, const struct text_pace *pace, bool always,
                            bool *done, struct error *err)
{
    size_t at = 0;
    size_t n = 0;
    *done = false;
    if (!always && !text_index_due(t)) {
        return STATUS_OK;
    }
    (void)pthread_mutex_lock(&t->changing);
    struct text_set *s = text_index_hold(t);
    n = tail_of(s, pace->there, &at);
    t->held = n == 0 ? 0 : about(s, at + n - 1)->last;
    (void)pthread_mutex_unlock(&t->changing);
    enum status st = n == 0 ? STATUS_OK : merge_to_file(t, s, at, n, pace, done, err);
    (void)pthread_mutex_lock(&t->changing);
    t->held = 0;
    t->runs = *done ? 0 : t->runs;
    (void)pthread_mutex_unlock(&t->changing);
    text_set_drop(s);
    return st;
}

uint32_t text_index_clear(struct text_index *t)
{
    struct text_set *s = text_index_hold(t);
    uint32_t n = 0;
    for (size_t i = 0; i < s->n && text_index_key(t) != NULL; i++) {
        n += text_part_clear(s->entries[i].part) ? 1 : 0;
    }
    text_set_drop(s);
    return n;
}

uint32_t text_part_live(const struct text_part *p, const struct lexical_allowed *there)
{
    const struct text_about *a = text_part_about(p);
    const struct lexical_length *l = text_part_lengths(p);
    uint32_t n = 0;
    for (uint32_t i = 0; i <= a->last - a->first; i++) {
        uint64_t number = (uint64_t)a->first + i;
        n += (l[i].length > 0 || l[i].grams > 0) &&
                     (number >= there->limit || lexical_allowed(there, number))
                 ? 1
                 : 0;
    }
    return n;
}

enum status text_index_merge(struct text_index *t, const struct text_pace *pace, bool *done,
                             struct error *err)
{
    struct text_set *s = text_index_hold(t);
    size_t at = 0;
    size_t n = 0;
    enum status st = STATUS_OK;
    *done = false;
    mergeable(s, true, 0, TEXT_SEAL_CHUNKS / TEXT_FANOUT, pace->there, &at, &n);
    if (n > 0) {
        st = merge_to_file(t, s, at, n, pace, done, err);
    }
    for (size_t i = 0; st == STATUS_OK && !*done && pace->there != NULL && i < s->n; i++) {
        uint32_t all = about(s, i)->chunks;
        uint32_t kept = sealed(s, i) ? text_part_live(s->entries[i].part, pace->there) : all;
        if (kept == 0 && sealed(s, i)) {
            st = replace(t, s, i, 1, NULL, pace->epoch, done, err);
        } else if (all - kept >= DEAD_MIN && (all - kept) * DEAD_SHARE >= all) {
            st = merge_to_file(t, s, i, 1, pace, done, err);
        } else if (text_index_key(t) != NULL && text_part_clear(s->entries[i].part)) {
            st = merge_to_file(t, s, i, 1, pace, done, err);
        }
    }
    text_set_drop(s);
    return st;
}

enum status text_index_rewrite(struct text_index *t, struct text_part *part,
                               const struct text_pace *pace, bool *done, struct error *err)
{
    struct text_set *s = text_index_hold(t);
    enum status st = STATUS_OK;
    size_t i = 0;
    *done = false;
    while (i < s->n && s->entries[i].part != part) {
        i++;
    }
    if (i < s->n && text_part_live(part, pace->there) == 0) {
        st = replace(t, s, i, 1, NULL, pace->epoch, done, err);
    } else if (i < s->n) {
        st = merge_to_file(t, s, i, 1, pace, done, err);
    }
    text_set_drop(s);
    return st;
}

bool text_index_swap(struct text_index *t, const struct text_part *part, struct text_part *fresh)
{
    const struct text_entry with = {.part = fresh};
    struct text_set *to = set_new();
    struct text_set *old = to;
    bool is = false;
    (void)pthread_mutex_lock(&t->changing);
    for (size_t i = 0; to != NULL && !is && i < t->set->n; i++) {
        is = t->set->entries[i].part == part;
        if (is) {
            splice(t->set, i, 1, &with, to);
            old = change(t, to);
            add_grams(t, old->entries[i].part, -1);
            if (fresh != NULL) {
                add_grams(t, fresh, 1);
            }
        }
    }
    (void)pthread_mutex_unlock(&t->changing);
    text_set_drop(old);
    return is;
}

enum status text_index_take(struct text_index *t, const char *name, uint64_t epoch,
                            struct error *err)
{
    char path[1200];
    struct text_entry fresh = {.part = NULL};
    struct text_set *to = set_new();
    struct text_set *old = to;
    (void)snprintf(path, sizeof path, "%s/%s", t->dir, name);
    (void)snprintf(fresh.name, sizeof fresh.name, "%s", name);
    enum status st = to == NULL ? error_set(err, STATUS_NO_MEMORY, "full text: out of memory")
                                : text_index_open_part(t, path, &fresh.part, err);
    bool taken = false;
    (void)pthread_mutex_lock(&t->changing);
    if (st == STATUS_OK) {
        const struct text_about *a = text_part_about(fresh.part);
        size_t past = starting_by(t->set, a->last);
        size_t at = past;
        while (at > 0 && about(t->set, at - 1)->first >= a->first &&
               about(t->set, at - 1)->last <= a->last) {
            at--;
        }
        bool overlaps = at > 0 && about(t->set, at - 1)->last >= a->first;
        overlaps = overlaps || (past > at && about(t->set, past - 1)->last > a->last);
        if (!overlaps && epoch == t->epoch && t->set->n - (past - at) < TEXT_PARTS_MAX) {
            st = change_files(t, at, past - at, &fresh, to, &old, err);
            taken = st == STATUS_OK;
        }
    }
    (void)pthread_mutex_unlock(&t->changing);
    if (!taken) {
        (void)unlink(path);
    }
    text_set_drop(old);
    text_part_drop(fresh.part);
    return st;
}
