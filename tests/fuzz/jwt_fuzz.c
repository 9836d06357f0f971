/* Tokens and sets of keys from strangers. The input is a set, a line end, and a token; or a token
 * alone, under a good set; or, after a first letter 'c', claims. What is refused leaves nothing
 * behind, and claims that pass say what was asked for. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "serve/jwt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void claims(struct str text)
{
    static const struct jwt_expect want = {"i", "a", "n", 1700000000, 60, 600};
    struct json *doc = NULL;
    if (jsonr_read(text, &doc, NULL) != STATUS_OK) {
        return;
    }
    if (jwt_check(doc, &want, NULL) == STATUS_OK &&
        (!str_eq(jsonr_str(jsonr_get(doc, "iss")), STR("i")) ||
         !str_eq(jsonr_str(jsonr_get(doc, "nonce")), STR("n")) ||
         jsonr_str(jsonr_get(doc, "sub")).len == 0)) {
        abort();
    }
    jsonr_free(doc);
}

static void token(struct str keys, struct str compact)
{
    struct jwk_set *set;
    struct buf payload;
    if (jwk_set_read(keys, &set, NULL) != STATUS_OK) {
        return;
    }
    buf_init(&payload, JWT_BYTES_MAX);
    if (jws_verify(compact, set, NULL, &payload, NULL) != STATUS_OK && payload.len != 0) {
        abort();
    }
    buf_deinit(&payload);
    jwk_set_free(set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* a set that is always good, so that tokens are looked at from the first input on */
    static const char good[] = "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
                               "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                               "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}";
    const char *p = (const char *)data;
    if (size > 0 && p[0] == 'c') {
        claims((struct str){p + 1, size - 1});
        return 0;
    }
    const char *end = size == 0 ? NULL : memchr(p, '\n', size);
    if (end == NULL) {
        token(str_from(good), (struct str){p, size});
    } else {
        token((struct str){p, (size_t)(end - p)},
              (struct str){end + 1, size - (size_t)(end + 1 - p)});
    }
    return 0;
}
