#include "base/audit/verify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/map.h"

#define RANGES_MAX ((size_t)1 << 22)

struct range {
    int64_t from, to;
};

/* Where a signature may have been asked for: checkpoints, and what came in their place when it
 * could not be written (a kill in between, a full disk): chains begin again there. */
#define SIGNED_MAX 64
#define STARTS_MAX ((size_t)1 << 20)
struct signed_place {
    int64_t seq;
    uint8_t prev[SHA256_BYTES];
};

struct checking {
    struct signed_place places[SIGNED_MAX];
    size_t n_places;
    struct buf starts; /* struct signed_place: since the last checkpoint */
    uint8_t key[SIGN_PUBLIC_BYTES], last_key[SIGN_PUBLIC_BYTES];
    const struct audit_verify_options *o;
    struct audit_report *r;
    struct map open; /* call id -> its record's number + 1 */
    int64_t last_start;
    sqlite3 *db;
    struct buf text;
    const struct audit_anchor **anchors; /* by their numbers */
    unsigned segment;                    /* of the last record */
    int64_t late_seq;                    /* what was written while the rest was read */
    uint8_t late_head[SHA256_BYTES];
    bool look_late;
    struct buf erased;  /* struct range: what erase records list */
    size_t n_erased;    /* ranges, once they are sorted */
    struct buf missing; /* struct range: rows that are not there */
    uint8_t keys[AUDIT_KEYS_MAX][SIGN_PUBLIC_BYTES];
    size_t n_keys;
    struct error failed;
};

__attribute__((format(printf, 3, 4))) static void found(struct checking *c, int64_t seq,
                                                        const char *fmt, ...)
{
    struct audit_report *r = c->r;
    r->broken = true;
    if (r->n_findings == AUDIT_FINDINGS_MAX) {
        r->n_more++;
        return;
    }
    va_list ap;
    va_start(ap, fmt);
    r->findings[r->n_findings].seq = seq;
    (void)vsnprintf(r->findings[r->n_findings].text, sizeof r->findings[0].text, fmt, ap);
    va_end(ap);
    r->n_findings++;
}

static void copy(char *out, size_t cap, struct str s)
{
    (void)snprintf(out, cap, "%.*s", STR_ARG(s));
}

/* ---- keys and signatures ---- */

static void note_key(struct checking *c, const struct audit_record *r)
{
    uint8_t key[SIGN_PUBLIC_BYTES];
    if (!audit_hash(r, "key", key)) {
        found(c, r->seq, "names no key");
        return;
    }
    sha256_hex(key, c->r->key);
    if (c->r->pinned || c->n_keys == AUDIT_KEYS_MAX) {
        return;
    }
    memcpy(c->keys[c->n_keys++], key, sizeof key);
}

static struct signed_place place(const struct audit_record *r)
{
    struct signed_place p = {.seq = r->seq};
    memcpy(p.prev, r->prev, sizeof p.prev);
    return p;
}

static void note_checkpoint(struct checking *c, const struct audit_record *r)
{
    c->places[c->n_places++ % SIGNED_MAX] = place(r);
    buf_reset(&c->starts);
}

static void note_start(struct checking *c, const struct audit_record *r)
{
    struct signed_place p = place(r);
    c->last_start = r->seq;
    buf_append(&c->starts, &p, sizeof p);
    if (buf_status(&c->starts) != STATUS_OK) {
        (void)error_set(&c->failed, STATUS_TOO_LARGE, "too many beginnings without a signature");
    }
}

static bool among(const struct signed_place *list, size_t n, int64_t seq, const uint8_t *prev)
{
    for (size_t i = 0; i < n; i++) {
        if (list[i].seq == seq && memcmp(list[i].prev, prev, SHA256_BYTES) == 0) {
            return true;
        }
    }
    return false;
}

/* Each signature names the one before it, as the signer remembers it. */
static void check_before(struct checking *c, const struct audit_record *r, const uint8_t *was)
{
    int64_t was_seq = audit_number(r, "was_seq");
    if (was_seq >= r->seq) {
        found(c, r->seq,
              "the chain was set back: record %" PRId64 " had been signed before this one",
              was_seq);
        return;
    }
    const struct signed_place *starts = (const struct signed_place *)(const void *)c->starts.ptr;
    if (was_seq > 0 && (among(c->places, SIGNED_MAX, was_seq, was) ||
                        among(starts, c->starts.len / sizeof *starts, was_seq, was))) {
        return;
    }
    if (was_seq > 0) {
        found(c, r->seq,
              "what was signed as record %" PRId64 " is not here: the chain was rewritten",
              was_seq);
    } else if (c->r->signed_seq > 0 && memcmp(c->last_key, c->key, sizeof c->key) == 0) {
        found(c, r->seq, "the signer no longer knew what it had signed before");
    }
}

static void check_signature(struct checking *c, const struct audit_record *r)
{
    struct str hex = audit_text(r, "sig");
    char text[2 * SIGN_BYTES + 1];
    uint8_t sig[SIGN_BYTES], key[SIGN_PUBLIC_BYTES], was[SHA256_BYTES] = {0};
    struct buf b;
    bool known = false;
    c->r->checkpoints++;
    copy(text, sizeof text, hex);
    if (hex.len != 2 * (size_t)SIGN_BYTES || !hex_decode(text, sig, sizeof sig) ||
        !audit_hash(r, "key", key)) {
        found(c, r->seq, "the checkpoint has no signature");
        return;
    }
    for (size_t i = 0; i < c->n_keys; i++) {
        known = known || memcmp(c->keys[i], key, sizeof key) == 0;
    }
    if (!known) {
        found(c, r->seq, "the checkpoint is signed by another key");
        return;
    }
    buf_init(&b, 1024);
    (void)audit_hash(r, "was_head", was);
    audit_statement(&b, c->r->chain, r->seq, r->at_wall_ms, r->prev, audit_number(r, "was_seq"),
                    was);
    bool ok = buf_status(&b) == STATUS_OK && sign_check(key, b.ptr, b.len, sig);
    buf_deinit(&b);
    if (!ok) {
        found(c, r->seq, "the checkpoint's signature is not over this chain");
        return;
    }
    memcpy(c->key, key, sizeof c->key);
    check_before(c, r, was);
    memcpy(c->last_key, key, sizeof c->last_key);
    c->r->signed_seq = r->seq;
}

/* ---- calls ---- */

static void opened(struct checking *c, const struct audit_record *r)
{
    struct str call = audit_text(r, "call");
    struct error err;
    void *old = NULL;
    if (call.len == 0 ||
        map_put(&c->open, call, (void *)(uintptr_t)(r->seq + 1), &old) != STATUS_OK) {
        (void)error_set(&err, STATUS_NO_MEMORY, "out of memory");
        c->failed = call.len == 0 ? c->failed : err;
        return;
    }
    if (old != NULL) {
        found(c, r->seq, "opens a call that is open already");
    }
}

static void closed(struct checking *c, const struct audit_record *r)
{
    struct str call = audit_text(r, "call");
    c->r->closes++;
    if (map_remove(&c->open, call) == NULL) {
        found(c, r->seq, "closes a call that is not open");
    }
}

/* ---- texts ---- */

static void add_range(struct checking *c, struct buf *list, int64_t from, int64_t to)
{
    struct range *last =
        list->len == 0 ? NULL : (struct range *)(void *)(list->ptr + list->len - sizeof *last);
    if (last != NULL && last->to + 1 == from) {
        last->to = to;
        return;
    }
    struct range r = {from, to};
    buf_append(list, &r, sizeof r);
    if (buf_status(list) != STATUS_OK) {
        (void)error_set(&c->failed, STATUS_TOO_LARGE, "more was erased than can be kept in mind");
    }
}

static void note_erased(struct checking *c, const struct audit_record *r)
{
    struct str rest = audit_text(r, "rows");
    int64_t from, to;
    c->r->erases++;
    while (audit_range(&rest, &from, &to)) {
        add_range(c, &c->erased, from, to);
    }
    if (rest.len > 0) {
        found(c, r->seq, "its list of what was erased cannot be read");
    }
}

static void check_text(struct checking *c, const struct audit_record *r)
{
    uint8_t want[SHA256_BYTES], have[SHA256_BYTES];
    struct audit_payload p;
    if (c->db == NULL || !audit_hash(r, "payload", want) ||
        str_eq(audit_text(r, "kept"), STR("no"))) {
        return;
    }
    buf_reset(&c->text);
    if (audit_payload_get(c->db, r->seq, c->o->open, &p, &c->text, &c->failed) != STATUS_OK) {
        return;
    }
    switch (p.state) {
    case AUDIT_TEXT_ABSENT:
        add_range(c, &c->missing, r->seq, r->seq);
        return;
    case AUDIT_TEXT_SEALED:
        c->r->sealed++;
        return;
    case AUDIT_TEXT_BAD:
        found(c, r->seq, "its text does not open with this key");
        return;
    case AUDIT_TEXT_HERE:
        break;
    }
    audit_commitment(p.salt, buf_view(&c->text), have);
    if (memcmp(want, have, sizeof want) != 0) {
        found(c, r->seq, "its text in payload.db is not the one it was written with");
    } else {
        c->r->texts++;
    }
}

static int by_from(const void *a, const void *b)
{
    const struct range *x = a, *y = b;
    return (x->from > y->from) - (x->from < y->from);
}

static bool covered(const struct range *list, size_t n, int64_t seq)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (list[mid].to < seq) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low < n && list[low].from <= seq;
}

/* What is not there must have been erased. */
static void check_missing(struct checking *c)
{
    struct range *erased = (struct range *)(void *)c->erased.ptr;
    const struct range *missing = (const struct range *)(const void *)c->missing.ptr;
    size_t n = c->erased.len / sizeof *erased, m = c->missing.len / sizeof *missing, kept = 0;
    if (n > 0) {
        qsort(erased, n, sizeof *erased, by_from);
    }
    for (size_t i = 1; i < n; i++) { /* one after the other, none in another */
        if (erased[i].from <= erased[kept].to + 1) {
            erased[kept].to = erased[i].to > erased[kept].to ? erased[i].to : erased[kept].to;
        } else {
            erased[++kept] = erased[i];
        }
    }
    n = n > 0 ? kept + 1 : 0;
    c->n_erased = n;
    for (size_t i = 0; i < m; i++) {
        for (int64_t k = missing[i].from; k <= missing[i].to; k++) {
            if (covered(erased, n, k)) {
                c->r->erased++;
            } else {
                found(c, k, "its text is not in payload.db, and no record says that it was erased");
            }
        }
    }
}

/* ---- the chain ---- */

static int by_seq(const void *a, const void *b)
{
    const struct audit_anchor *const *x = a, *const *y = b;
    return ((*x)->seq > (*y)->seq) - ((*x)->seq < (*y)->seq);
}

static enum status sort_anchors(struct checking *c, struct error *err)
{
    size_t n = c->o->n_anchors;
    if (n == 0) {
        return STATUS_OK;
    }
    c->anchors = calloc(n, sizeof(const struct audit_anchor *));
    if (c->anchors == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        c->anchors[i] = &c->o->anchors[i];
    }
    qsort((void *)c->anchors, n, sizeof(const struct audit_anchor *), by_seq);
    return STATUS_OK;
}

/* One file has the heads of all tenants' chains. */
static bool of_tenant(const struct checking *c, const struct audit_anchor *a)
{
    return a->tenant[0] == '\0' || strcmp(a->tenant, c->r->tenant) == 0;
}

static bool of_chain(const struct checking *c, const struct audit_anchor *a)
{
    return of_tenant(c, a) && (a->chain[0] == '\0' || strcmp(a->chain, c->r->chain) == 0);
}

static void check_anchors(struct checking *c, int64_t seq, const uint8_t hash[SHA256_BYTES])
{
    size_t low = 0, high = c->o->n_anchors;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (c->anchors[mid]->seq < seq) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    for (size_t i = low; i < c->o->n_anchors && c->anchors[i]->seq == seq; i++) {
        if (!of_chain(c, c->anchors[i])) {
            continue;
        }
        if (memcmp(c->anchors[i]->hash, hash, SHA256_BYTES) != 0) {
            found(c, seq, "is not the record that the anchor names: the chain was rewritten");
        } else {
            c->r->anchored_seq = seq;
        }
    }
}

static void by_type(struct checking *c, const struct audit_record *r)
{
    if (str_eq(r->type, STR("open"))) {
        c->r->opens++;
        opened(c, r);
    } else if (str_eq(r->type, STR("act"))) {
        c->r->acts++;
        opened(c, r);
    } else if (str_eq(r->type, STR("refused"))) {
        c->r->refused += audit_number(r, "times");
    } else if (str_eq(r->type, STR("close"))) {
        closed(c, r);
    } else if (str_eq(r->type, STR("start"))) {
        note_start(c, r);
    } else if (str_eq(r->type, STR("erase"))) {
        note_erased(c, r);
    } else if (str_eq(r->type, STR("checkpoint"))) {
        check_signature(c, r);
        note_checkpoint(c, r);
    } else if (str_eq(r->type, STR("key"))) {
        note_key(c, r);
    } else if (str_eq(r->type, STR("begin")) && r->seq == 1) {
        copy(c->r->chain, sizeof c->r->chain, audit_text(r, "chain"));
        copy(c->r->tenant, sizeof c->r->tenant, audit_text(r, "tenant"));
        note_key(c, r);
    } else {
        found(c, r->seq, "is of no known kind");
    }
}

static bool visit(unsigned segment, struct str line, const struct audit_record *r,
                  const struct error *why, void *data)
{
    struct checking *c = data;
    (void)line;
    if (r == NULL) {
        found(c, c->r->head_seq + 1, "after record %" PRId64 ", in file %08u: %s", c->r->head_seq,
              segment, why->text);
        return true;
    }
    if (r->seq != c->r->head_seq + 1) {
        found(c, r->seq, "comes after record %" PRId64 ": records are missing or out of order",
              c->r->head_seq);
    } else if (memcmp(r->prev, c->r->head, SHA256_BYTES) != 0) {
        found(c, r->seq, "does not follow the record before it: one of them was altered");
    }
    c->segment = segment;
    c->r->records++;
    c->r->head_seq = r->seq;
    c->r->head_at_wall_ms = r->at_wall_ms;
    memcpy(c->r->head, r->hash, SHA256_BYTES);
    by_type(c, r);
    check_anchors(c, r->seq, r->hash);
    check_text(c, r);
    return c->failed.code == STATUS_OK;
}

/* A row that is there again: of an older payload.db that was put back, or of an erasure that a
 * crash cut short between its record and its rows. */
static void check_back(struct checking *c)
{
    const struct range *erased = (const struct range *)(const void *)c->erased.ptr;
    sqlite3_stmt *st = NULL;
    bool row = false;
    if (c->db == NULL || c->erased.len == 0 ||
        db_prepare(c->db, "SELECT count(*) FROM payload WHERE seq BETWEEN ?1 AND ?2", &st,
                   &c->failed) != STATUS_OK) {
        return;
    }
    for (size_t i = 0; i < c->n_erased && c->failed.code == STATUS_OK; i++) {
        (void)sqlite3_bind_int64(st, 1, erased[i].from);
        (void)sqlite3_bind_int64(st, 2, erased[i].to);
        if (db_row(st, &row, &c->failed) == STATUS_OK && row) {
            c->r->back += sqlite3_column_int64(st, 0);
        }
        db_reset(st);
    }
    (void)sqlite3_finalize(st);
}

static bool visit_late(unsigned segment, struct str line, const struct audit_record *r,
                       const struct error *why, void *data)
{
    struct checking *c = data;
    (void)segment;
    (void)line;
    (void)why;
    if (r == NULL || r->seq <= c->late_seq) {
        return r != NULL;
    }
    if (r->seq != c->late_seq + 1 || memcmp(r->prev, c->late_head, SHA256_BYTES) != 0) {
        return false;
    }
    c->late_seq = r->seq;
    memcpy(c->late_head, r->hash, SHA256_BYTES);
    if (str_eq(r->type, STR("erase"))) {
        note_erased(c, r);
        c->r->erases--; /* it is not of the records that were looked at */
    }
    return true;
}

/* Rows that came or went while the chain was being read: their records came before, after what was
 * read. */
static void look_again(struct checking *c)
{
    struct audit_segments seg;
    struct error err;
    struct buf b;
    size_t torn;
    c->late_seq = c->r->head_seq;
    memcpy(c->late_head, c->r->head, SHA256_BYTES);
    if (!c->look_late || audit_segments(c->o->folder, &seg, &err) != STATUS_OK) {
        return;
    }
    bool more = true;
    for (unsigned k = c->segment; k <= seg.last && more; k++) {
        buf_init(&b, AUDIT_SEGMENT_BYTES_MAX);
        more = audit_segment_read(c->o->folder, k, &b, &err) == STATUS_OK &&
               audit_walk_bytes(k, buf_view(&b), visit_late, c, &torn);
        buf_deinit(&b);
    }
}

/* Texts are committed with their lines, which wait beside them until the file has them. So a text
 * of neither says that the chain was longer: payload.db is an anchor of its own. (Files copied from
 * a running appliance one after the other can look so, too.) */
static void check_beyond(struct checking *c)
{
    struct audit_beyond b = {0};
    if (c->db == NULL || c->failed.code != STATUS_OK ||
        audit_payload_beyond(c->db, c->r->head_seq, &b, &c->failed) != STATUS_OK) {
        return;
    }
    c->look_late = c->missing.len > 0 || b.texts > 0;
    look_again(c);
    int64_t to = b.waiting_from > 0 ? b.waiting_from - 1 : b.last;
    int64_t n = 0;
    if (b.texts == 0 || b.may_be ||
        audit_payload_between(c->db, c->late_seq, to, &n, &c->failed) != STATUS_OK || n == 0) {
        return;
    }
    c->r->texts_beyond = b.last;
    if (c->r->records == 0) {
        found(c, b.last, "has a text in payload.db, and of the chain there is nothing");
    }
}

static void end_of_chain(struct checking *c)
{
    size_t pos = 0;
    struct str key;
    void *value;
    while (map_next(&c->open, &pos, &key, &value)) {
        int64_t seq = (int64_t)(uintptr_t)value - 1;
        *(seq < c->last_start ? &c->r->interrupted : &c->r->unfinished) += 1;
    }
    int64_t other = 0;
    for (size_t i = 0; i < c->o->n_anchors; i++) {
        const struct audit_anchor *a = c->anchors[i];
        if (of_chain(c, a)) {
            c->r->older = a->seq > c->r->head_seq ? a->seq : c->r->older;
        } else if (of_tenant(c, a)) {
            other = a->seq;
        }
    }
    if (other > 0) {
        found(c, other, "is what an anchor names of another chain of this tenant: it is not here");
    }
    check_beyond(c);
    check_missing(c);
    check_back(c);
}

const char *audit_verdict(const struct audit_report *r)
{
    return r->broken ? "broken" : r->older > 0 || r->texts_beyond > 0 ? "older" : "whole";
}

enum status audit_verify(const struct audit_verify_options *o, struct audit_report *out,
                         struct error *err)
{
    struct checking c = {.o = o, .r = out};
    *out = (struct audit_report){.pinned = o->n_keys > 0};
    map_init(&c.open);
    buf_init(&c.text, AUDIT_TEXT_MAX + 4096);
    buf_init(&c.starts, STARTS_MAX * sizeof(struct signed_place));
    buf_init(&c.erased, RANGES_MAX * sizeof(struct range));
    buf_init(&c.missing, RANGES_MAX * sizeof(struct range));
    for (size_t i = 0; i < o->n_keys && i < AUDIT_KEYS_MAX; i++) {
        memcpy(c.keys[c.n_keys++], o->keys + i * SIGN_PUBLIC_BYTES, SIGN_PUBLIC_BYTES);
    }
    enum status s = sort_anchors(&c, err);
    if (s == STATUS_OK && o->payload != NULL && access(o->payload, F_OK) == 0) {
        s = audit_payload_open(o->payload, DB_READONLY, &c.db, err);
    }
    if (s == STATUS_OK) {
        s = audit_walk(o->folder, visit, &c, &out->torn, err);
    }
    if (s == STATUS_OK && c.failed.code != STATUS_OK) {
        s = error_set(err, c.failed.code, "%s", c.failed.text);
    }
    if (s == STATUS_OK) {
        end_of_chain(&c);
        s = c.failed.code == STATUS_OK ? s : error_set(err, c.failed.code, "%s", c.failed.text);
    }
    if (s == STATUS_OK && out->records == 0 && !out->broken) {
        s = error_set(err, STATUS_NOT_FOUND, "%s: there is no chain", o->folder);
    }
    db_close(c.db);
    free((void *)c.anchors);
    map_deinit(&c.open);
    buf_deinit(&c.text);
    buf_deinit(&c.starts);
    buf_deinit(&c.erased);
    buf_deinit(&c.missing);
    return s;
}

/* ---- anchors ---- */

static bool after(struct str text, const char *what, struct str *rest)
{
    size_t n = strlen(what);
    const char *p = text.len == 0 ? NULL : memmem(text.ptr, text.len, what, n);
    if (p == NULL) {
        return false;
    }
    *rest = (struct str){p + n, text.len - (size_t)(p - text.ptr) - n};
    return true;
}

static void named(struct str text, const char *key, char *out, size_t cap)
{
    struct str rest;
    out[0] = '\0';
    if (after(text, key, &rest)) {
        const char *end = memchr(rest.ptr, '"', rest.len);
        size_t n = end == NULL ? rest.len : (size_t)(end - rest.ptr);
        copy(out, cap, (struct str){rest.ptr, n});
    }
}

bool audit_anchor_read(struct str text, struct audit_anchor *out)
{
    struct str number = str_trim(text), hash = number;
    char hex[SHA256_HEX_CAP];
    char end = ',';
    if (!after(text, "\"seq\":", &number) || !after(text, "\"head\":\"", &hash)) {
        number = str_trim(text);
        if (!after(number, ":", &hash) || hash.len != 64) {
            return false;
        }
        end = ':';
    }
    int64_t n = 0;
    size_t i = 0;
    for (; i < number.len && i < 18 && number.ptr[i] >= '0' && number.ptr[i] <= '9'; i++) {
        n = n * 10 + (number.ptr[i] - '0');
    }
    if (n == 0 || hash.len < 64 || i == number.len || number.ptr[i] != end) {
        return false;
    }
    memcpy(hex, hash.ptr, 64);
    hex[64] = '\0';
    out->seq = n;
    named(text, "\"tenant\":\"", out->tenant, sizeof out->tenant);
    named(text, "\"chain\":\"", out->chain, sizeof out->chain);
    return sha256_parse(hex, out->hash);
}
