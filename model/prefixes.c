#include "model/prefixes.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define TITLE_MAX 160

/* The first row whose words all stand in the title; the special ones of a family come before it. */
static const struct {
    const char *architecture; /* NULL: any */
    const char *word, *and;   /* and: NULL or a second one */
    struct prefixes prefixes;
} families[] = {
    {"nomic-bert", "", NULL, {"nomic", "search_query: ", "search_document: "}},
    {"nomic-bert-moe", "", NULL, {"nomic", "search_query: ", "search_document: "}},
    {NULL, "nomic", "embed", {"nomic", "search_query: ", "search_document: "}},
    {NULL,
     "e5",
     "instruct",
     {"e5-instruct",
      "Instruct: Given a web search query, retrieve relevant passages that answer the query\n"
      "Query: ",
      ""}},
    {NULL, "e5", NULL, {"e5", "query: ", "passage: "}},
    {NULL, "bge-m3", NULL, {"bge-m3", "", ""}},
    {NULL,
     "bge",
     "zh",
     {"bge-zh",
      "\xE4\xB8\xBA\xE8\xBF\x99\xE4\xB8\xAA\xE5\x8F\xA5\xE5\xAD\x90\xE7\x94\x9F\xE6\x88\x90"
      "\xE8\xA1\xA8\xE7\xA4\xBA\xE4\xBB\xA5\xE7\x94\xA8\xE4\xBA\x8E\xE6\xA3\x80\xE7\xB4\xA2"
      "\xE7\x9B\xB8\xE5\x85\xB3\xE6\x96\x87\xE7\xAB\xA0\xEF\xBC\x9A",
      ""}},
    {NULL, "bge", NULL, {"bge", "Represent this sentence for searching relevant passages: ", ""}},
    {NULL,
     "mxbai",
     "embed",
     {"mxbai", "Represent this sentence for searching relevant passages: ", ""}},
    {NULL, "arctic-embed", "v2", {"arctic-v2", "query: ", ""}},
    {NULL,
     "arctic-embed",
     NULL,
     {"arctic", "Represent this sentence for searching relevant passages: ", ""}},
    {NULL,
     "qwen3",
     "embedding",
     {"qwen3-embedding",
      "Instruct: Given a web search query, retrieve relevant passages that answer the query\n"
      "Query:",
      ""}},
};

/* "Multilingual E5 Base" and "multilingual_e5_base" read alike: "-multilingual-e5-base-". */
static void fold(const char *title, char out[TITLE_MAX + 3])
{
    size_t n = 0;
    out[n++] = '-';
    for (const char *p = title; *p != '\0' && n < TITLE_MAX; p++) {
        char c = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
        bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (word || out[n - 1] != '-') {
            out[n++] = word ? c : '-';
        }
    }
    if (out[n - 1] != '-') {
        out[n++] = '-';
    }
    out[n] = '\0';
}

/* As a whole word or words. */
static bool has(const char *folded, const char *word)
{
    size_t len = strlen(word);
    for (const char *p = strstr(folded, word); len > 0 && p != NULL; p = strstr(p + 1, word)) {
        if (p[-1] == '-' && p[len] == '-') {
            return true;
        }
    }
    return len == 0;
}

struct prefixes prefixes_of(const char *architecture, const char *title)
{
    char folded[TITLE_MAX + 3];
    fold(title, folded);
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        if ((families[i].architecture == NULL ||
             strcmp(families[i].architecture, architecture) == 0) &&
            has(folded, families[i].word) &&
            (families[i].and == NULL || has(folded, families[i].and))) {
            return families[i].prefixes;
        }
    }
    return (struct prefixes){"", "", ""};
}
