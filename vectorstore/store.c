/* Opening and closing a tenant's store, and its readers. */
#include "vectorstore/store.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "vectorstore/store_internal.h"

static enum status sweep_contents(struct store *s, struct error *err)
{
    enum status st = STATUS_OK;
    while (st == STATUS_OK) {
        struct arena a;
        struct content k;
        bool gone = false;
        arena_init(&a, (size_t)1024 * 1024);
        st = catalogue_content_unsettled(s->writer, CONTENT_STAGED, &a, &k, err);
        if (st == STATUS_OK) {
            LOG_INFO("removing a put that was cut off", LOG_STR("content", k.id), LOG_END);
        }
        while (st == STATUS_OK && !gone) {
            st = content_shrink(s, &k, &gone, err);
        }
        arena_reset(&a);
    }
    return st == STATUS_NOT_FOUND ? STATUS_OK : st;
}

static bool blob_wanted(const char *name, void *data)
{
    struct store *s = data;
    char hex[SHA256_HEX_CAP];
    char pipeline[80] = "";
    uint8_t hash[SHA256_BYTES];
    int64_t original = 0;
    int64_t structure = 0;
    struct error err;
    if (strlen(name) < SHA256_HEX_CAP - 1) {
        return false; /* temporary */
    }
    memcpy(hex, name, sizeof hex - 1);
    hex[sizeof hex - 1] = '\0';
    if (!sha256_parse(hex, hash)) {
        return false;
    }
    const char *rest = name + sizeof hex - 1;
    const char *dot = strrchr(rest, '.');
    if (rest[0] == '.' && dot > rest && (size_t)(dot - rest) <= sizeof pipeline) {
        memcpy(pipeline, rest + 1, (size_t)(dot - rest - 1));
    }
    if (catalogue_content_uses(s->writer, hash, pipeline, &original, &structure, &err) !=
        STATUS_OK) {
        return true; /* in doubt it stays */
    }
    return (rest[0] == '\0' ? original : structure) > 0;
}

/* Without a row: of a put that was cut off between the fit and its row, or refused by a version
 * before, which wrote the fit first. */
static bool fit_wanted(const char *name, void *data)
{
    struct store *s = data;
    struct arena a;
    struct encoder e;
    struct error err;
    arena_init(&a, (size_t)64 * 1024);
    enum status st = catalogue_encoder_by_name(s->writer, str_from(name), &a, &e, &err);
    arena_reset(&a);
    return st != STATUS_NOT_FOUND; /* in doubt it stays */
}

/* The marker is there while the store is open: found at the opening, it was not closed in order. */
static enum status sweep(struct store *s, struct error *err)
{
    char marker[1100];
    enum status st = file_join(marker, sizeof marker, s->dir, "open", err);
    if (st != STATUS_OK) {
        return st;
    }
    if (access(marker, F_OK) == 0) {
        st = sweep_contents(s, err);
        if (st == STATUS_OK) {
            st = blobs_sweep(s->blobs.dir, blob_wanted, s, err);
        }
        if (st != STATUS_OK && st != STATUS_CORRUPT) { /* no room, say: reading must go on */
            LOG_WARN("what a crash left could not be removed; the next start tries again",
                     LOG_STR("err", err->text), LOG_END);
            st = STATUS_OK;
        }
        return st;
    }
    int fd = open(marker, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return error_set(err, STATUS_IO, "%s: cannot be made", marker);
    }
    (void)close(fd);
    return STATUS_OK;
}

/* Made in a hurry at opening, the marker may not outlive a power cut; before the first thing that
 * could need a sweep it is made to. Most tenants are opened to be read. */
enum status store_mark(struct store *s, struct error *err)
{
    char marker[1100];
    if (s->marked) {
        return STATUS_OK;
    }
    enum status st = file_join(marker, sizeof marker, s->dir, "open", err);
    if (st == STATUS_OK) {
        st = file_write_atomic(marker, "", 0, 0600, err);
    }
    s->marked = st == STATUS_OK;
    return st;
}

static enum status open_parts(struct store *s, struct error *err)
{
    char path[1100];
    enum status st = file_join(path, sizeof path, s->dir, "encoder", err);
    if (st == STATUS_OK) {
        st = file_mkdirs(path, 0700, err);
    }
    if (st == STATUS_OK) {
        st = blobs_open(&s->blobs, s->dir, err);
    }
    if (st == STATUS_OK) {
        st = file_join(path, sizeof path, s->dir, "store.db", err);
    }
    if (st == STATUS_OK) {
        st = catalogue_open(path, true, &s->writer, err);
    }
    if (st == STATUS_OK) {
        st = holds_load(s, err);
    }
    if (st == STATUS_OK) {
        st = text_analyzer_new(&s->writer_text, err);
    }
    if (st == STATUS_OK) {
        st = vectors_open(s->dir, s->keys, &s->vectors, err);
    }
    if (st == STATUS_OK) {
        st = rights_new(&s->rights, err);
    }
    if (st == STATUS_OK) {
        st = text_index_open(s->dir, s->keys, &s->text, err);
    }
    if (st == STATUS_OK) {
        st = index_load(s, err);
    }
    if (st == STATUS_OK) {
        st = erase_again(s, err);
    }
    if (st == STATUS_OK) {
        st = file_join(path, sizeof path, s->dir, "encoder", err);
    }
    if (st == STATUS_OK) { /* a handful of files */
        st = blobs_sweep(path, fit_wanted, s, err);
    }
    return st == STATUS_OK ? sweep(s, err) : st;
}

#define SMALL_CHUNKS 2048 /* numbers given out: so many are indexed while the store opens */
#define SMALL_STEPS 8

/* A small store whose full text is not whole (of an earlier version, say) is mended before it is
 * searched; a large one is searched as far as it goes while sealing mends it. */
static enum status mend_small(struct store *s, const struct catalogue_state *state,
                              struct error *err)
{
    struct text_set *set = text_index_hold(s->text);
    bool whole = set->n > 0 || state->next_chunk == 1 || state->next_chunk > SMALL_CHUNKS;
    text_set_drop(set);
    enum status st = whole ? STATUS_OK : sealer_open(s, err);
    for (int i = 0; i < SMALL_STEPS && st == STATUS_OK && !whole; i++) {
        bool done = false;
        st = index_seal(s, &done, err);
        whole = !done;
    }
    return st;
}

enum status store_open(const char *dir, struct store **out, struct error *err)
{
    return store_open_keyed(dir, NULL, NULL, out, err);
}

bool store_keyed(const struct store *s)
{
    return segment_keys_key(s->keys) != NULL;
}

uint32_t store_clear_segments(const struct store *s)
{
    return text_index_clear(s->text) + vectors_clear(s->vectors);
}

enum status store_open_keyed(const char *dir, const char *key_file, struct segment_cache *cache,
                             struct store **out, struct error *err)
{
    struct store *s = calloc(1, sizeof *s);
    struct catalogue_state state;
    if (s == NULL || strlen(dir) >= sizeof s->dir) {
        free(s);
        return error_set(err, STATUS_NO_MEMORY, "%s: out of memory, or the path is too long", dir);
    }
    memcpy(s->dir, dir, strlen(dir));
    (void)pthread_mutex_init(&s->lock, NULL);
    enum status st = segment_keys_open(dir, key_file, cache, &s->keys, err);
    if (st == STATUS_OK) {
        st = open_parts(s, err);
    }
    if (st == STATUS_OK) {
        st = catalogue_begin_read(s->writer, &state, err);
    }
    if (st != STATUS_OK) {
        store_close(s);
        return st;
    }
    catalogue_end(s->writer);
    struct error why;
    if (mend_small(s, &state, &why) != STATUS_OK) {
        LOG_WARN("full text is not whole; sealing tries again", LOG_STR("err", why.text), LOG_END);
    }
    atomic_store(&s->documents, (uint32_t)state.documents);
    atomic_store(&s->chunks, (uint32_t)state.visible);
    *out = s;
    return STATUS_OK;
}

void store_close(struct store *s)
{
    if (s == NULL) {
        return;
    }
    bool whole = s->writer != NULL && s->vectors != NULL;
    struct arena a;
    struct content k;
    struct error err;
    arena_init(&a, (size_t)1024 * 1024);
    if (whole &&
        catalogue_content_unsettled(s->writer, CONTENT_STAGED, &a, &k, &err) == STATUS_NOT_FOUND) {
        char marker[1100];
        (void)snprintf(marker, sizeof marker, "%s/open", s->dir);
        (void)unlink(marker); /* one that stays costs a look at the next opening */
    }
    arena_reset(&a);
    for (size_t i = 0; i < STORE_READERS_ALL; i++) {
        catalogue_close(s->readers[i].db);
        text_analyzer_free(s->readers[i].text);
    }
    catalogue_close(s->sealer);
    catalogue_close(s->writer); /* last: it writes the log back */
    text_analyzer_free(s->writer_text);
    vectors_close(s->vectors);
    rights_free(s->rights);
    text_index_close(s->text);
    text_analyzer_free(s->sealer_text);
    segment_keys_close(s->keys);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

void store_keep_encoders(struct store *s, int64_t ms)
{
    atomic_store(&s->keep_ms, ms);
}

void store_retain_versions(struct store *s, int64_t ms)
{
    atomic_store(&s->retain_ms, ms);
}

bool store_seal_due(struct store *s)
{
    return atomic_load(&s->holes) || text_index_due(s->text) || text_index_untidy(s->text, false);
}

void store_counts(const struct store *s, uint32_t *documents, uint32_t *chunks)
{
    *documents = atomic_load(&s->documents);
    *chunks = atomic_load(&s->chunks);
}

/* ---- readers ---- */

enum status reader_take(struct store *s, struct reader **out, struct catalogue_state *state,
                        struct error *err)
{
    struct reader *r = NULL;
    char path[1100];
    (void)pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < STORE_READERS_ALL && r == NULL; i++) {
        if (!s->readers[i].busy) {
            r = &s->readers[i];
            r->busy = true;
            (void)atomic_fetch_add(&s->active, 1);
        }
    }
    (void)pthread_mutex_unlock(&s->lock);
    if (r == NULL) {
        return error_set(err, STATUS_BUSY, "too many searches at once");
    }
    enum status st = STATUS_OK;
    if (r->db == NULL) {
        st = file_join(path, sizeof path, s->dir, "store.db", err);
        if (st == STATUS_OK) {
            st = catalogue_open(path, false, &r->db, err);
        }
    }
    if (st == STATUS_OK && r->text == NULL) {
        st = text_analyzer_new(&r->text, err);
    }
    if (st == STATUS_OK) {
        st = catalogue_begin_read(r->db, state, err);
    }
    if (st != STATUS_OK) {
        reader_give(s, r);
        return st;
    }
    *out = r;
    return STATUS_OK;
}

void reader_give(struct store *s, struct reader *r)
{
    if (r == NULL) {
        return;
    }
    if (r->db != NULL) {
        catalogue_end(r->db);
    }
    (void)pthread_mutex_lock(&s->lock);
    r->busy = false;
    (void)atomic_fetch_sub(&s->active, 1);
    (void)pthread_mutex_unlock(&s->lock);
}
