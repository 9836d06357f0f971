/* A store of each test's own. */
#ifndef CARREL_TESTS_ONE_STORE_H
#define CARREL_TESTS_ONE_STORE_H

#include "tests/unit/vectorstore/fixture.h"

struct fixture {
    char dir[64];
    struct store *s;
};

static inline int setup(void **state)
{
    struct error err;
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    temp_dir(f->dir);
    OK(store_open(f->dir, &f->s, &err));
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;
    store_close(f->s);
    drop_dir(f->dir);
    free(f);
    return 0;
}

static inline void reopen(struct fixture *f)
{
    struct error err;
    store_close(f->s);
    OK(store_open(f->dir, &f->s, &err));
}

static inline struct draft draft(const char *document, uint64_t sequence, const char *const *texts,
                                 size_t n)
{
    return (struct draft){.document = document, .sequence = sequence, .texts = texts, .n = n};
}

#endif
