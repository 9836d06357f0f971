/* Locations as they come in and go out. */
#include <string.h>

#include "vectorstore/store_internal.h"

#define NAME_BYTES 256U
#define PATH_BYTES 16384U
#define NAMES_MAX 256U

static bool name_ok(const char *z)
{
    size_t n = strlen(z);
    return n > 0 && n <= NAME_BYTES;
}

/* Each name once, in the order they come in. */
static enum status gather(char *const *names, size_t n, const char *what, const char *kind,
                          struct buf *out, struct error *err)
{
    buf_init(out, (size_t)NAMES_MAX * (NAME_BYTES + 1));
    if (n > NAMES_MAX) {
        return error_set(err, STATUS_INVALID, "%s: %zu %s; at most %u are taken", what, n, kind,
                         NAMES_MAX);
    }
    for (size_t i = 0; i < n; i++) {
        bool again = false;
        if (!name_ok(names[i])) {
            return error_set(err, STATUS_INVALID, "%s: one of the %s is empty or too long", what,
                             kind);
        }
        for (size_t j = 0; j < i && !again; j++) {
            again = strcmp(names[i], names[j]) == 0;
        }
        if (!again) {
            buf_append(out, names[i], strlen(names[i]) + 1);
        }
    }
    return buf_status(out) == STATUS_OK
               ? STATUS_OK
               : error_set(err, buf_status(out), "%s: too many %s", what, kind);
}

enum status location_read(const Vs__Location *m, const char *what, struct location_names *names,
                          struct location *out, struct error *err)
{
    if (!name_ok(m->document) || !name_ok(m->source) || !name_ok(m->collection) ||
        m->path.len == 0 || m->path.len > PATH_BYTES ||
        (m->label != NULL && strlen(m->label) > NAME_BYTES)) {
        return error_set(err, STATUS_INVALID,
                         "%s: document, source, collection, label or path is empty or too long",
                         what);
    }
    enum status st = gather(m->readers, m->n_readers, what, "readers", &names->readers, err);
    if (st == STATUS_OK) {
        st = gather(m->tags, m->n_tags, what, "tags", &names->tags, err);
    }
    if (st != STATUS_OK) {
        return st;
    }
    bool dated = m->has_date_wall_ms;
    *out = (struct location){.document = m->document,
                             .path = {.ptr = (const char *)m->path.data, .len = m->path.len},
                             .source = m->source,
                             .collection = m->collection,
                             .label = m->label == NULL ? "" : m->label,
                             .readers = buf_view(&names->readers),
                             .tags = buf_view(&names->tags),
                             .dated = dated,
                             .date_ms = dated ? m->date_wall_ms : m->modified_wall_ms,
                             .sequence = m->sequence,
                             .modified_ms = m->modified_wall_ms,
                             .excluded = m->has_excluded && m->excluded};
    return STATUS_OK;
}

void location_names_deinit(struct location_names *names)
{
    buf_deinit(&names->readers);
    buf_deinit(&names->tags);
}

enum status location_list(struct str names, struct arena *a, size_t *n, char ***out,
                          struct error *err)
{
    size_t count = 0;
    for (size_t i = 0; i < names.len; i++) {
        count += names.ptr[i] == '\0' ? 1 : 0;
    }
    char **list = arena_array(a, count + 1, sizeof *list);
    if (list == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    const char *p = names.ptr;
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(p); /* each name ends in NUL inside the blob */
        list[i] = arena_strndup(a, p, len);
        if (list[i] == NULL) {
            return error_set(err, STATUS_NO_MEMORY, "out of memory");
        }
        p += len + 1;
    }
    *n = count;
    *out = list;
    return STATUS_OK;
}
