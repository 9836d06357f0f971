#include "serve/logprobs.h"

#include "serve/http/jsonw.h"

static void token_fields(struct jsonw *w, const Ge__TokenLogprob *t)
{
    jsonw_field_str(w, "token", (struct str){(const char *)t->token.data, t->token.len});
    jsonw_field_double(w, "logprob", (double)t->logprob);
    jsonw_key(w, "bytes");
    jsonw_open(w, '[');
    for (size_t i = 0; i < t->token.len; i++) {
        jsonw_int(w, t->token.data[i]);
    }
    jsonw_close(w, ']');
}

void logprobs_write(struct buf *out, const Ge__ChatReply *m)
{
    struct jsonw w;
    jsonw_init(&w, out);
    jsonw_open(&w, '{');
    jsonw_key(&w, "content");
    jsonw_open(&w, '[');
    for (size_t i = 0; i < m->n_logprobs; i++) {
        jsonw_open(&w, '{');
        token_fields(&w, m->logprobs[i]);
        jsonw_key(&w, "top_logprobs");
        jsonw_open(&w, '[');
        for (size_t k = 0; k < m->logprobs[i]->n_top; k++) {
            jsonw_open(&w, '{');
            token_fields(&w, m->logprobs[i]->top[k]);
            jsonw_close(&w, '}');
        }
        jsonw_close(&w, ']');
        jsonw_close(&w, '}');
    }
    jsonw_close(&w, ']');
    jsonw_close(&w, '}');
}
