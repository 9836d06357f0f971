/* Splitting text before byte-level BPE, by the patterns that each family of models was trained
 * with. A file names its family; the patterns run one after another, each on the pieces that the
 * one before left. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>

#include "model/tokenizer_internal.h"

#define PATTERNS_MAX 6
#define MATCH_LIMIT 50000000U

#define CONTRACTIONS "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)"
#define CL100K(digits)                                                                             \
    CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits                                          \
                 "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define O200K(suffix)                                                                              \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"     \
    "+" suffix "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{"   \
    "Lo}\\p{M}]*" suffix

static const struct pretokenizer_rules rules[] = {
    {.names = "|llama-bpe|llama3|llama-v3|falcon3|falcon-h1|pixtral|midm-2.0|lfm2|jina-v5-nano|",
     .patterns = {CL100K("\\p{N}{1,3}")},
     .whole_words_first = true,
     .add_bos = true},
    {.names = "|dbrx|smaug-bpe|glm4|chatglm-bpe|", .patterns = {CL100K("\\p{N}{1,3}")}},
    {.names = "|qwen2|deepseek-r1-qwen|stablelm2|megrez|hunyuan|grok-2|",
     .patterns = {CL100K("\\p{N}")}},
    {.names = "|qwen35|",
     .patterns = {CONTRACTIONS
                  "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}"
                  "| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
    {.names = "|gpt-2|phi-2|mpt|olmo|jais|gigachat|modern-bert|mellum|exaone4|trillion|jina-es|"
              "jina-de|jina-v2-es|jina-v2-de|",
     .patterns = {GPT2}},
    {.names = "|roberta-bpe|jina-v1-en|jina-v2-code|", .patterns = {GPT2}, .add_separator = true},
    {.names = "|smollm|starcoder|refact|command-r|codeshell|exaone|minerva-7b|",
     .patterns = {"\\p{N}", GPT2}},
    {.names = "|falcon|", .patterns = {"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]"}},
    {.names = "|deepseek-llm|",
     .patterns =
         {"[\\r\\n]",
          "\\s?[A-Za-z\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-\\x{1BF}"
          "\\x{1C4}-\\x{293}\\x{295}-\\x{2AF}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}"
          "\\x{37F}\\x{386}\\x{388}-\\x{38A}\\x{38C}\\x{38E}-\\x{3A1}\\x{3A3}-\\x{3F5}\\x{3F7}-"
          "\\x{481}\\x{48A}-\\x{52F}\\x{531}-\\x{556}\\x{10A0}-\\x{10C5}\\x{13A0}-\\x{13F5}"
          "\\x{13F8}-\\x{13FD}\\x{1C90}-\\x{1CBA}\\x{1CBD}-\\x{1CBF}\\x{1D00}-\\x{1D2B}"
          "\\x{1D6B}-\\x{1D77}\\x{1D79}-\\x{1D9A}\\x{1E00}-\\x{1F15}\\x{1F18}-\\x{1F1D}"
          "\\x{1F20}-\\x{1F45}\\x{1F48}-\\x{1F4D}\\x{1F50}-\\x{1F57}\\x{1F59}\\x{1F5B}\\x{1F5D}"
          "\\x{1F5F}-\\x{1F7D}\\x{1F80}-\\x{1FB4}\\x{1FB6}-\\x{1FBC}\\x{1FBE}\\x{1FC2}-"
          "\\x{1FC4}\\x{1FC6}-\\x{1FCC}\\x{1FD0}-\\x{1FD3}\\x{1FD6}-\\x{1FDB}\\x{1FE0}-"
          "\\x{1FEC}\\x{1FF2}-\\x{1FF4}\\x{1FF6}-\\x{1FFC}\\x{2102}\\x{2107}\\x{210A}-\\x{2113}"
          "\\x{2115}\\x{2119}-\\x{211D}\\x{2124}\\x{2126}\\x{2128}\\x{212A}-\\x{212D}\\x{212F}-"
          "\\x{2134}\\x{2139}\\x{213C}-\\x{213F}\\x{2145}-\\x{2149}\\x{214E}\\x{2183}\\x{2184}"
          "\\x{2C00}-\\x{2C7B}\\x{2C7E}-\\x{2CE4}\\x{2CEB}-\\x{2CEE}\\x{2CF2}\\x{2CF3}\\x{A640}"
          "-\\x{A66D}\\x{A680}-\\x{A69B}\\x{A722}-\\x{A76F}\\x{A771}-\\x{A787}\\x{A78B}-"
          "\\x{A78E}\\x{AB70}-\\x{ABBF}\\x{FB00}-\\x{FB06}\\x{FB13}-\\x{FB17}\\x{FF21}-"
          "\\x{FF3A}\\x{FF41}-\\x{FF5A}\\x{10400}-\\x{1044F}\\x{104B0}-\\x{104D3}\\x{104D8}-"
          "\\x{104FB}\\x{10C80}-\\x{10CB2}\\x{10CC0}-\\x{10CF2}\\x{118A0}-\\x{118DF}\\x{1E900}-"
          "\\x{1E943}]+",
          "\\s?[!-/:-~！-／：-～‘-‟　-。]+", "\\s+$", "[一-龥ࠀ-一가-퟿]+", "\\p{N}+"}},
    {.names = "|deepseek-coder|",
     .patterns = {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", "[一-龥ࠀ-一가-퟿]+", "\\p{N}"}},
    {.names = "|deepseek-v3|hunyuan-dense|joyai-llm|",
     .patterns =
         {"\\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
          "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?"
          "[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
    {.names = "|tekken|",
     .patterns = {O200K(
         "") "|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
     .whole_words_first = true,
     .add_bos = true},
    {.names = "|gpt-4o|llama4|kanana2|minimax-m2|",
     .patterns = {O200K(CONTRACTIONS "?") "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*"
                                          "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
    {.names = "|gemma4|", .patterns = {"[^\\n]+|[\\n]+"}, .raw = true},
    {.names = "|default|",
     .patterns = {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
};

struct pretokenizer {
    pcre2_code *codes[PATTERNS_MAX];
    size_t n;
};

const struct pretokenizer_rules *pretokenizer_rules(struct str name)
{
    char wanted[64];
    int n =
        snprintf(wanted, sizeof wanted, "|%.*s|", (int)(name.len > 60 ? 60 : name.len), name.ptr);
    for (size_t i = 0; n > 2 && i < sizeof rules / sizeof rules[0]; i++) {
        if (strstr(rules[i].names, wanted) != NULL) {
            return &rules[i];
        }
    }
    return NULL;
}

enum status pretokenizer_new(const struct pretokenizer_rules *r, struct pretokenizer **out,
                             struct error *err)
{
    struct pretokenizer *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < PATTERNS_MAX && r->patterns[i] != NULL; i++) {
        int code = 0;
        PCRE2_SIZE at = 0;
        p->codes[i] = pcre2_compile(
            (PCRE2_SPTR)r->patterns[i], PCRE2_ZERO_TERMINATED,
            PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY | PCRE2_NO_UTF_CHECK, &code, &at, NULL);
        if (p->codes[i] == NULL) {
            pretokenizer_free(p);
            return error_set(err, STATUS_INTERNAL, "pre-tokenizer pattern %zu: error %d at %zu", i,
                             code, (size_t)at);
        }
        (void)pcre2_jit_compile(p->codes[i], PCRE2_JIT_COMPLETE); /* without it: slower, the same */
        p->n++;
    }
    *out = p;
    return STATUS_OK;
}

void pretokenizer_free(struct pretokenizer *p)
{
    if (p == NULL) {
        return;
    }
    for (size_t i = 0; i < PATTERNS_MAX; i++) {
        pcre2_code_free(p->codes[i]);
    }
    free(p);
}

struct splitting {
    const struct pretokenizer *p;
    pcre2_match_data *matches[PATTERNS_MAX];
    pcre2_match_context *context;
    bool (*visit)(struct str piece, void *data);
    void *data;
    bool stopped;
    int failed;
};

/* One level deep a pattern: at most PATTERNS_MAX. */
static void split(struct splitting *sp, size_t level, struct str text)
{
    if (level == sp->p->n) {
        sp->stopped = text.len > 0 && !sp->visit(text, sp->data);
        return;
    }
    size_t done = 0;
    for (size_t at = 0; at < text.len && !sp->stopped && sp->failed == 0;) {
        int rc = pcre2_match(sp->p->codes[level], (PCRE2_SPTR)text.ptr, text.len, at,
                             PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, sp->matches[level], sp->context);
        if (rc == PCRE2_ERROR_NOMATCH) {
            break;
        }
        if (rc < 0) {
            sp->failed = rc;
            return;
        }
        const PCRE2_SIZE *v = pcre2_get_ovector_pointer(sp->matches[level]);
        size_t from = v[0];
        size_t to = v[1];
        if (from > done) {
            split(sp, level + 1, (struct str){text.ptr + done, from - done});
        }
        if (!sp->stopped && sp->failed == 0) {
            split(sp, level + 1, (struct str){text.ptr + from, to - from});
        }
        done = at = to;
    }
    if (done < text.len && !sp->stopped && sp->failed == 0) {
        split(sp, level + 1, (struct str){text.ptr + done, text.len - done});
    }
}

enum status pretokenize(const struct pretokenizer *p, struct str text,
                        bool (*visit)(struct str piece, void *data), void *data, struct error *err)
{
    struct splitting sp = {.p = p, .visit = visit, .data = data};
    sp.context = pcre2_match_context_create(NULL);
    bool ready = sp.context != NULL;
    for (size_t i = 0; i < p->n && ready; i++) {
        sp.matches[i] = pcre2_match_data_create_from_pattern(p->codes[i], NULL);
        ready = sp.matches[i] != NULL;
    }
    if (ready) {
        (void)pcre2_set_match_limit(sp.context, MATCH_LIMIT);
        split(&sp, 0, text);
    }
    for (size_t i = 0; i < p->n; i++) {
        pcre2_match_data_free(sp.matches[i]);
    }
    pcre2_match_context_free(sp.context);
    if (!ready) {
        return error_set(err, STATUS_NO_MEMORY, "tokenizing: out of memory");
    }
    return sp.failed == 0
               ? STATUS_OK
               : error_set(err, STATUS_TOO_LARGE,
                           "tokenizing: the text is too intricate to split (%d)", sp.failed);
}
