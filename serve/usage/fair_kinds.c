/* Which calls use what. A call that is not here counts as a request and nothing else: looking at
 * documents, lists and settings costs too little to be in the books, and nobody whose budget is
 * used up is kept from reading. */
#include <string.h>

#include "serve/usage/fair.h"

#define ANSWERS (METER_USES_TOKENS | METER_USES_STREAM | METER_USES_MONEY)
#define EMBEDS (METER_USES_TOKENS | METER_USES_MONEY)
#define UPLOADS (METER_USES_UPLOAD | METER_USES_MONEY)

/* In the books, and never refused for what was used before. */
#define ENTERED 0x100U

static const struct {
    const char *pattern;
    unsigned uses;
} rows[] = {
    {"/v1/chat/completions", ANSWERS},
    {"/v1/responses", ANSWERS},
    {"/v1/messages", ANSWERS},
    {"/api/chat", ANSWERS},
    {"/api/generate", ANSWERS},
    {"/v1/embeddings", EMBEDS},
    {"/api/embed", EMBEDS},
    {"/v1/rerank", EMBEDS},
    {"/mcp", ENTERED},
    {"/api/search", ENTERED},
    {"/v1/vector_stores/{id}/search", ENTERED},
    {"/api/documents", UPLOADS},
    {"/v1/files", UPLOADS},
};

unsigned fair_uses(const char *pattern, bool post)
{
    for (size_t i = 0; post && i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(rows[i].pattern, pattern) == 0) {
            return rows[i].uses;
        }
    }
    return 0;
}
