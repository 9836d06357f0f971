#include "ingest/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "ingest/formats/detect.h"
#include "ingest/job.h"
#include "ingest/member_name.h"
#include "ingest/paths.h"

#define BLOCK ((uint64_t)4096) /* members begin at one, so that their places can be given back */
#define NAMES_BYTES ((size_t)64 << 20)
#define NOTES_BYTES 1500
#define BATCH_BYTES ((size_t)16 << 20)
#define EVENTS_MAX 65536
#define NUMBER_MAX 10000

struct spool {
    int fd;
    unsigned uses;
};

enum event_kind { BEGIN, DATA, END, DROP };

struct event {
    enum event_kind kind;
    size_t at, len; /* of the batch's bytes: name, or data */
    int64_t modified_ms;
};

struct unpacking {
    struct lane *lane;
    const char *home;
    struct extraction *x;
    struct spool *spool; /* NULL before the first member: most mails and PDFs have none */
    bool in_lane, freed;
    struct error err;
    char inner[MEMBER_NAME_CAP]; /* what a member without a name is called */

    struct buf bytes; /* the batch: filled on the loop, then the lane's until it is done */
    struct event *events;
    size_t n_events, cap_events;

    struct arena arena; /* names */
    struct map names;
    struct member *members;
    size_t n, cap;
    uint64_t end;        /* of the file */
    struct sha256 *hash; /* of the member that is coming; NULL: none, or one that is passed over */
    char head[FORMAT_HEAD];
    size_t head_len;

    char notes[NOTES_BYTES];
};

/* ---- the spool ---- */

static struct spool *spool_new(const char *home, struct error *err)
{
    struct spool *s = calloc(1, sizeof *s);
    bool in_memory;
    if (s == NULL) {
        (void)error_set(err, STATUS_NO_MEMORY, "out of memory");
    } else if (snapshot_file(UINT64_MAX, home, &s->fd, &in_memory, err) != STATUS_OK) {
        free(s);
        s = NULL;
    } else {
        s->uses = 1;
    }
    return s;
}

void spool_hold(struct spool *s)
{
    s->uses++;
}

void spool_release(struct spool *s)
{
    if (s != NULL && --s->uses == 0) {
        (void)close(s->fd);
        free(s);
    }
}

int spool_fd(const struct spool *s)
{
    return s->fd;
}

static uint64_t blocks_of(uint64_t bytes)
{
    return (bytes + BLOCK - 1) / BLOCK * BLOCK;
}

/* ---- held ---- */

static struct str row_key(const int64_t *row)
{
    return (struct str){.ptr = (const char *)row, .len = sizeof *row};
}

void held_init(struct held *h)
{
    map_init(&h->rows);
    h->bytes = 0;
}

static void let_go(struct held *h, struct spooled *m)
{
    uint64_t room = blocks_of(m->size);
    h->bytes -= room;
    if (m->spool->uses > 1 && room > 0) { /* others still lie in the file */
        (void)fallocate(m->spool->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)m->offset,
                        (off_t)room);
    }
    spool_release(m->spool);
    free(m);
}

void held_clear(struct held *h)
{
    size_t pos = 0;
    struct str key;
    void *value;
    while (map_next(&h->rows, &pos, &key, &value)) {
        let_go(h, value);
    }
    map_deinit(&h->rows);
    map_init(&h->rows);
}

void held_deinit(struct held *h)
{
    held_clear(h);
    map_deinit(&h->rows);
}

enum status held_put(struct held *h, int64_t row, const struct spooled *m, struct error *err)
{
    struct spooled *kept = malloc(sizeof *kept);
    void *old = NULL;
    if (kept == NULL || map_put(&h->rows, row_key(&row), kept, &old) != STATUS_OK) {
        free(kept);
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    *kept = *m;
    kept->spool->uses++;
    h->bytes += blocks_of(kept->size);
    if (old != NULL) {
        let_go(h, old);
    }
    return STATUS_OK;
}

bool held_get(const struct held *h, int64_t row, struct spooled *out)
{
    const struct spooled *m = map_get(&h->rows, row_key(&row));
    if (m != NULL) {
        *out = *m;
    }
    return m != NULL;
}

void held_drop(struct held *h, int64_t row)
{
    struct spooled *m = map_remove(&h->rows, row_key(&row));
    if (m != NULL) {
        let_go(h, m);
    }
}

/* ---- writing, on the lane ---- */

static bool hidden(struct str name)
{
    for (struct str rest = name; rest.len > 0;) {
        const char *slash = memchr(rest.ptr, '/', rest.len);
        size_t len = slash == NULL ? rest.len : (size_t)(slash - rest.ptr);
        if (name_ignored((struct str){rest.ptr, len})) {
            return true;
        }
        rest.ptr += slash == NULL ? len : len + 1;
        rest.len -= slash == NULL ? len : len + 1;
    }
    return false;
}

/* The second "a.pdf" is "a (2).pdf". */
static enum status name_member(struct unpacking *u, struct str raw, struct str *out)
{
    char clean[MEMBER_NAME_CAP];
    char numbered[MEMBER_NAME_CAP];
    struct str base = {clean, member_name_clean(raw, u->inner, clean)};
    struct str name = base;
    for (unsigned n = 2; map_get(&u->names, name) != NULL; n++) {
        if (n > NUMBER_MAX) {
            return error_set(&u->err, STATUS_TOO_LARGE, "more than %d files in it have one name",
                             NUMBER_MAX);
        }
        name = (struct str){numbered, member_name_number(base, n, numbered)};
    }
    *out = (struct str){arena_strndup(&u->arena, name.ptr, name.len), name.len};
    if (out->ptr == NULL || map_put(&u->names, name, u, NULL) != STATUS_OK) {
        return error_set(&u->err, STATUS_TOO_LARGE, "it holds too many files for the memory");
    }
    return STATUS_OK;
}

static enum status begin_member(struct unpacking *u, const struct event *e)
{
    struct str raw = {u->bytes.ptr == NULL ? "" : u->bytes.ptr + e->at, e->len};
    struct member m = {.offset = blocks_of(u->end), .modified_ms = e->modified_ms};
    enum status s = u->hash != NULL ? error_set(&u->err, STATUS_PROTOCOL,
                                                "the extractor gave a malformed answer")
                                    : name_member(u, raw, &m.name);
    if (s != STATUS_OK || hidden(m.name)) {
        return s;
    }
    if (u->spool == NULL) {
        u->spool = spool_new(u->home, &u->err);
    }
    if (u->spool == NULL) {
        return u->err.code;
    }
    if (u->n == u->cap) {
        size_t cap = u->cap == 0 ? 64 : u->cap * 2;
        struct member *grown = realloc(u->members, cap * sizeof *grown);
        if (grown == NULL) {
            return error_set(&u->err, STATUS_NO_MEMORY, "out of memory");
        }
        u->members = grown;
        u->cap = cap;
    }
    u->hash = sha256_new();
    if (u->hash == NULL) {
        return error_set(&u->err, STATUS_NO_MEMORY, "out of memory");
    }
    u->members[u->n] = m;
    u->end = m.offset;
    u->head_len = 0;
    return STATUS_OK;
}

static enum status write_member(struct unpacking *u, const struct event *e)
{
    const char *p = u->bytes.ptr + e->at;
    struct member *m = &u->members[u->n];
    if (u->head_len < sizeof u->head) {
        size_t room = sizeof u->head - u->head_len;
        size_t add = e->len < room ? e->len : room;
        memcpy(u->head + u->head_len, p, add);
        u->head_len += add;
    }
    sha256_add(u->hash, p, e->len);
    for (size_t done = 0; done < e->len;) {
        ssize_t n = pwrite(u->spool->fd, p + done, e->len - done, (off_t)u->end);
        if (n < 0 && errno != EINTR) {
            return error_errno(&u->err, errno, "what is unpacked");
        }
        done += n > 0 ? (size_t)n : 0;
        u->end += n > 0 ? (uint64_t)n : 0;
        m->size += n > 0 ? (uint64_t)n : 0;
    }
    return STATUS_OK;
}

static void end_member(struct unpacking *u, bool keep)
{
    struct member *m = &u->members[u->n];
    sha256_end(u->hash, m->hash);
    u->hash = NULL;
    if (keep && m->size > 0) {
        char name[256];
        struct str last = path_name(m->name);
        (void)snprintf(name, sizeof name, "%.*s", (int)last.len, last.ptr);
        m->format = format_detect(name, u->head, u->head_len);
        u->n++;
    } else {
        u->end = m->offset;
        (void)!ftruncate(u->spool->fd, (off_t)u->end);
    }
}

static void write_batch(void *data)
{
    struct unpacking *u = data;
    enum status s = STATUS_OK;
    for (size_t i = 0; i < u->n_events && s == STATUS_OK; i++) {
        const struct event *e = &u->events[i];
        if (e->kind == BEGIN) {
            s = begin_member(u, e);
        } else if (e->kind == DATA && u->hash != NULL) {
            s = write_member(u, e);
        } else if (e->kind != DATA && u->hash != NULL) {
            end_member(u, e->kind == END);
        }
    }
    u->err.code = s;
}

static void free_now(struct unpacking *u)
{
    if (u->hash != NULL) {
        uint8_t unused[SHA256_BYTES];
        sha256_end(u->hash, unused);
    }
    spool_release(u->spool);
    buf_deinit(&u->bytes);
    map_deinit(&u->names);
    arena_reset(&u->arena);
    free(u->events);
    free(u->members);
    free(u);
}

static void batch_done(void *data)
{
    struct unpacking *u = data;
    u->in_lane = false;
    u->n_events = 0;
    buf_reset(&u->bytes);
    if (u->freed) {
        free_now(u);
    } else if (u->x != NULL && u->err.code != STATUS_OK) {
        extractor_fail(u->x, &u->err);
    } else if (u->x != NULL) {
        extractor_go_on(u->x);
    }
}

/* ---- taking, on the loop ---- */

static enum status add_event(struct unpacking *u, enum event_kind kind,
                             const ProtobufCBinaryData *bytes, int64_t modified_ms,
                             struct error *err)
{
    if (u->n_events == u->cap_events) {
        size_t cap = u->cap_events == 0 ? 256 : u->cap_events * 2;
        struct event *grown = cap > EVENTS_MAX ? NULL : realloc(u->events, cap * sizeof *grown);
        if (grown == NULL) {
            return error_set(err, STATUS_NO_MEMORY, "out of memory");
        }
        u->events = grown;
        u->cap_events = cap;
    }
    u->events[u->n_events++] = (struct event){.kind = kind,
                                              .at = u->bytes.len,
                                              .len = bytes == NULL ? 0 : bytes->len,
                                              .modified_ms = modified_ms};
    if (bytes != NULL && bytes->len > 0) {
        buf_append(&u->bytes, bytes->data, bytes->len);
    }
    return buf_status(&u->bytes) == STATUS_OK ? STATUS_OK
                                              : error_set(err, STATUS_NO_MEMORY, "out of memory");
}

static enum status take(void *data, const Ex__Child *c, struct error *err)
{
    struct unpacking *u = data;
    enum status s = STATUS_OK;
    if (c->has_name) {
        int64_t ms = c->has_modified_wall_ms ? c->modified_wall_ms : 0;
        s = add_event(u, BEGIN, &c->name, ms > 0 && ms < (int64_t)1 << 52 ? ms : 0, err);
    }
    if (s == STATUS_OK && c->has_data) {
        s = add_event(u, DATA, &c->data, 0, err);
    }
    if (s == STATUS_OK && ((c->has_end && c->end) || (c->has_drop && c->drop))) {
        s = add_event(u, c->has_end && c->end ? END : DROP, NULL, 0, err);
    }
    return s;
}

static bool settle(void *data)
{
    struct unpacking *u = data;
    struct error err;
    if (u->n_events == 0) {
        return false;
    }
    u->err = (struct error){.code = STATUS_OK};
    u->in_lane = true;
    if (lane_submit(u->lane, write_batch, batch_done, u, &err) != STATUS_OK) {
        write_batch(u); /* the lane is full: better slow here than not at all */
        u->in_lane = false;
        u->n_events = 0;
        buf_reset(&u->bytes);
        if (u->err.code != STATUS_OK && u->x != NULL) {
            extractor_fail(u->x, &u->err);
        }
        return false;
    }
    return true;
}

void unpacking_note(struct unpacking *u, const char *text)
{
    size_t used = strlen(u->notes);
    if (used + strlen(text) + 3 < sizeof u->notes) {
        (void)snprintf(u->notes + used, sizeof u->notes - used, "%s%s", used > 0 ? "; " : "", text);
    }
}

static void note(void *data, const char *text)
{
    unpacking_note(data, text);
}

void unpacking_wire(struct unpacking *u, struct extract_members *out)
{
    out->take = take;
    out->note = note;
    out->settle = settle;
    out->data = u;
}

void unpacking_bind(struct unpacking *u, struct extraction *x)
{
    u->x = x;
}

struct unpacking *unpacking_new(struct lane *lane, const char *home, struct str container,
                                struct error *err)
{
    struct unpacking *u = calloc(1, sizeof *u);
    if (u == NULL) {
        (void)error_set(err, STATUS_NO_MEMORY, "out of memory");
        return NULL;
    }
    u->lane = lane;
    buf_init(&u->bytes, BATCH_BYTES);
    arena_init(&u->arena, NAMES_BYTES);
    map_init(&u->names);
    (void)member_name_inner(container, u->inner);
    u->home = home;
    return u;
}

const struct member *unpacking_members(const struct unpacking *u, size_t *n)
{
    *n = u->n;
    return u->members;
}

const char *unpacking_notes(const struct unpacking *u)
{
    return u->notes;
}

struct spool *unpacking_spool(const struct unpacking *u)
{
    return u->spool;
}

void unpacking_free(struct unpacking *u)
{
    if (u == NULL) {
        return;
    }
    u->x = NULL;
    if (u->in_lane) {
        u->freed = true; /* batch_done */
    } else {
        free_now(u);
    }
}
