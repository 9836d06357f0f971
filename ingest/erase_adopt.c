/* Erasures that the list beside the backups knows and the journal does not: a backup from before
 * was put back. They are begun again, whole. */
#include <stdlib.h>
#include <string.h>

#include "base/db.h"
#include "base/erased.h"
#include "base/log.h"
#include "ingest/erase_internal.h"

struct listed {
    struct journal *j;
    struct arena a;
    const uint8_t *key;
    char erasure[ID_CAP]; /* being gathered */
    char seen[ID_CAP];    /* of the last line */
    bool known;           /* the journal has it */
    struct erasure_item *items;
    uint8_t (*keyed)[KEYED_BYTES];
    size_t n, begun;
    struct subject_mark marks[SUBJECTS_MAX];
    size_t n_marks;
};

static enum status path_of(struct journal *j, const char *document, struct arena *a,
                           struct str *out, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    *out = STR("");
    enum status s = db_prepare(journal_db(j),
                               "SELECT path FROM files WHERE document=?1 AND path"
                               " IS NOT NULL",
                               &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 1, document, -1, SQLITE_STATIC);
        s = db_row(st, &row, err);
    }
    if (s == STATUS_OK && row) {
        struct str path = db_column(st, 0);
        out->ptr = arena_strndup(a, path.ptr, path.len);
        out->len = path.len;
        s = out->ptr == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
    }
    (void)sqlite3_finalize(st);
    return s;
}

static enum status begin_listed(struct listed *l, struct error *err)
{
    struct erasure e = {.by = "the list of erasures"};
    enum status s = STATUS_OK;
    if (l->n + l->n_marks > 0) {
        struct erasure_subject subject = {.marks = l->marks, .n_marks = l->n_marks};
        memcpy(e.id, l->erasure, sizeof e.id);
        s = erasure_begin(l->j, &e, l->items, l->n, NULL, 0, l->key, err);
        if (s == STATUS_OK) {
            s = erasure_subject_begin(l->j, e.id, &subject, err);
        }
        for (size_t i = 0; i < l->n && s == STATUS_OK; i++) {
            if (!l->items[i].content_stays) {
                s = erasure_ban(l->j, e.id, l->keyed[i], err);
            }
        }
        l->begun++;
    }
    l->n = l->n_marks = 0;
    return s;
}

static enum status take_listed(const struct erased *e, void *data, struct error *err)
{
    struct listed *l = data;
    enum status s = STATUS_OK;
    if (l->n + l->n_marks > 0 &&
        (strcmp(l->erasure, e->erasure) != 0 || l->n == ERASURE_DOCUMENTS_MAX)) {
        s = begin_listed(l, err);
        arena_reset(&l->a);
        l->items = NULL;
    }
    if (s == STATUS_OK && l->items == NULL) {
        l->items = arena_array(&l->a, ERASURE_DOCUMENTS_MAX, sizeof *l->items);
        l->keyed = arena_array(&l->a, ERASURE_DOCUMENTS_MAX, sizeof *l->keyed);
        if (l->items == NULL || l->keyed == NULL) {
            return error_set(err, STATUS_NO_MEMORY, "out of memory");
        }
    }
    if (s == STATUS_OK) {
        if (strcmp(l->seen, e->erasure) != 0) {
            memcpy(l->seen, e->erasure, sizeof l->seen);
            s = erasure_known(l->j, e->erasure, &l->known, err);
        }
        if (s != STATUS_OK || l->known) {
            return s;
        }
        memcpy(l->erasure, e->erasure, sizeof l->erasure);
        if (e->subject) {
            bool fits = l->n_marks < SUBJECTS_MAX;
            l->n_marks +=
                fits && subject_mark_unpack(e->mark, sizeof e->mark, &l->marks[l->n_marks]) ? 1 : 0;
            return STATUS_OK;
        }
        struct erasure_item *it = &l->items[l->n];
        *it = (struct erasure_item){.content_stays = !e->content};
        memcpy(it->document, e->document, sizeof it->document);
        memcpy(l->keyed[l->n], e->keyed, KEYED_BYTES);
        s = path_of(l->j, e->document, &l->a, &it->path, err);
        l->n++;
    }
    return s;
}

enum status erase_adopt(struct ingest *in, const char *tenant, struct journal *j,
                        const uint8_t *key, struct error *err)
{
    struct listed l = {.j = j, .key = key};
    arena_init(&l.a, ERASE_ARENA);
    enum status s = db_exec(journal_db(j), "BEGIN IMMEDIATE", err);
    if (s == STATUS_OK) {
        s = erased_read(in->svc->home, tenant, take_listed, &l, err);
    }
    if (s == STATUS_OK) {
        s = begin_listed(&l, err);
    }
    if (s == STATUS_OK) {
        s = db_exec(journal_db(j), "COMMIT", err);
    }
    if (s != STATUS_OK) {
        (void)sqlite3_exec(journal_db(j), "ROLLBACK", NULL, NULL, NULL);
    } else if (l.begun > 0) {
        LOG_WARN("erasures that the journal does not know are done again",
                 LOG_STR("tenant", tenant), LOG_INT("erasures", l.begun), LOG_END);
    }
    arena_reset(&l.a);
    return s;
}
