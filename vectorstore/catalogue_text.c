#include "vectorstore/catalogue.h"

#include <string.h>

#include "vectorstore/catalogue_query.h"

/* ---- full text ---- */

enum status catalogue_run_add(struct catalogue *c, chunk_no first, chunk_no last, struct str image,
                              struct error *err)
{
    struct query q = query(c, Q_RUN_ADD, err);
    put_int(&q, first);
    put_int(&q, last);
    put_blob(&q, image);
    return run(&q);
}

enum status catalogue_runs(struct catalogue *c, chunk_no first, uint32_t limit, bool image,
                           run_visit visit, void *data, struct error *err)
{
    struct query q = query(c, image ? Q_RUNS_IMAGES : Q_RUNS, err);
    put_int(&q, first);
    put_int(&q, limit);
    while (next(&q)) {
        q.s =
            visit(col_u32(&q, 0), col_u32(&q, 1), image ? db_column(q.st, 2) : STR(""), data, err);
    }
    return done(&q);
}

enum status catalogue_run_delete(struct catalogue *c, chunk_no first, struct error *err)
{
    return run_int(c, Q_RUN_DELETE, first, err);
}

enum status catalogue_language_add(struct catalogue *c, const char *language, int64_t chunks,
                                   struct error *err)
{
    struct query q = query(c, Q_LANGUAGE_ADD, err);
    put_z(&q, language);
    put_int(&q, chunks);
    return run(&q);
}

enum status catalogue_languages(struct catalogue *c, struct arena *a, const char *const **out,
                                size_t *n, struct error *err)
{
    const char **list = arena_array(a, 16, sizeof *list);
    size_t k = 0;
    if (list == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    struct query q = query(c, Q_LANGUAGES, err);
    while (next(&q)) {
        struct str name = col_copy(&q, 0, a);
        if (name.len > 0 && k < 16) {
            list[k++] = name.ptr;
        }
    }
    *out = list;
    *n = k;
    return done(&q);
}
