#include "retrieve/questions.h"

#include "base/map.h"

#define WORDS_MAX 48
#define QUESTION_BYTES 400

struct words {
    struct str w[WORDS_MAX];
    size_t n;
    bool more; /* than fit */
};

struct making {
    const char *id;
    struct arena *a;
    struct question *out;
    size_t n;
    bool failed;
};

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* Letters, digits and every byte of other scripts; the rest stands around words. */
static bool in_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (unsigned char)c >= 0x80;
}

static void cut(struct str s, struct words *out)
{
    *out = (struct words){0};
    for (size_t i = 0; i < s.len;) {
        while (i < s.len && is_space(s.ptr[i])) {
            i++;
        }
        size_t from = i;
        while (i < s.len && !is_space(s.ptr[i])) {
            i++;
        }
        size_t to = i;
        while (from < to && !in_word(s.ptr[from])) {
            from++;
        }
        while (to > from && !in_word(s.ptr[to - 1])) {
            to--;
        }
        if (to == from) {
            continue;
        }
        if (out->n == WORDS_MAX) {
            out->more = true;
            return;
        }
        out->w[out->n++] = (struct str){s.ptr + from, to - from};
    }
}

static void add(struct making *m, enum question_kind kind, const char *before,
                const struct words *w, size_t skip, const char *after, size_t first, size_t last)
{
    char text[QUESTION_BYTES];
    size_t len = 0;
    struct str parts[WORDS_MAX + 2];
    size_t n = 0;
    if (m->n == QUESTIONS_PER_DOCUMENT || m->failed) {
        return;
    }
    parts[n++] = str_from(before);
    for (size_t i = 0; i < w->n; i++) {
        if (i != skip) {
            parts[n++] = w->w[i];
        }
    }
    parts[n++] = str_from(after);
    for (size_t i = 0; i < n; i++) {
        if (parts[i].len == 0) {
            continue;
        }
        if (len + parts[i].len + 1 > sizeof text) {
            return; /* no question that anybody would ask */
        }
        if (len > 0) {
            text[len++] = ' ';
        }
        memcpy(text + len, parts[i].ptr, parts[i].len);
        len += parts[i].len;
    }
    const char *copy = arena_strndup(m->a, text, len);
    m->failed = copy == NULL;
    uint64_t key = hash64(text, len) ^ (hash64(m->id, strlen(m->id)) * 31 + (uint64_t)kind);
    for (size_t i = 0; i < m->n; i++) {
        if (m->out[i].key == key) {
            return;
        }
    }
    if (!m->failed) {
        m->out[m->n++] = (struct question){.kind = kind,
                                           .text = copy,
                                           .first = (uint32_t)first,
                                           .last = (uint32_t)last,
                                           .key = key};
    }
}

#define KEEP_ALL SIZE_MAX

/* Which word to leave out, chosen by the words themselves: one with others on both sides, so that
 * the rest stands nowhere as it is; none of fewer than three. */
static size_t left_out(const struct words *w)
{
    uint64_t h = 0;
    for (size_t i = 0; i < w->n; i++) {
        h = h * 31 + hash64(w->w[i].ptr, w->w[i].len);
    }
    return w->n < 3 ? KEEP_ALL : 1 + (size_t)(h % (w->n - 2));
}

/* "Leave > Parental leave": the last. */
static struct str innermost(struct str heading)
{
    for (size_t i = heading.len; i >= 3; i--) {
        if (memcmp(heading.ptr + i - 3, " > ", 3) == 0) {
            return (struct str){heading.ptr + i, heading.len - i};
        }
    }
    return heading;
}

/* The end of the sentence that begins at `from`: past its mark, or the end of the text. */
static size_t sentence_end(struct str s, size_t from)
{
    for (size_t i = from; i < s.len; i++) {
        bool mark = s.ptr[i] == '.' || s.ptr[i] == '?' || s.ptr[i] == '!';
        if (mark && (i + 1 == s.len || is_space(s.ptr[i + 1]))) {
            return i + 1;
        }
        if (s.ptr[i] == '\n' && i + 1 < s.len && s.ptr[i + 1] == '\n') {
            return i;
        }
    }
    return s.len;
}

/* The words before the verb of a definition, which starts the sentence; 0: it defines nothing. */
static size_t term_words(const struct words *w)
{
    static const char *const verbs[] = {"means",      "bezeichnet", "bedeutet",
                                        "designates", "désigne",    "significa"};
    for (size_t i = 1; i < w->n && i <= 5; i++) {
        for (size_t v = 0; v < sizeof verbs / sizeof verbs[0]; v++) {
            if (str_eq(w->w[i], str_from(verbs[v])) && w->n > i + 2) {
                return i;
            }
        }
    }
    return 0;
}

/* The six longest, in their order. */
static void keep_longest(struct words *w)
{
    while (w->n > 6) {
        size_t shortest = 0;
        for (size_t i = 1; i < w->n; i++) {
            shortest = w->w[i].len < w->w[shortest].len ? i : shortest;
        }
        memmove(&w->w[shortest], &w->w[shortest + 1], (w->n - shortest - 1) * sizeof w->w[0]);
        w->n--;
    }
}

static void from_title(struct making *m, struct str title, size_t n)
{
    struct words w;
    cut(title, &w);
    if (w.n >= 2 && !w.more) {
        add(m, QUESTION_TITLE, "", &w, left_out(&w), "", 0, n - 1);
    }
}

static void from_headings(struct making *m, const struct question_passage *p, size_t n)
{
    size_t made = 0;
    for (size_t i = 0; i < n && made < 2;) {
        size_t last = i;
        struct words w;
        while (last + 1 < n && str_eq(p[last + 1].heading, p[i].heading)) {
            last++;
        }
        cut(innermost(p[i].heading), &w);
        if (w.n >= 2 && w.n <= 12 && last - i < n - 1) { /* not one that spans the document */
            add(m, QUESTION_HEADING, "", &w, left_out(&w), "", i, last);
            made++;
        }
        i = last + 1;
    }
}

static void from_sentences(struct making *m, const struct question_passage *p, size_t n)
{
    bool term = false, asked = false;
    for (size_t i = 0; i < n && !(term && asked); i++) {
        for (size_t at = 0; at < p[i].text.len && !(term && asked);) {
            size_t end = sentence_end(p[i].text, at);
            struct words w;
            cut((struct str){p[i].text.ptr + at, end - at}, &w);
            size_t of = w.more ? 0 : term_words(&w);
            bool question = end > at && p[i].text.ptr[end - 1] == '?';
            if (of > 0 && !term) {
                struct words head = w;
                head.n = of;
                add(m, QUESTION_TERM, "what is", &head, KEEP_ALL, "", i, i);
                term = true;
            } else if (question && !w.more && w.n >= 4 && w.n <= 25 && !asked) {
                add(m, QUESTION_ASKED, "", &w, left_out(&w), "", i, i);
                asked = true;
            }
            at = end > at ? end : at + 1;
            while (at < p[i].text.len && is_space(p[i].text.ptr[at])) {
                at++;
            }
        }
    }
}

/* Of a passage chosen by the document's id, so that not all are from the beginnings. */
static void from_first_sentence(struct making *m, const struct question_passage *p, size_t n)
{
    size_t i = (size_t)(hash64(m->id, strlen(m->id)) % n);
    struct words w;
    cut((struct str){p[i].text.ptr, sentence_end(p[i].text, 0)}, &w);
    if (w.n >= 8) {
        keep_longest(&w);
        add(m, QUESTION_SENTENCE, "", &w, KEEP_ALL, "", i, i);
    }
}

enum status questions_make(const char *id, struct str title, const struct question_passage *p,
                           size_t n, struct arena *a, struct question *out, size_t *n_out,
                           struct error *err)
{
    struct making m = {.id = id, .a = a, .out = out};
    *n_out = 0;
    if (n > 0) {
        from_title(&m, title, n);
        from_headings(&m, p, n);
        from_sentences(&m, p, n);
        from_first_sentence(&m, p, n);
    }
    *n_out = m.n;
    return m.failed ? error_set(err, STATUS_NO_MEMORY, "evaluation: out of memory") : STATUS_OK;
}
