#include "serve/vector_store_id.h"

#include <string.h>

#include "serve/request.h"

#define PREFIX "vs_"

void vector_store_id(struct str name, char out[VECTOR_STORE_ID_CAP])
{
    static const char digits[] = "0123456789abcdef";
    size_t n = strlen(PREFIX);
    memcpy(out, PREFIX, n);
    for (size_t i = 0; i < name.len && i < 255; i++) {
        out[n++] = digits[(unsigned char)name.ptr[i] >> 4];
        out[n++] = digits[(unsigned char)name.ptr[i] & 15];
    }
    out[n] = '\0';
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

const char *vector_store_collection(struct str id, struct arena *a)
{
    size_t from = strlen(PREFIX);
    if (!str_starts(id, STR(PREFIX)) || id.len == from || (id.len - from) % 2 != 0 ||
        id.len >= VECTOR_STORE_ID_CAP) {
        return NULL;
    }
    struct str name = {NULL, (id.len - from) / 2};
    char *to = arena_alloc(a, name.len + 1);
    name.ptr = to;
    for (size_t i = 0; to != NULL && i < name.len; i++) {
        int high = digit(id.ptr[from + 2 * i]), low = digit(id.ptr[from + 2 * i + 1]);
        if (high < 0 || low < 0) {
            return NULL;
        }
        to[i] = (char)(high * 16 + low);
    }
    if (to != NULL) {
        to[name.len] = '\0';
    }
    return to != NULL && api_name_ok(name, 255) && memchr(to, '/', name.len) == NULL ? to : NULL;
}
