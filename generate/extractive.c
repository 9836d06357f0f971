/* Phases: the question's stems -> every sentence's stems -> weights -> greedy choice -> text. */
#include "generate/extractive.h"

#include <math.h>
#include <stdlib.h>

#include "base/map.h"
#include "generate/sentence.h"

#define TERMS_MAX 64 /* distinct stems of a question */
#define SENTENCES_MAX ((size_t)2048)
#define FINGERPRINTS_MAX ((size_t)160) /* distinct stems of a sentence that are compared */
#define FUNCTION_WEIGHT .15
#define TITLE_SHARE .4 /* what a question's word in the title counts for each sentence below it */
#define PROXIMITY_SHARE .15
#define LEAST_OF_BEST .45 /* sentences scoring below this share of the best one are left out */
#define TOO_ALIKE .6
#define LONG_QUESTION_WORDS 20

struct term {
    uint64_t stem;
    double count;
    double weight;
    size_t frequency; /* sentences it is in */
    bool function_word;
};

struct sentence {
    struct str text;
    size_t passage;
    size_t order;
    size_t words;
    uint64_t terms; /* bit i: the question's term i occurs */
    size_t n_stems;
    uint64_t *stems; /* sorted, distinct */
    double score;
    bool picked;
};

struct work {
    struct text_analyzer *analyzer;
    const struct extractive_question *question;
    const char *language;
    struct term terms[TERMS_MAX];
    size_t n_terms;
    size_t question_words;
    bool cjk;
    struct sentence *sentences;
    size_t n_sentences;
    uint64_t *stem_pool;
    size_t n_stem_pool, stem_pool_cap;
    double total;     /* sum of weights */
    uint64_t content; /* the terms one of which a sentence must have: all but function words, if
                         there are any */
};

const char *extractive_refusal(const char *language)
{
    static const char *const table[][2] = {
        {"en", "Nothing in these documents answers this."},
        {"de", "In diesen Dokumenten steht nichts, was diese Frage beantwortet."},
        {"fr", "Rien dans ces documents ne répond à cette question."},
        {"es", "Nada en estos documentos responde a esta pregunta."},
        {"it", "Nulla in questi documenti risponde a questa domanda."},
        {"pt", "Nada nestes documentos responde a esta pergunta."},
        {"nl", "Niets in deze documenten beantwoordt deze vraag."},
        {"sv", "Inget i dessa dokument besvarar detta."},
        {"da", "Intet i disse dokumenter besvarer dette."},
        {"no", "Ingenting i disse dokumentene besvarer dette."},
        {"fi", "Mikään näissä asiakirjoissa ei vastaa tähän."},
        {"ru", "В этих документах нет ответа на этот вопрос."},
        {"tr", "Bu belgelerde bu soruyu yanıtlayan bir şey yok."},
        {"ar", "لا شيء في هذه المستندات يجيب عن هذا السؤال."},
        {"hi", "इन दस्तावेज़ों में इसका कोई उत्तर नहीं है।"},
        {"zh", "这些文档中没有能回答该问题的内容。"},
        {"ja", "これらの文書には、この質問に答える内容がありません。"},
        {"ko", "이 문서에는 이 질문에 대한 답이 없습니다."},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strcmp(table[i][0], language) == 0) {
            return table[i][1];
        }
    }
    return table[0][1];
}

static bool on_question_token(const struct text_token *t, void *data)
{
    struct work *w = data;
    if (text_is_whole(t->kind)) {
        return true; /* a code's parts are words already */
    }
    w->question_words += t->kind != TEXT_CJK_BIGRAM;
    w->cjk = w->cjk || t->kind != TEXT_WORD;
    uint64_t stem = hash64(t->stem.ptr, t->stem.len);
    for (size_t i = 0; i < w->n_terms; i++) {
        if (w->terms[i].stem == stem) {
            w->terms[i].count++;
            return true;
        }
    }
    if (w->n_terms < TERMS_MAX) {
        w->terms[w->n_terms++] =
            (struct term){.stem = stem, .count = 1, .function_word = t->function_word};
    }
    return true;
}

struct reader {
    struct work *work;
    struct sentence *sentence; /* NULL: a title, of which only terms are wanted */
    uint64_t terms;
};

static bool on_sentence_token(const struct text_token *t, void *data)
{
    struct reader *r = data;
    struct work *w = r->work;
    if (text_is_whole(t->kind)) {
        return true;
    }
    uint64_t stem = hash64(t->stem.ptr, t->stem.len);
    for (size_t i = 0; i < w->n_terms; i++) {
        if (w->terms[i].stem == stem) {
            r->terms |= (uint64_t)1 << i;
        }
    }
    if (r->sentence == NULL) {
        return true;
    }
    r->sentence->words++;
    if (r->sentence->n_stems < FINGERPRINTS_MAX) {
        if (w->n_stem_pool == w->stem_pool_cap) {
            return false; /* the comparison of sentences works with what it has */
        }
        w->stem_pool[w->n_stem_pool++] = stem;
        r->sentence->n_stems++;
    }
    return true;
}

static int by_value(const void *pa, const void *pb)
{
    uint64_t a, b;
    memcpy(&a, pa, sizeof a);
    memcpy(&b, pb, sizeof b);
    return (a > b) - (a < b);
}

static void sort_stems(struct sentence *s)
{
    if (s->n_stems == 0) {
        return;
    }
    qsort(s->stems, s->n_stems, sizeof *s->stems, by_value);
    size_t n = 1;
    for (size_t i = 1; i < s->n_stems; i++) {
        if (s->stems[i] != s->stems[n - 1]) {
            s->stems[n++] = s->stems[i];
        }
    }
    s->n_stems = n;
}

/* title_terms[p] receives the question's terms that passage p's title has. */
static enum status read_sentences(struct work *w, uint64_t *title_terms, struct error *err)
{
    const struct extractive_question *q = w->question;
    w->sentences = calloc(SENTENCES_MAX, sizeof *w->sentences);
    w->stem_pool_cap = 0;
    for (size_t p = 0; p < q->n_passages; p++) {
        w->stem_pool_cap += 2 * q->passages[p].text.len + 16; /* a token a byte and its bigram */
    }
    if (w->stem_pool_cap > SENTENCES_MAX * FINGERPRINTS_MAX) {
        w->stem_pool_cap = SENTENCES_MAX * FINGERPRINTS_MAX;
    }
    w->stem_pool = calloc(w->stem_pool_cap + 1, sizeof *w->stem_pool);
    if (w->sentences == NULL || w->stem_pool == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory for the passages' sentences");
    }
    for (size_t p = 0; p < q->n_passages; p++) {
        struct reader title = {.work = w};
        text_analyze(w->analyzer, q->passages[p].title, w->language, on_sentence_token, &title);
        title_terms[p] = title.terms;
        size_t at = 0, order = 0;
        struct str text;
        while (w->n_sentences < SENTENCES_MAX && sentence_next(q->passages[p].text, &at, &text)) {
            struct sentence *s = &w->sentences[w->n_sentences];
            *s = (struct sentence){
                .text = text, .passage = p, .order = order, .stems = w->stem_pool + w->n_stem_pool};
            struct reader r = {.work = w, .sentence = s};
            text_analyze(w->analyzer, text, w->language, on_sentence_token, &r);
            s->terms = r.terms;
            sort_stems(s);
            if (s->words > 0) {
                order++;
                w->n_sentences++;
            }
        }
    }
    return STATUS_OK;
}

/* A word that is in few sentences says more; one in all of them still says something. */
static void weigh_terms(struct work *w)
{
    bool any_content = false;
    for (size_t i = 0; i < w->n_terms; i++) {
        any_content = any_content || !w->terms[i].function_word;
    }
    double n = (double)w->n_sentences;
    for (size_t i = 0; i < w->n_terms; i++) {
        struct term *t = &w->terms[i];
        for (size_t s = 0; s < w->n_sentences; s++) {
            t->frequency += w->sentences[s].terms >> i & 1;
        }
        double df = (double)t->frequency;
        t->weight = .3 + log(1 + (n - df + .5) / (df + .5));
        if (t->frequency == 0) {
            t->weight =
                1; /* nobody can have it: it lowers all alike and must not drown the others */
        }
        if (t->function_word && any_content) {
            t->weight *= FUNCTION_WEIGHT;
        } else {
            w->content |= (uint64_t)1 << i;
        }
        w->total += t->weight;
    }
}

/* The share of the question's neighbouring word pairs that the sentence has both words of. */
static double pair_share(const struct work *w, uint64_t terms)
{
    double have = 0, all = 0;
    for (size_t i = 0; i + 1 < w->n_terms; i++) {
        double weight = w->terms[i].weight + w->terms[i + 1].weight;
        all += weight;
        if ((terms >> i & 3) == 3) {
            have += weight;
        }
    }
    return all > 0 ? have / all : 0;
}

static double coverage(const struct work *w, uint64_t terms)
{
    double sum = 0;
    for (size_t i = 0; i < w->n_terms; i++) {
        sum += (terms >> i & 1) != 0 ? w->terms[i].weight : 0;
    }
    return w->total > 0 ? sum / w->total : 0;
}

static bool is_question(struct str s)
{
    return s.len > 0 &&
           (s.ptr[s.len - 1] == '?' || str_ends(s, STR("？")) || str_ends(s, STR("؟")));
}

static void score_sentences(struct work *w, const uint64_t *title_terms)
{
    for (size_t i = 0; i < w->n_sentences; i++) {
        struct sentence *s = &w->sentences[i];
        double own = (s->terms & w->content) != 0 ? coverage(w, s->terms) : 0;
        double context = coverage(w, title_terms[s->passage] & ~s->terms);
        double score =
            own + TITLE_SHARE * context * (own > 0) + PROXIMITY_SHARE * pair_share(w, s->terms);
        score += s->order == 0 && own > 0 ? .03 : 0;
        /* retrieval's order is the best evidence there is of what the question means */
        score /= 1 + .12 * (double)s->passage;
        score *= s->words < 4 ? .4 : s->words > 70 ? .8 : 1;
        score *= is_question(s->text)
                     ? .5
                     : 1; /* a heading or quiz repeats questions, it does not answer */
        s->score = own > 0 ? score : 0;
    }
}

/* Shared stems over those of the smaller sentence: 1 when one says all that the other does. */
static double likeness(const struct sentence *a, const struct sentence *b)
{
    size_t i = 0, j = 0, both = 0;
    while (i < a->n_stems && j < b->n_stems) {
        if (a->stems[i] == b->stems[j]) {
            both++;
            i++;
            j++;
        } else if (a->stems[i] < b->stems[j]) {
            i++;
        } else {
            j++;
        }
    }
    size_t small = a->n_stems < b->n_stems ? a->n_stems : b->n_stems;
    return small == 0 ? 0 : (double)both / (double)small;
}

static size_t pick_sentences(struct work *w)
{
    size_t picked = 0;
    double best = 0;
    uint64_t covered = 0;
    while (picked < w->question->max_sentences && picked < EXTRACTIVE_PICKED_MAX) {
        struct sentence *next = NULL;
        double highest = 0;
        for (size_t i = 0; i < w->n_sentences; i++) {
            struct sentence *s = &w->sentences[i];
            double value = s->score;
            for (size_t k = 0; !s->picked && value > 0 && k < w->n_sentences; k++) {
                if (w->sentences[k].picked) {
                    double alike = likeness(s, &w->sentences[k]);
                    value = alike > TOO_ALIKE ? 0 : value * (1 - .3 * alike);
                }
            }
            /* once a word of the question is answered, sentences that add others come first */
            value *= picked > 0 && (s->terms & ~covered) == 0 ? .9 : 1;
            if (!s->picked && value > highest) {
                highest = value;
                next = s;
            }
        }
        if (next == NULL || (picked > 0 && highest < LEAST_OF_BEST * best)) {
            break;
        }
        best = picked == 0 ? highest : best;
        next->picked = true;
        covered |= next->terms;
        picked++;
    }
    return picked;
}

/* Is the line of s that begins at `from` a table's row? */
static bool is_row(struct str s, size_t from)
{
    for (size_t i = from; i + 2 < s.len && s.ptr[i] != '\n'; i++) {
        if (s.ptr[i] == ' ' && s.ptr[i + 1] == '|' && s.ptr[i + 2] == ' ') {
            return true;
        }
    }
    return false;
}

static void quote(struct buf *out, struct str s)
{
    size_t len = s.len;
    if (len > EXTRACTIVE_QUOTE_BYTES) {
        len = EXTRACTIVE_QUOTE_BYTES;
        while (len > EXTRACTIVE_QUOTE_BYTES / 2 && s.ptr[len] != ' ' && s.ptr[len] != '\n') {
            len--;
        }
        while (len > 0 && ((unsigned char)s.ptr[len] & 0xc0) == 0x80) {
            len--;
        }
    }
    bool space = false, line_end = false;
    bool row = is_row(s, 0);
    for (size_t i = 0; i < len; i++) {
        char c = s.ptr[i];
        if (c == '\n') {
            bool next = is_row(s, i + 1);
            line_end = line_end || row || next;
            row = next;
        }
        if (c == ' ' || c == '\n' || c == '\r' || c == '\t') {
            space = true;
            continue;
        }
        if (space) {
            buf_char(out, line_end ? '\n' : ' ');
        }
        space = line_end = false;
        buf_char(out, c);
    }
    if (len < s.len) {
        buf_z(out, " …");
    }
}

static void write_answer(const struct work *w, struct extractive_answer *out)
{
    size_t last = SIZE_MAX;
    for (size_t i = 0; i < w->n_sentences;
         i++) { /* sentences lie in the order of passages and text */
        const struct sentence *s = &w->sentences[i];
        if (!s->picked) {
            continue;
        }
        if (last != SIZE_MAX) {
            buf_z(&out->text, s->passage == last ? " " : "\n\n");
        }
        last = s->passage;
        quote(&out->text, s->text);
        buf_char(&out->text, ' ');
        uint32_t start = (uint32_t)text_code_points(buf_view(&out->text));
        buf_printf(&out->text, "[%zu]", s->passage + 1);
        out->citations[out->n_citations++] =
            (struct citation){.number = (uint32_t)s->passage + 1,
                              .start = start,
                              .end = (uint32_t)text_code_points(buf_view(&out->text))};
    }
}

/* Does a sentence have nearly every content word of the question? The share cannot tell where
 * passages differ much in length: a sentence of ten words among notes of three has a small one. */
static bool said_word_for_word(const struct work *w)
{
    int all = __builtin_popcountll(w->content);
    for (size_t i = 0; i < w->n_sentences; i++) {
        int has = __builtin_popcountll(w->sentences[i].terms & w->content);
        if (has >= 2 && has * 4 >= all * 3) {
            return true;
        }
    }
    return false;
}

static bool share_says_no(const struct work *w)
{
    const struct extractive_question *q = w->question;
    return q->upper_bound_share >= 0 && !w->cjk && w->question_words <= LONG_QUESTION_WORDS &&
           (double)q->upper_bound_share < q->refuse_below && !said_word_for_word(w);
}

enum status extractive_answer(struct text_analyzer *a, const struct extractive_question *q,
                              struct extractive_answer *out, struct error *err)
{
    if (q->n_passages > EXTRACTIVE_PASSAGES_MAX) {
        return error_set(err, STATUS_TOO_LARGE, "%zu passages; at most %d", q->n_passages,
                         EXTRACTIVE_PASSAGES_MAX);
    }
    struct work *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    w->analyzer = a;
    w->question = q;
    w->language = q->language != NULL && q->language[0] != '\0' ? q->language
                                                                : text_detect_language(a, q->text);
    const char *said_in = w->language;
    if (w->language[0] == '\0' && q->n_passages > 0) {
        /* a few words do not tell their language; the passages they are looked for in do */
        w->language = text_detect_language(a, q->passages[0].text);
    }
    text_analyze(a, q->text, w->language, on_question_token, w);
    uint64_t title_terms[EXTRACTIVE_PASSAGES_MAX] = {0};
    enum status s = read_sentences(w, title_terms, err);
    if (s == STATUS_OK) {
        weigh_terms(w);
        score_sentences(w, title_terms);
        out->refused = share_says_no(w) || pick_sentences(w) == 0;
        if (out->refused) {
            buf_z(&out->text, extractive_refusal(said_in[0] != '\0' ? said_in : w->language));
        } else {
            write_answer(w, out);
        }
        s = buf_status(&out->text);
        if (s != STATUS_OK) {
            error_set(err, s, "the answer: %s", status_text(s));
        }
    }
    free(w->sentences);
    free(w->stem_pool);
    free(w);
    return s;
}
