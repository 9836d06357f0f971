#include "ingest/sources/names.h"

#include <stdio.h>
#include <string.h>

#include "base/text/text.h"
#include "ingest/paths.h"

#define NAME_BYTES_MAX 200
#define NAME_KEPT 120 /* of one that is longer */
#define DEPTH_MAX 16
#define PLACE_KEPT 700 /* longer places go by their hash; room for a tenant's folder */
#define ENDING_MAX 12

void source_id(const char *source, struct str key, uint8_t out[SHA256_BYTES])
{
    struct sha256 *h = sha256_new();
    if (h == NULL) {
        memset(out, 0, SHA256_BYTES); /* two are then told apart by nothing: refused as taken */
        return;
    }
    sha256_add(h, source, strlen(source) + 1);
    sha256_add(h, key.ptr, key.len);
    sha256_end(h, out);
}

static size_t sequence(struct str s)
{
    unsigned char b = (unsigned char)s.ptr[0];
    size_t len = b < 0x80 ? 1 : b >= 0xf0 ? 4 : b >= 0xe0 ? 3 : 2;
    struct str one = {s.ptr, len};
    return len <= s.len && text_utf8_valid(one) ? len : 0;
}

/* The name, with what cannot stand in one escaped. */
static void write_name(struct buf *out, struct str name)
{
    bool dots = str_eq(name, STR(".")) || str_eq(name, STR("..")) || name.len == 0;
    if (name.len == 0) {
        buf_z(out, "%2F"); /* two slashes */
    }
    while (name.len > 0) {
        size_t len = sequence(name);
        unsigned char c = (unsigned char)name.ptr[0];
        bool plain = len > 1 || (len == 1 && c >= 0x20 && c != 0x7f && c != '\\' && !dots);
        if (plain) {
            buf_append(out, name.ptr, len);
        } else {
            len = 1;
            buf_printf(out, "%%%02X", (unsigned)c);
        }
        name.ptr += len;
        name.len -= len;
    }
}

static struct str ending_of(struct str name)
{
    for (size_t i = name.len; i > 1 && name.len - i < ENDING_MAX; i--) {
        unsigned char c = (unsigned char)name.ptr[i - 1];
        if (c == '.') {
            return (struct str){name.ptr + i - 1, name.len - i + 1};
        }
        if (c <= ' ' || c >= 0x7f || c == '/' || c == '\\' || c == '%') {
            break;
        }
    }
    return (struct str){name.ptr, 0};
}

/* Cut at a character, with the hash and the ending. */
static void write_short(struct buf *out, struct str name, const char hash[SHA256_HEX_CAP],
                        struct str ending)
{
    size_t n = name.len < NAME_KEPT ? name.len : NAME_KEPT;
    while (n > 0 && n < name.len && ((unsigned char)name.ptr[n] & 0xc0) == 0x80) {
        n--;
    }
    buf_append(out, name.ptr, n);
    buf_printf(out, "%%%.16s", hash);
    buf_str(out, ending);
}

bool source_place(struct str key, const uint8_t id[SHA256_BYTES], bool unlike, char out[PLACE_MAX])
{
    char hash[SHA256_HEX_CAP];
    char name_space[3 * 4096 + 16];
    struct buf place;
    unsigned depth = 0;
    bool taken = key.len > 0;
    sha256_hex(id, hash);
    buf_init(&place, (size_t)64 << 10);
    for (size_t at = 0; at <= key.len && taken;) {
        const char *slash = at == key.len ? NULL : memchr(key.ptr + at, '/', key.len - at);
        size_t end = slash == NULL ? key.len : (size_t)(slash - key.ptr);
        struct str raw = {key.ptr + at, end - at};
        struct buf name;
        bool dots = str_eq(raw, STR(".")) || str_eq(raw, STR(".."));
        bool last = end == key.len;
        buf_init(&name, sizeof name_space);
        write_name(&name, raw);
        struct str shown = buf_view(&name);
        taken = buf_status(&name) == STATUS_OK && (raw.len == 0 || dots || !name_ignored(raw));
        if (at > 0) {
            buf_char(&place, '/');
        }
        if (shown.len > NAME_BYTES_MAX || (last && unlike)) {
            struct str ending = ending_of(raw);
            size_t bare = shown.len > ending.len ? shown.len - ending.len : 0;
            write_short(&place, (struct str){shown.ptr, bare}, hash, ending);
        } else {
            buf_str(&place, shown);
        }
        buf_deinit(&name);
        depth++;
        at = end + 1;
    }
    taken = taken && buf_status(&place) == STATUS_OK;
    if (taken && (depth > DEPTH_MAX || place.len > PLACE_KEPT)) {
        struct str ending = ending_of(path_name(key));
        (void)snprintf(out, PLACE_MAX, "%%deep/%.32s%.*s", hash, STR_ARG(ending));
    } else if (taken) {
        memcpy(out, place.ptr, place.len);
        out[place.len] = '\0';
    }
    buf_deinit(&place);
    return taken;
}

void source_fold(const char *place, char out[PLACE_MAX])
{
    size_t i = 0;
    for (; place[i] != '\0' && i + 1 < PLACE_MAX; i++) {
        char c = place[i];
        out[i] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
    }
    out[i] = '\0';
}
