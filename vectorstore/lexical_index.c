/* What one chunk adds to the index: its words with their counts, and its 4-grams' buckets. */
#include <stdlib.h>

#include "base/map.h"
#include "vectorstore/lexical_internal.h"

struct table { /* open addressing; index + 1 into an array that grows beside it */
    uint32_t *slots;
    size_t cap; /* a power of two */
};

struct builder {
    struct arena *a; /* the terms' bytes */
    struct table terms;
    struct lexical_posting *postings;
    uint64_t *hashes;
    size_t n_postings, cap_postings;
    uint32_t *buckets; /* a set: 0 free, else bucket + 1 */
    size_t n_buckets, cap_buckets;
    uint64_t *seen; /* a set of tokens' ids + 1 */
    size_t n_seen, cap_seen;
    struct lexical_form *forms;
    size_t n_forms, cap_forms;
    uint32_t length, gram_length, plain_length;
    bool title;
    bool failed;
};

/* Chunks are a few hundred words; an extreme one stops here rather than eat the machine. */
#define MAX_DISTINCT ((size_t)1 << 20)

static bool grow_terms(struct builder *b)
{
    size_t cap = b->cap_postings == 0 ? 256 : b->cap_postings * 2;
    struct lexical_posting *postings = realloc(b->postings, cap * sizeof(*postings));
    if (postings == NULL) {
        return false;
    }
    b->postings = postings;
    uint64_t *hashes = realloc(b->hashes, cap * sizeof(*hashes));
    if (hashes == NULL) {
        return false;
    }
    b->hashes = hashes;
    uint32_t *slots = calloc(cap * 2, sizeof(*slots));
    if (slots == NULL) {
        return false;
    }
    free(b->terms.slots);
    b->terms = (struct table){slots, cap * 2};
    b->cap_postings = cap;
    for (size_t i = 0; i < b->n_postings; i++) {
        size_t s = (size_t)b->hashes[i] & (cap * 2 - 1);
        while (slots[s] != 0) {
            s = (s + 1) & (cap * 2 - 1);
        }
        slots[s] = (uint32_t)(i + 1);
    }
    return true;
}

/* Whether it counts. */
static bool add_term(struct builder *b, struct str term)
{
    if (b->n_postings == b->cap_postings && (b->n_postings >= MAX_DISTINCT || !grow_terms(b))) {
        b->failed = true;
        return false;
    }
    uint64_t hash = hash64(term.ptr, term.len);
    size_t s = (size_t)hash & (b->terms.cap - 1);
    struct lexical_posting *p = NULL;
    for (; b->terms.slots[s] != 0; s = (s + 1) & (b->terms.cap - 1)) {
        size_t i = b->terms.slots[s] - 1;
        if (b->hashes[i] == hash && str_eq(b->postings[i].term, term)) {
            p = &b->postings[i];
            break;
        }
    }
    if (p == NULL) {
        char *copy = arena_strndup(b->a, term.ptr, term.len);
        if (copy == NULL) {
            b->failed = true;
            return false;
        }
        b->hashes[b->n_postings] = hash;
        p = &b->postings[b->n_postings++];
        *p = (struct lexical_posting){.term = {copy, term.len}};
        b->terms.slots[s] = (uint32_t)b->n_postings;
    }
    /* A title word counts once: "Leave > Parental leave" repeats what "Leave" says */
    bool counts = !b->title || p->tf_title == 0;
    p->tf_text += !b->title;
    p->tf_title = b->title ? 1 : p->tf_title;
    return counts;
}

static bool grow_buckets(struct builder *b)
{
    size_t cap = b->cap_buckets == 0 ? 2048 : b->cap_buckets * 2;
    uint32_t *set = calloc(cap, sizeof(*set));
    if (set == NULL) {
        return false;
    }
    for (size_t i = 0; i < b->cap_buckets; i++) {
        if (b->buckets[i] != 0) {
            size_t s = (b->buckets[i] * 2654435761U) & (cap - 1);
            while (set[s] != 0) {
                s = (s + 1) & (cap - 1);
            }
            set[s] = b->buckets[i];
        }
    }
    free(b->buckets);
    b->buckets = set;
    b->cap_buckets = cap;
    return true;
}

static void on_gram(uint64_t gram, void *data)
{
    struct builder *b = data;
    b->gram_length += b->title ? LEXICAL_TITLE_WEIGHT : 1;
    if (b->failed || (b->n_buckets * 2 >= b->cap_buckets && !grow_buckets(b))) {
        b->failed = true;
        return;
    }
    uint32_t key = (uint32_t)(gram & (LEXICAL_GRAM_BUCKETS - 1)) + 1;
    size_t s = (key * 2654435761U) & (b->cap_buckets - 1);
    while (b->buckets[s] != 0) {
        if (b->buckets[s] == key) {
            return;
        }
        s = (s + 1) & (b->cap_buckets - 1);
    }
    b->buckets[s] = key;
    b->n_buckets++;
}

static bool grow_seen(struct builder *b)
{
    size_t cap = b->cap_seen == 0 ? 512 : b->cap_seen * 2;
    uint64_t *set = calloc(cap, sizeof(*set));
    if (set == NULL) {
        return false;
    }
    for (size_t i = 0; i < b->cap_seen; i++) {
        if (b->seen[i] != 0) {
            size_t s = (size_t)(b->seen[i] * 0x9E3779B97F4A7C15U >> 20) & (cap - 1);
            while (set[s] != 0) {
                s = (s + 1) & (cap - 1);
            }
            set[s] = b->seen[i];
        }
    }
    free(b->seen);
    b->seen = set;
    b->cap_seen = cap;
    return true;
}

static bool seen_before(struct builder *b, uint64_t id)
{
    if (b->n_seen * 2 >= b->cap_seen && !grow_seen(b)) {
        b->failed = true;
        return true;
    }
    uint64_t key = id + 1;
    size_t s = (size_t)(key * 0x9E3779B97F4A7C15U >> 20) & (b->cap_seen - 1);
    for (; b->seen[s] != 0; s = (s + 1) & (b->cap_seen - 1)) {
        if (b->seen[s] == key) {
            return true;
        }
    }
    b->seen[s] = key;
    b->n_seen++;
    return false;
}

/* A word of which texts have forms. */
static bool is_form(const struct text_token *t)
{
    size_t points = 0;
    if (t->kind != TEXT_WORD || t->function_word || t->norm.len > LEXICAL_FORM_BYTES) {
        return false;
    }
    for (size_t i = 0; i < t->norm.len; i++) {
        unsigned char c = (unsigned char)t->norm.ptr[i];
        if (c >= '0' && c <= '9') {
            return false;
        }
        points += (c & 0xC0U) != 0x80U;
    }
    return points >= LEXICAL_FORM_POINTS;
}

static void add_form(struct builder *b, const struct text_token *t)
{
    if (seen_before(b, t->id) || !is_form(t)) {
        return;
    }
    if (b->n_forms == b->cap_forms) {
        size_t cap = b->cap_forms == 0 ? 256 : b->cap_forms * 2;
        struct lexical_form *forms = realloc(b->forms, cap * sizeof(*forms));
        if (forms == NULL) {
            b->failed = true;
            return;
        }
        b->forms = forms;
        b->cap_forms = cap;
    }
    char *form = arena_strndup(b->a, t->norm.ptr, t->norm.len);
    char *stem = form;
    if (form != NULL && !str_eq(t->norm, t->stem)) {
        stem = arena_strndup(b->a, t->stem.ptr, t->stem.len);
    }
    b->failed = b->failed || stem == NULL;
    b->forms[b->n_forms++] =
        (struct lexical_form){.form = {form, t->norm.len}, .stem = {stem, t->stem.len}};
}

static bool on_token(const struct text_token *t, void *data)
{
    struct builder *b = data;
    if (t->kind == TEXT_WORD) {
        add_form(b, t);
    }
    if (text_is_whole(t->kind)) { /* beside its parts, which are what a text is long by */
        if (add_term(b, t->stem)) {
            text_grams(t, on_gram, b); /* one: itself */
        }
        return !b->failed;
    }
    if (add_term(b, t->stem)) {
        b->length += b->title ? LEXICAL_TITLE_WEIGHT : 1;
        b->plain_length += t->kind != TEXT_CJK_SINGLE || t->alone;
        text_grams(t, on_gram, b);
    }
    return !b->failed;
}

static int by_term(const void *a, const void *b)
{
    const struct lexical_posting *x = a, *y = b;
    size_t n = x->term.len < y->term.len ? x->term.len : y->term.len;
    int c = memcmp(x->term.ptr, y->term.ptr, n);
    return c != 0 ? c : (x->term.len > y->term.len) - (x->term.len < y->term.len);
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The same but for the white space. */
static bool same_line(struct str a, struct str b)
{
    size_t i = 0, k = 0;
    for (;;) {
        while (i < a.len && is_space(a.ptr[i])) {
            i++;
        }
        while (k < b.len && is_space(b.ptr[k])) {
            k++;
        }
        if (i == a.len || k == b.len) {
            return i == a.len && k == b.len;
        }
        if (a.ptr[i++] != b.ptr[k++]) {
            return false;
        }
    }
}

/* One of the title's lines, or of the headings in them ("A > B"). */
static bool in_title(struct str line, struct str title)
{
    size_t start = 0;
    for (size_t i = 0; i <= title.len; i++) {
        bool arrow = i + 3 <= title.len && memcmp(title.ptr + i, " > ", 3) == 0;
        if (arrow || i == title.len || title.ptr[i] == '\n') {
            if (i > start && same_line(line, (struct str){title.ptr + start, i - start})) {
                return true;
            }
            start = i + (arrow ? 3 : 1);
        }
    }
    return false;
}

struct str lexical_body(struct str text, struct str title)
{
    size_t at = 0;
    while (at < text.len && title.len > 0) {
        size_t end = at;
        while (end < text.len && text.ptr[end] != '\n') {
            end++;
        }
        struct str line = {text.ptr + at, end - at};
        if (!same_line(line, STR("")) && !in_title(line, title)) {
            break;
        }
        at = end < text.len ? end + 1 : end;
    }
    return (struct str){text.ptr + at, text.len - at};
}

enum status lexical_analyze(struct text_analyzer *t, struct str text, struct str title,
                            const char *language, struct arena *a, struct lexical_entry *out,
                            struct error *err)
{
    enum status s = STATUS_OK;
    struct builder b = {.a = a};
    struct lexical_entry e = {0};
    text_analyze(t, lexical_body(text, title), language, on_token, &b);
    b.title = true;
    if (!b.failed) {
        text_analyze(t, title, language, on_token, &b);
    }
    if (b.failed) {
        s = error_set(err, STATUS_NO_MEMORY, "indexing a chunk of %zu bytes: out of memory",
                      text.len);
        goto out;
    }
    e = (struct lexical_entry){.n_postings = b.n_postings,
                               .n_gram_buckets = b.n_buckets,
                               .n_forms = b.n_forms,
                               .length = b.length,
                               .gram_length = b.gram_length,
                               .plain_length = b.plain_length};
    if (b.n_postings > 0) {
        e.postings = arena_array(a, b.n_postings, sizeof(*e.postings));
        e.gram_buckets = arena_array(a, b.n_buckets, sizeof(*e.gram_buckets));
        e.forms = arena_array(a, b.n_forms + 1, sizeof(*e.forms));
        if (e.postings == NULL || e.gram_buckets == NULL || e.forms == NULL) {
            s = error_set(err, STATUS_NO_MEMORY, "indexing a chunk: out of memory");
            goto out;
        }
        if (b.n_forms > 0) {
            memcpy(e.forms, b.forms, b.n_forms * sizeof(*e.forms));
        }
        memcpy(e.postings, b.postings, b.n_postings * sizeof(*e.postings));
        qsort(e.postings, b.n_postings, sizeof(*e.postings), by_term);
        size_t n = 0;
        for (size_t i = 0; i < b.cap_buckets; i++) {
            if (b.buckets[i] != 0) {
                e.gram_buckets[n++] = b.buckets[i] - 1;
            }
        }
    }
    *out = e;
out:
    free(b.postings);
    free(b.hashes);
    free(b.terms.slots);
    free(b.buckets);
    free(b.seen);
    free(b.forms);
    return s;
}
