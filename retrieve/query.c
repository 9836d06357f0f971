/* Two passes: the first tells whether this is a sentence (then quotes and dashes are text), the
 * second takes the pieces apart. Pieces are separated by white space; quotes count only where a
 * piece begins and ends. */
#include "retrieve/query.h"

#include "base/buf.h"

#define SENTENCE_WORDS 10
#define SENTENCE_FUNCTION_WORDS 2

struct piece {
    bool minus;
    struct str field; /* known; ptr NULL: none */
    struct str value; /* without quotes */
    struct str raw;   /* as typed */
    bool quoted;
};

struct reader {
    struct str in;
    size_t at;
};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* The bytes of a quotation mark at s[at], 0 when there is none. */
static size_t quote_at(struct str s, size_t at)
{
    static const struct str marks[] = {
        {"\"", 1},           {"\xE2\x80\x9C", 3},                  /* “ ” „ */
        {"\xE2\x80\x9D", 3}, {"\xE2\x80\x9E", 3}, {"\xC2\xAB", 2}, /* « » */
        {"\xC2\xBB", 2},
    };
    struct str rest = {s.ptr + at, s.len - at};
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
        if (str_starts(rest, marks[i])) {
            return marks[i].len;
        }
    }
    return 0;
}

/* The quoted text that begins at `at` (behind the mark); false when nothing closes it where a piece
 * may end. */
static bool quoted(struct str in, size_t at, struct str *out, size_t *end)
{
    for (size_t i = at; i < in.len; i++) {
        size_t mark = quote_at(in, i);
        size_t after = i + mark;
        if (mark > 0 && i > at &&
            (after == in.len || is_space(in.ptr[after]) ||
             strchr(",.;:)?!", in.ptr[after]) != NULL)) {
            *out = (struct str){in.ptr + at, i - at};
            *end = after;
            return true;
        }
    }
    return false;
}

static const char *const field_names[] = {"title",  "collection", "label", "tag",    "type",
                                          "format", "language",   "lang",  "file",   "filename",
                                          "path",   "folder",     "after", "before", "since",
                                          "until",  "author",     "pages", "hash",   NULL};

static bool known_field(struct str name)
{
    char folded[16];
    if (name.len == 0 || name.len >= sizeof folded) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        folded[i] = lower(name.ptr[i]);
    }
    for (size_t i = 0; field_names[i] != NULL; i++) {
        if (str_eq((struct str){folded, name.len}, str_from(field_names[i]))) {
            return true;
        }
    }
    return false;
}

/* The next piece; false at the end. */
static bool next_piece(struct reader *r, struct piece *out)
{
    struct str in = r->in;
    while (r->at < in.len && is_space(in.ptr[r->at])) {
        r->at++;
    }
    if (r->at == in.len) {
        return false;
    }
    size_t start = r->at, at = start, end = start;
    *out = (struct piece){.minus = in.ptr[at] == '-'};
    at += out->minus;
    while (end < in.len && !is_space(in.ptr[end])) {
        end++;
    }
    size_t name = at;
    while (name < end && ((in.ptr[name] >= 'a' && in.ptr[name] <= 'z') ||
                          (in.ptr[name] >= 'A' && in.ptr[name] <= 'Z'))) {
        name++;
    }
    struct str field = {in.ptr + at, name - at};
    if (!out->minus && name + 1 < end && in.ptr[name] == ':' && known_field(field)) {
        out->field = field;
        at = name + 1;
    }
    size_t mark = at < in.len ? quote_at(in, at) : 0;
    size_t closed;
    if (mark > 0 && quoted(in, at + mark, &out->value, &closed)) {
        out->quoted = true;
        end = closed;
    } else {
        out->value = (struct str){in.ptr + at, end - at};
    }
    out->raw = (struct str){in.ptr + start, end - start};
    r->at = end;
    return true;
}

/* ---- is it a sentence? ---- */

struct counted {
    size_t words, function_words;
};

static bool count_word(const struct text_token *t, void *data)
{
    struct counted *c = data;
    if (t->kind != TEXT_CJK_BIGRAM && !text_is_whole(t->kind)) {
        c->words++;
        c->function_words += t->function_word;
    }
    return c->words <= 1000;
}

static bool is_sentence(struct text_analyzer *t, struct str typed)
{
    struct reader r = {.in = typed};
    struct piece p;
    struct buf plain;
    struct counted c = {0};
    static const struct str ends[] = {{".", 1},
                                      {"?", 1},
                                      {"!", 1},
                                      {"\xE3\x80\x82", 3}, /* 。？ */
                                      {"\xEF\xBC\x9F", 3}};
    bool sentence = false;
    struct str last = {"", 0};
    buf_init(&plain, QUERY_BYTES_READ * 2);
    while (next_piece(&r, &p)) {
        if (p.field.ptr == NULL && !p.quoted && !(p.minus && p.value.len > 1)) {
            buf_str(&plain, p.raw);
            buf_char(&plain, ' ');
        }
        last = p.raw;
    }
    struct str text = buf_view(&plain);
    text_analyze(t, text, text_detect_language(t, text), count_word, &c);
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        sentence = sentence || str_ends(last, ends[i]);
    }
    sentence = sentence || c.function_words >= SENTENCE_FUNCTION_WORDS || c.words > SENTENCE_WORDS;
    buf_deinit(&plain);
    return sentence;
}

/* ---- values ---- */

static int64_t days_before(int64_t y, unsigned m, unsigned d)
{
    /* from 1970-01-01, proleptic Gregorian */
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (int64_t)(m + (m > 2 ? -3U : 9U)) + 2) / 5 + (int64_t)d - 1;
    int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

static bool number(struct str s, size_t *at, size_t digits_min, size_t digits_max, unsigned *out)
{
    size_t n = 0;
    *out = 0;
    while (*at < s.len && n < digits_max && s.ptr[*at] >= '0' && s.ptr[*at] <= '9') {
        *out = *out * 10 + (unsigned)(s.ptr[(*at)++] - '0');
        n++;
    }
    return n >= digits_min;
}

/* 2024, 2024-05, 2024-05-31 or 31.5.2024, as the beginning of that day in UTC. */
static bool date_of(struct str s, int64_t *ms)
{
    unsigned y = 0, m = 1, d = 1;
    size_t at = 0;
    bool good;
    if (memchr(s.ptr, '.', s.len) != NULL) {
        good = number(s, &at, 1, 2, &d) && at < s.len && s.ptr[at++] == '.' &&
               number(s, &at, 1, 2, &m) && at < s.len && s.ptr[at++] == '.' &&
               number(s, &at, 4, 4, &y);
    } else {
        good = number(s, &at, 4, 4, &y);
        if (good && at < s.len) {
            good = s.ptr[at++] == '-' && number(s, &at, 1, 2, &m);
        }
        if (good && at < s.len) {
            good = s.ptr[at++] == '-' && number(s, &at, 1, 2, &d);
        }
    }
    static const unsigned char days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (!good || at != s.len || y < 1000 || m < 1 || m > 12 || d < 1 || d > days[m - 1]) {
        return false;
    }
    *ms = days_before((int64_t)y, m, d) * 86400000;
    return true;
}

static bool all_alnum(struct str s, size_t max)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!is_alnum(s.ptr[i])) {
            return false;
        }
    }
    return s.len > 0 && s.len <= max;
}

static bool add(struct query_list *l, struct arena *a, struct str value, bool fold)
{
    if (l->n == QUERY_LIST_MAX) {
        return false;
    }
    char *copy = arena_strndup(a, value.ptr, value.len);
    if (copy == NULL) {
        return false;
    }
    for (size_t i = 0; fold && i < value.len; i++) {
        copy[i] = lower(copy[i]);
    }
    l->items[l->n++] = copy;
    return true;
}

static bool is_field(struct str field, const char *a, const char *b)
{
    char folded[16];
    for (size_t i = 0; i < field.len; i++) {
        folded[i] = lower(field.ptr[i]);
    }
    struct str f = {folded, field.len};
    return str_eq(f, str_from(a)) || (b != NULL && str_eq(f, str_from(b)));
}

static bool one_of(struct str value, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct str name = str_from(names[i]);
        size_t k = 0;
        while (k < value.len && k < name.len && lower(value.ptr[k]) == name.ptr[k]) {
            k++;
        }
        if (k == value.len && k == name.len) {
            return true;
        }
    }
    return false;
}

static bool add_format(struct query *q, struct arena *a, struct str value)
{
    static const struct {
        const char *said, *format;
    } names[] = {{"word", "docx"}, {"markdown", "md"}, {"text", "txt"},
                 {"htm", "html"},  {"excel", "xlsx"},  {"powerpoint", "pptx"}};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (one_of(value, &names[i].said, 1)) {
            return add(&q->formats, a, str_from(names[i].format), false);
        }
    }
    return all_alnum(value, 8) && add(&q->formats, a, value, true);
}

static bool add_path(struct query *q, struct arena *a, struct str value)
{
    while (value.len > 0 && value.ptr[0] == '/') {
        value = (struct str){value.ptr + 1, value.len - 1};
    }
    return value.len > 0 && add(&q->paths, a, value, false);
}

/* "10", "10-50", "50+"; of several all hold. */
static bool add_pages(struct query *q, struct str v)
{
    unsigned from = 0, to = 0;
    size_t at = 0;
    bool open = false;
    if (!number(v, &at, 1, 7, &from)) {
        return false;
    }
    to = from;
    if (at < v.len && v.ptr[at] == '+') {
        open = true;
        at++;
    } else if (at < v.len && (v.ptr[at++] != '-' || !number(v, &at, 1, 7, &to))) {
        return false;
    }
    if (at != v.len || to < from) {
        return false;
    }
    q->pages_from = q->has_pages_from && q->pages_from > from ? q->pages_from : from;
    q->has_pages_from = true;
    if (!open) {
        q->pages_to = q->has_pages_to && q->pages_to < to ? q->pages_to : to;
        q->has_pages_to = true;
    }
    return true;
}

static bool is_hash(struct str v)
{
    for (size_t i = 0; i < v.len; i++) {
        char c = lower(v.ptr[i]);
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return false;
        }
    }
    return v.len >= 8 && v.len <= 64 && v.len % 2 == 0;
}

/* false: the value does not suit the field, so that this is text. */
static bool take_field(struct query *q, struct arena *a, const struct piece *p)
{
    static const char *const labels[] = {"public", "internal", "confidential", "restricted"};
    int64_t ms;
    struct str v = p->value;
    if (v.len == 0 || v.len > 256 || str_starts(v, STR("//")) ||
        !text_utf8_valid(v)) { /* a URL is text, and shown text is UTF-8 */
        return false;
    }
    if (is_field(p->field, "title", NULL)) {
        return add(&q->in_title, a, v, false);
    }
    if (is_field(p->field, "collection", NULL)) {
        return add(&q->collections, a, v, false);
    }
    if (is_field(p->field, "label", NULL)) {
        return one_of(v, labels, 4) && add(&q->labels, a, v, true);
    }
    if (is_field(p->field, "tag", NULL)) {
        return add(&q->tags, a, v, false);
    }
    if (is_field(p->field, "type", "format")) {
        return add_format(q, a, v);
    }
    if (is_field(p->field, "language", "lang")) {
        return v.len == 2 && all_alnum(v, 2) && add(&q->languages, a, v, true);
    }
    if (is_field(p->field, "file", "filename")) {
        return add(&q->names, a, v, false);
    }
    if (is_field(p->field, "path", "folder")) {
        return add_path(q, a, v);
    }
    if (is_field(p->field, "author", NULL)) {
        return add(&q->authors, a, v, false);
    }
    if (is_field(p->field, "pages", NULL)) {
        return add_pages(q, v);
    }
    if (is_field(p->field, "hash", NULL)) {
        return is_hash(v) && add(&q->hashes, a, v, true);
    }
    if (!date_of(v, &ms)) {
        return false;
    }
    if (is_field(p->field, "after", "since")) {
        q->from_ms = q->has_from && q->from_ms > ms ? q->from_ms : ms;
        q->has_from = true;
    } else {
        q->until_ms = q->has_until && q->until_ms < ms ? q->until_ms : ms;
        q->has_until = true;
    }
    return true;
}

static bool starts_word(struct str s)
{
    return s.len > 1 &&
           ((unsigned char)s.ptr[0] >= 0x80 || (is_alnum(s.ptr[0]) && !(s.ptr[0] <= '9')));
}

static bool has_word(struct text_analyzer *t, struct str s)
{
    struct counted c = {0};
    text_analyze(t, s, "", count_word, &c);
    return c.words > 0;
}

static void say(struct query *q, struct arena *a, const struct piece *p)
{
    char *line = arena_printf(a, "%.*s: %.*s", STR_ARG(p->field), STR_ARG(p->value));
    if (line != NULL && q->shown.n < QUERY_LIST_MAX) {
        q->shown.items[q->shown.n++] = line;
    }
}

/* What the piece adds to the text; empty for what is only a condition. */
static struct str take(struct text_analyzer *t, struct query *q, struct arena *a,
                       const struct piece *p, bool sentence)
{
    if (p->field.ptr != NULL) {
        if (!take_field(q, a, p)) {
            return p->raw;
        }
        q->composed = true;
        if (is_field(p->field, "title", NULL)) {
            return p->value;
        }
        say(q, a, p);
        return STR("");
    }
    bool utf8 = text_utf8_valid(p->value);
    if (p->minus) {
        bool out = !sentence && utf8 &&
                   (p->quoted ? has_word(t, p->value) : starts_word(p->value)) &&
                   add(&q->excluded, a, p->value, false);
        q->composed = q->composed || out;
        return out ? STR("") : p->raw;
    }
    if (p->quoted && !sentence && utf8 && has_word(t, p->value) &&
        add(&q->phrases, a, p->value, false)) {
        q->composed = true;
        return p->value;
    }
    return p->raw;
}

static enum status as_text(struct str typed, struct arena *a, struct query *out, struct error *err)
{
    char *copy = arena_strndup(a, typed.ptr, typed.len);
    *out = (struct query){.text = {copy, typed.len}};
    return copy == NULL ? error_set(err, STATUS_NO_MEMORY, "reading the question: out of memory")
                        : STATUS_OK;
}

enum status query_read(struct text_analyzer *t, struct str typed, struct arena *a,
                       struct query *out, struct error *err)
{
    struct reader r = {.in = typed};
    struct piece p;
    struct buf text;
    *out = (struct query){.composed = false};
    if (typed.len > QUERY_BYTES_READ) {
        return as_text(typed, a, out, err);
    }
    bool sentence = is_sentence(t, typed);
    buf_init(&text, QUERY_BYTES_READ * 2);
    while (next_piece(&r, &p)) {
        struct str part = take(t, out, a, &p, sentence);
        if (part.len > 0) {
            if (text.len > 0) {
                buf_char(&text, ' ');
            }
            buf_str(&text, part);
        }
    }
    enum status s = buf_status(&text);
    if (s != STATUS_OK) {
        s = error_set(err, s, "reading the question: out of memory");
    } else if (!out->composed || !has_word(t, buf_view(&text))) {
        /* nothing to rank by: conditions alone are no question */
        s = as_text(typed, a, out, err);
    } else {
        char *copy = arena_strndup(a, text.ptr, text.len);
        out->text = (struct str){copy, text.len};
        s = copy == NULL ? error_set(err, STATUS_NO_MEMORY, "reading the question: out of memory")
                         : STATUS_OK;
    }
    buf_deinit(&text);
    return s;
}
