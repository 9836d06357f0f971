/* Keys and values of prompts that were read, kept for others that begin with the same tokens: a
 * tenant's system prompt, or passages asked about again. Never shared between scopes (tenants).
 * Kept only in pages that nobody else needs, and not for long. The model's thread only. */
#ifndef CARREL_GENERATE_LOCAL_BEGINNINGS_H
#define CARREL_GENERATE_LOCAL_BEGINNINGS_H

#include <stdbool.h>

#include "model/kv.h"

#define BEGINNINGS_MAX 16
#define BEGINNINGS_KEEP_MS 300000
#define BEGINNINGS_LEAST KV_PAGE /* tokens; less is not worth sharing */
#define SCOPE_CAP 65

struct beginning {
    char scope[SCOPE_CAP];
    uint32_t *tokens; /* NULL: free */
    struct kv_sequence sequence;
    int64_t used_ms;
};

struct beginnings {
    struct kv_pool *pool;
    struct beginning items[BEGINNINGS_MAX];
};

void beginnings_init(struct beginnings *b, struct kv_pool *pool);
void beginnings_deinit(struct beginnings *b);
/* out (empty) becomes what is known of these tokens' beginning, at most n - 1 of them; how many.
 * *worth: where more were the same, but the window before that place is forgotten (kv.h): a
 * sequence that comes by there again is worth keeping, so that the next one shares it; 0: no such
 * place. */
uint32_t beginnings_find(struct beginnings *b, const char *scope, const uint32_t *tokens,
                         uint32_t n, int64_t now_ms, struct kv_sequence *out, uint32_t *worth);
/* Whole pages of a sequence that holds these n tokens are kept. Nothing for an empty scope, nor
 * where a window has to be copied and there is no room for it. */
void beginnings_keep(struct beginnings *b, const char *scope, const uint32_t *tokens, uint32_t n,
                     const struct kv_sequence *sequence, int64_t now_ms);
/* Gives up the one unused for longest. false: there is none. */
bool beginnings_drop_one(struct beginnings *b);
void beginnings_expire(struct beginnings *b, int64_t now_ms);
/* Pages that are kept, shared ones counted for each that keeps them. */
uint32_t beginnings_pages(const struct beginnings *b);

#endif
