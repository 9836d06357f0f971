#include "ingest/paths.h"

#include <stdio.h>

#include "base/text/text.h"
#include "ingest/maildir.h"

#define UPLOAD_DEPTH_MAX 9
#define UPLOAD_NAME_MAX 200

/* Takes the next component off *rest. */
static struct str next_component(struct str *rest)
{
    const char *slash = rest->len == 0 ? NULL : memchr(rest->ptr, '/', rest->len);
    struct str name = {.ptr = rest->ptr,
                       .len = slash == NULL ? rest->len : (size_t)(slash - rest->ptr)};
    size_t used = slash == NULL ? rest->len : name.len + 1;
    rest->ptr += used;
    rest->len -= used;
    return name;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool ends_ignoring_case(struct str s, struct str suffix)
{
    if (s.len < suffix.len) {
        return false;
    }
    const char *p = s.ptr + s.len - suffix.len;
    for (size_t i = 0; i < suffix.len; i++) {
        if (lower(p[i]) != lower(suffix.ptr[i])) {
            return false;
        }
    }
    return true;
}

bool name_ignored(struct str name)
{
    static const struct str endings[] = {
        {"~", 1}, {".swp", 4}, {".swx", 4}, {".tmp", 4}, {".part", 5}, {".crdownload", 11},
    };
    if (name.len == 0 || name.ptr[0] == '.' || str_starts(name, STR("~$"))) {
        return true;
    }
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        if (ends_ignoring_case(name, endings[i])) {
            return true;
        }
    }
    return false;
}

bool path_ignored(struct str path, bool folder)
{
    bool hidden = false; /* the component before */
    if (path.len == 0) {
        return true;
    }
    while (path.len > 0) {
        struct str name = next_component(&path);
        if (hidden && !maildir_part(name)) {
            return true;
        }
        hidden = name.len > 1 && name.ptr[0] == '.';
        if (!hidden && name_ignored(name)) {
            return true;
        }
    }
    return hidden && !folder;
}

/* Length of the valid UTF-8 sequence at the start of s; 0 when there is none. */
static size_t sequence(struct str s)
{
    unsigned char b = (unsigned char)s.ptr[0];
    size_t len = b < 0x80 ? 1 : b >= 0xf0 ? 4 : b >= 0xe0 ? 3 : 2;
    struct str one = {.ptr = s.ptr, .len = len};
    return len <= s.len && text_utf8_valid(one) ? len : 0;
}

void path_show(struct str path, char *out, size_t cap)
{
    size_t n = 0;
    while (path.len > 0) {
        size_t len = sequence(path);
        unsigned char b = (unsigned char)path.ptr[0];
        bool plain = len > 1 || (len == 1 && b >= 0x20 && b != 0x7f);
        char esc[5];
        const char *from = path.ptr;
        size_t add = len;
        if (!plain) {
            (void)snprintf(esc, sizeof esc, "\\x%02x", (unsigned)b);
            from = esc;
            add = 4;
            len = 1;
        }
        if (n + add >= cap) {
            break;
        }
        memcpy(out + n, from, add);
        n += add;
        path.ptr += len;
        path.len -= len;
    }
    out[n] = '\0';
}

void path_collection(struct str path, char out[INGEST_COLLECTION_CAP])
{
    struct str rest = path;
    struct str first = next_component(&rest);
    if (first.len == path.len) {
        first = STR("default");
    }
    path_show(first, out, INGEST_COLLECTION_CAP);
}

struct str path_name(struct str path)
{
    struct str name = path;
    while (path.len > 0) {
        name = next_component(&path);
    }
    return name;
}

static struct str ending(struct str path)
{
    struct str name = path_name(path);
    for (size_t i = name.len; i > 0; i--) {
        if (name.ptr[i - 1] == '.') {
            return (struct str){.ptr = name.ptr + i, .len = name.len - i};
        }
    }
    return (struct str){.ptr = name.ptr, .len = 0};
}

struct str path_folder(struct str path)
{
    struct str name = path_name(path);
    return (struct str){path.ptr, path.len > name.len ? path.len - name.len - 1 : 0};
}

bool path_same_ending(struct str a, struct str b)
{
    if (maildir_same_message(a, b)) {
        return true;
    }
    struct str x = ending(a);
    struct str y = ending(b);
    return x.len == y.len && ends_ignoring_case(x, y);
}

enum status path_check_upload(struct str path, struct error *err)
{
    char shown[120];
    path_show(path, shown, sizeof shown);
    if (path.len == 0 || path.len > 1024) {
        return error_set(err, STATUS_INVALID, "the file's path is empty or too long");
    }
    if (!text_utf8_valid(path)) {
        return error_set(err, STATUS_INVALID, "%s: the path is not UTF-8", shown);
    }
    unsigned depth = 0;
    bool ended_by_slash = path.ptr[path.len - 1] == '/';
    for (struct str rest = path; rest.len > 0;) {
        struct str name = next_component(&rest);
        for (size_t i = 0; i < name.len; i++) {
            if ((unsigned char)name.ptr[i] < 0x20 || name.ptr[i] == 0x7f || name.ptr[i] == '\\') {
                return error_set(err, STATUS_INVALID,
                                 "%s: control characters and backslashes may not be in a name",
                                 shown);
            }
        }
        if (name.len == 0 || name.len > UPLOAD_NAME_MAX || ++depth > UPLOAD_DEPTH_MAX) {
            return error_set(err, STATUS_INVALID,
                             "%s: empty or over-long name in the path, or too many folders", shown);
        }
        if (name_ignored(name)) {
            return error_set(err, STATUS_INVALID,
                             "%s: hidden and temporary names are not taken as documents", shown);
        }
    }
    if (ended_by_slash) {
        return error_set(err, STATUS_INVALID, "%s: names a folder", shown);
    }
    return STATUS_OK;
}
