#include "embed/encode.h"

#include <stdlib.h>

#include "base/map.h"
#include "embed/unit_length.h"

enum status encode_scratch_new(struct encode_scratch **out, struct error *err)
{
    struct encode_scratch *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    lsa_bag_init(&s->bag);
    enum status status = text_analyzer_new(&s->analyzer, err);
    if (status != STATUS_OK) {
        free(s);
        return status;
    }
    *out = s;
    return STATUS_OK;
}

void encode_scratch_free(struct encode_scratch *s)
{
    if (s != NULL) {
        text_analyzer_free(s->analyzer);
        lsa_bag_deinit(&s->bag);
        free(s);
    }
}

/* What on_token needs; the target decides where a stem goes. */
struct reading {
    struct lsa_bag *bag;
    const struct lsa_model *model;
    struct lsa_fit *fit;
    float *hashed;
    uint32_t number;
    size_t words;
    enum status status;
    struct error *err;
};

static void add_hashed(struct reading *r, struct str stem)
{
    uint64_t h = hash64(stem.ptr, stem.len);
    r->hashed[h % ENCODE_HASHED_DIMENSIONS] += (h >> 63) != 0 ? -1.0F : 1.0F;
}

static bool on_token(const struct text_token *t, void *data)
{
    struct reading *r = data;
    if (text_is_whole(t->kind)) {
        return true; /* a code's parts are words already */
    }
    r->words++;
    if (r->fit != NULL) {
        r->status = lsa_fit_word(r->fit, t->stem, r->err);
    } else if (r->model != NULL) {
        r->status = lsa_bag_add(r->bag, r->model, t->stem, r->number, r->err);
    } else {
        add_hashed(r, t->stem);
    }
    return r->status == STATUS_OK;
}

static void read_text(struct encode_scratch *s, const struct encode_text *t, const char *language,
                      struct reading *r)
{
    text_analyze(s->analyzer, t->title, language, on_token, r);
    if (r->status == STATUS_OK) {
        text_analyze(s->analyzer, t->text, language, on_token, r);
    }
}

enum status encode_one(struct encode_scratch *s, const struct lsa_model *m,
                       const struct encode_text *t, bool query, float *out, size_t *words,
                       struct error *err)
{
    struct reading r = {.bag = &s->bag, .model = m, .hashed = out, .err = err};
    if (m == NULL) {
        memset(out, 0, ENCODE_HASHED_DIMENSIONS * sizeof *out);
        read_text(s, t, text_detect_language(s->analyzer, t->text), &r);
        unit_length(out, ENCODE_HASHED_DIMENSIONS);
        *words += r.words;
        return r.status;
    }
    struct lsa_info info;
    lsa_describe(m, &info);
    lsa_bag_reset(&s->bag);
    if (query && info.n_languages > 0) {
        size_t first = 0;
        for (size_t i = 0; r.status == STATUS_OK && i < info.n_languages; i++) {
            r.number = (uint32_t)i;
            read_text(s, t, info.languages[i], &r);
            first = i == 0 ? r.words : first;
        }
        r.words = first;
    } else {
        read_text(s, t, text_detect_language(s->analyzer, t->text), &r);
    }
    if (r.status == STATUS_OK) {
        lsa_fold(m, &s->bag, out);
        *words += r.words;
    }
    return r.status;
}

enum status encode_into_fit(struct encode_scratch *s, struct lsa_fit *f,
                            const struct encode_text *t, struct error *err)
{
    struct reading r = {.fit = f, .err = err};
    const char *language = text_detect_language(s->analyzer, t->text);
    read_text(s, t, language, &r);
    return r.status != STATUS_OK ? r.status : lsa_fit_passage(f, language, err);
}
