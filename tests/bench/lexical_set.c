#include "tests/bench/lexical_set.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

void set_die(const char *what)
{
    (void)fprintf(stderr, "bench-lexical: %s\n", what);
    exit(1);
}

void *set_need(void *p)
{
    if (p == NULL) {
        set_die("out of memory");
    }
    return p;
}

static bool is_cjk(struct str s)
{
    size_t dense = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char b = (unsigned char)s.ptr[i];
        dense += b >= 0xE3 && b <= 0xED;
    }
    return dense * 3 > s.len / 2;
}

static void add_unit(struct set *s, struct str text, struct str title, const char *language,
                     size_t doc)
{
    chunk_no n = memory_index_add(s->index, text, title, language);
    if (n >= s->cap_chunks) {
        s->cap_chunks = s->cap_chunks == 0 ? 4096 : s->cap_chunks * 2;
        s->document_of = set_need(realloc(s->document_of, s->cap_chunks * sizeof(uint32_t)));
    }
    s->document_of[n] = (uint32_t)doc;
}

static void add_document(struct set *s, struct str text, struct str title, size_t doc)
{
    static char *joined;
    joined = set_need(realloc(joined, text.len + title.len + 2));
    (void)snprintf(joined, text.len + title.len + 2, "%s %s", title.ptr, text.ptr);
    const char *language =
        text_detect_language(s->index->text, (struct str){joined, text.len + title.len + 1});
    size_t words = 0, unit, i = 0, start = 0, in_unit = 0;
    if (is_cjk(text)) {
        size_t points = text_code_points(text), units = points > 600 ? (points + 399) / 400 : 1;
        for (size_t u = 0; u < units; u++) {
            size_t from = text_byte_offset(text, points * u / units);
            size_t to = text_byte_offset(text, points * (u + 1) / units);
            add_unit(s, (struct str){text.ptr + from, to - from}, title, language, doc);
        }
        return;
    }
    for (i = 0; i < text.len; i++) {
        bool space = text.ptr[i] <= ' ' && text.ptr[i] >= 0;
        words += !space && (i == 0 || (text.ptr[i - 1] <= ' ' && text.ptr[i - 1] >= 0));
    }
    size_t units = words > 300 ? (words + 199) / 200 : 1;
    unit = (words + units - 1) / units;
    for (i = 0; i < text.len; i++) {
        bool space = text.ptr[i] <= ' ' && text.ptr[i] >= 0;
        bool begins = !space && (i == 0 || (text.ptr[i - 1] <= ' ' && text.ptr[i - 1] >= 0));
        if (begins && in_unit == unit && units > 1) {
            add_unit(s, (struct str){text.ptr + start, i - start}, title, language, doc);
            start = i;
            in_unit = 0;
        }
        in_unit += begins;
    }
    add_unit(s, (struct str){text.ptr + start, text.len - start}, title, language, doc);
}

typedef void (*line_fn)(struct set *s, json_t *line);

static void each_line(struct set *s, const char *dir, const char *name, line_fn fn)
{
    char path[1024];
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "r");
    char *line = NULL;
    size_t cap = 0;
    if (f == NULL) {
        set_die(path);
    }
    while (getline(&line, &cap, f) > 0) {
        json_t *j = json_loads(line, 0, NULL);
        if (j != NULL) {
            fn(s, j);
            json_decref(j);
        }
    }
    free(line);
    (void)fclose(f);
}

static struct str text_of(json_t *j, const char *key)
{
    const char *z = json_string_value(json_object_get(j, key));
    return str_from(z == NULL ? "" : z);
}

static void on_document(struct set *s, json_t *j)
{
    size_t doc = ++s->n_documents;
    s->first_chunk = set_need(realloc(s->first_chunk, (doc + 1) * sizeof(uint32_t)));
    s->first_chunk[doc] = s->index->n_chunks;
    if (map_put(&s->documents, text_of(j, "_id"), (void *)(uintptr_t)doc, NULL) != STATUS_OK) {
        set_die("out of memory");
    }
    add_document(s, text_of(j, "text"), text_of(j, "title"), doc);
}

/* Word `i` of the text as it stands; 0: it is not one of 4 letters a-z or more, bounded by others.
 */
static size_t word_at(const char *text, size_t i)
{
    size_t n = 0;
    while ((text[i + n] | 32) >= 'a' && (text[i + n] | 32) <= 'z') {
        n++;
    }
    bool bounded = (i == 0 || text[i - 1] == ' ') &&
                   (text[i + n] == '\0' || strchr(" ?.,!", text[i + n]) != NULL);
    return bounded && n >= 4 ? n : 0;
}

struct rarest {
    const struct set *s;
    uint64_t df;
    size_t start, len; /* 0: none */
};

static bool weigh_word(const struct text_token *t, void *data)
{
    struct rarest *r = data;
    struct lexical_source source;
    uint64_t df = 0;
    struct error err;
    memory_index_source(r->s->index, &source);
    if (t->kind == TEXT_WORD && !t->function_word && t->end - t->start >= 4 &&
        lexical_df(&source, t->stem, &df, &err) == STATUS_OK && df > 0 &&
        (r->len == 0 || df < r->df)) {
        r->df = df;
        r->start = t->start;
        r->len = t->end - t->start;
    }
    return true;
}

/* One edit, anywhere, in the rarest word that the documents have: the same for the same query.
 * Owned. */
static char *misspell(const struct set *s, char *text)
{
    struct rarest r = {.s = s};
    const char *language = text_detect_language(s->index->text, str_from(text));
    if (language[0] == '\0' && s->index->n_languages > 0) {
        language = s->index->languages[0];
    }
    text_analyze(s->index->text, str_from(text), language, weigh_word, &r);
    if (r.len == 0 || word_at(text, r.start) != r.len) {
        return text;
    }
    uint64_t x = hash64(text, strlen(text));
    size_t size = strlen(text), at = r.start + (size_t)(x >> 20) % r.len;
    char *out = set_need(malloc(size + 2));
    char letter = (char)('a' + (x >> 40) % 26);
    unsigned kind = (unsigned)(x >> 50) % 4;
    if (kind == 3 && (at + 1 == r.start + r.len || text[at] == text[at + 1])) {
        kind = 0;
    }
    switch (kind) {
    case 0: /* left out */
        memcpy(out, text, at);
        memcpy(out + at, text + at + 1, size - at);
        break;
    case 1: /* put in */
        memcpy(out, text, at);
        out[at] = letter;
        memcpy(out + at + 1, text + at, size - at + 1);
        break;
    case 2: /* another */
        memcpy(out, text, size + 1);
        out[at] = letter == (out[at] | 32) ? (char)(letter == 'z' ? 'a' : letter + 1) : letter;
        break;
    default: /* swapped */
        memcpy(out, text, size + 1);
        out[at] = text[at + 1];
        out[at + 1] = text[at];
        break;
    }
    free(text);
    return out;
}

static void on_query(struct set *s, json_t *j)
{
    struct question *q = set_need(calloc(1, sizeof(*q)));
    q->text = set_need(strdup(text_of(j, "text").ptr));
    if (map_put(&s->queries, text_of(j, "_id"), q, NULL) != STATUS_OK) {
        set_die("out of memory");
    }
    s->order = set_need(realloc(s->order, (s->n_order + 1) * sizeof(struct question *)));
    s->order[s->n_order++] = q;
}

static void read_qrels(struct set *s, const char *dir)
{
    char path[1024], line[4096];
    (void)snprintf(path, sizeof(path), "%s/qrels.tsv", dir);
    FILE *f = fopen(path, "r");
    if (f == NULL) {
        set_die(path);
    }
    while (fgets(line, sizeof(line), f) != NULL) {
        char *doc = strchr(line, '\t'), *grade = doc == NULL ? NULL : strchr(doc + 1, '\t');
        if (grade == NULL) {
            continue;
        }
        *doc++ = *grade++ = '\0';
        long g = strtol(grade, NULL, 10);
        struct question *q = map_get(&s->queries, str_from(line));
        if (q != NULL && g > 0 &&
            map_put(&q->relevant, str_from(doc), (void *)(uintptr_t)(g + 1), NULL) != STATUS_OK) {
            set_die("out of memory");
        }
    }
    (void)fclose(f);
}

void set_misspell(struct set *s)
{
    size_t pos = 0;
    struct str id;
    void *value;
    while (map_next(&s->queries, &pos, &id, &value)) {
        struct question *q = value;
        q->text = misspell(s, q->text);
    }
}

void set_free(struct set *s)
{
    size_t pos = 0;
    struct str id;
    void *value;
    while (map_next(&s->queries, &pos, &id, &value)) {
        struct question *q = value;
        map_deinit(&q->relevant);
        free(q->text);
        free(q->follow_up);
        free(q->concatenated);
        free(q);
    }
    map_deinit(&s->queries);
    map_deinit(&s->documents);
    free(s->document_of);
    free(s->order);
    free(s->first_chunk);
    memory_index_free(s->index);
    encode_scratch_free(s->scratch);
    lsa_close(s->model);
    free(s->vectors);
}

void set_load(struct set *s, const char *dir)
{
    *s = (struct set){.index = memory_index_new()};
    map_init(&s->documents);
    map_init(&s->queries);
    each_line(s, dir, "corpus.jsonl", on_document);
    each_line(s, dir, "queries.jsonl", on_query);
    read_qrels(s, dir);
    memory_index_finish(s->index);
}
