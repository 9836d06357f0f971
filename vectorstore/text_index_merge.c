/* Parts become fewer: runs of the tail by size, the tail sealed into a file, files merged and
 * rewritten. Work is done on a set that is held, and put in place where the parts are still there.
 */
#include "vectorstore/text_index_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"

#define DEAD_SHARE 4 /* a file that has lost a quarter is rewritten */
#define DEAD_MIN 64U

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
    uint64_t past = (uint64_t)text_set_about(s, i)->last + 1;
    uint64_t next = text_set_about(s, i + 1)->first;
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
            const struct text_about *a = text_set_about(s, i);
            bool fits =
                text_set_sealed(s, i) == files && a->first > after && tier(a->chunks, least) <= t;
            fits = fits &&
                   (run == 0 || (gapless(s, i, there) && run < TEXT_MERGE_MAX &&
                                 text_set_about(s, i + run)->last - a->first < TEXT_SEGMENT_MAX));
            if (fits) {
                run++;
                *at = i;
            } else if (run >= TEXT_FANOUT) {
                break;
            } else {
                run = text_set_sealed(s, i) == files && a->first > after &&
                      tier(a->chunks, least) <= t;
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
        n += !text_set_sealed(t->set, i) && text_set_about(t->set, i)->first > t->held ? 1 : 0;
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
            to = text_set_new();
        }
        /* a failure leaves more parts than need be: the next run tries again */
        if (to != NULL && text_merge_image(parts, n, &pace, &fresh.part, &err) == STATUS_OK) {
            (void)pthread_mutex_lock(&t->changing);
            size_t now = still_there(t, s, at, n);
            if (now != SIZE_MAX && text_set_about(t->set, now)->first > t->held) {
                text_set_splice(t->set, now, n, &fresh, to);
                old = text_index_change(t, to);
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
    struct text_set *to = text_set_new();
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
        st = text_index_change_files(t, now, n, &fresh, to, &old, err);
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
    for (*at = 0; *at < s->n && text_set_sealed(s, *at); (*at)++) {
    }
    while (*at + n < s->n && !text_set_sealed(s, *at + n) && n < TEXT_MERGE_MAX &&
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
    t->held = n == 0 ? 0 : text_set_about(s, at + n - 1)->last;
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
        uint32_t all = text_set_about(s, i)->chunks;
        uint32_t kept =
            text_set_sealed(s, i) ? text_part_live(s->entries[i].part, pace->there) : all;
        if (kept == 0 && text_set_sealed(s, i)) {
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
    struct text_set *to = text_set_new();
    struct text_set *old = to;
    bool is = false;
    (void)pthread_mutex_lock(&t->changing);
    for (size_t i = 0; to != NULL && !is && i < t->set->n; i++) {
        is = t->set->entries[i].part == part;
        if (is) {
            text_set_splice(t->set, i, 1, &with, to);
            old = text_index_change(t, to);
            text_index_add_grams(t, old->entries[i].part, -1);
            if (fresh != NULL) {
                text_index_add_grams(t, fresh, 1);
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
    struct text_set *to = text_set_new();
    struct text_set *old = to;
    (void)snprintf(path, sizeof path, "%s/%s", t->dir, name);
    (void)snprintf(fresh.name, sizeof fresh.name, "%s", name);
    enum status st = to == NULL ? error_set(err, STATUS_NO_MEMORY, "full text: out of memory")
                                : text_index_open_part(t, path, &fresh.part, err);
    bool taken = false;
    (void)pthread_mutex_lock(&t->changing);
    if (st == STATUS_OK) {
        const struct text_about *a = text_part_about(fresh.part);
        size_t past = text_set_starting_by(t->set, a->last);
        size_t at = past;
        while (at > 0 && text_set_about(t->set, at - 1)->first >= a->first &&
               text_set_about(t->set, at - 1)->last <= a->last) {
            at--;
        }
        bool overlaps = at > 0 && text_set_about(t->set, at - 1)->last >= a->first;
        overlaps = overlaps || (past > at && text_set_about(t->set, past - 1)->last > a->last);
        if (!overlaps && epoch == t->epoch && t->set->n - (past - at) < TEXT_PARTS_MAX) {
            st = text_index_change_files(t, at, past - at, &fresh, to, &old, err);
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
