#include "ingest/ignore.h"

#include <stdio.h>
#include <string.h>

#include "base/glob.h"
#include "base/settings/schema.h"

/* `size > 20MiB`; false: it is a pattern. */
static bool by_size(struct str line, struct ignore_rule *out, bool *wrong)
{
    if (!str_starts(line, STR("size"))) {
        return false;
    }
    struct str rest = str_trim((struct str){line.ptr + 4, line.len - 4});
    if (rest.len == 0 || rest.ptr[0] != '>') {
        return false;
    }
    rest = str_trim((struct str){rest.ptr + 1, rest.len - 1});
    int64_t bytes = 0;
    *wrong = !setting_size(rest, &bytes) || bytes < 0;
    *out = (struct ignore_rule){.size = (uint64_t)bytes};
    return true;
}

/* From this folder on where a slash stands in it but at its end, else at any depth. */
static enum status pattern_of(struct str line, struct arena *a, struct ignore_rule *out)
{
    *out = (struct ignore_rule){0};
    if (line.ptr[0] == '!') {
        out->take_back = true;
        line = (struct str){line.ptr + 1, line.len - 1};
    }
    if (line.len > 0 && line.ptr[line.len - 1] == '/') {
        out->folders_only = true;
        line.len--;
    }
    bool anchored = line.len > 0 && memchr(line.ptr, '/', line.len) != NULL;
    if (line.len > 0 && line.ptr[0] == '/') {
        line = (struct str){line.ptr + 1, line.len - 1};
    }
    struct str front = anchored ? STR("") : STR("**/");
    if (line.len == 0 || front.len + line.len > GLOB_MAX ||
        memchr(line.ptr, '\0', line.len) != NULL) {
        return STATUS_INVALID;
    }
    char *pattern = arena_alloc(a, front.len + line.len + 1);
    if (pattern == NULL) {
        return STATUS_NO_MEMORY;
    }
    memcpy(pattern, front.ptr, front.len);
    memcpy(pattern + front.len, line.ptr, line.len);
    pattern[front.len + line.len] = '\0';
    out->pattern = pattern;
    return STATUS_OK;
}

/* Blanks at the end do not count unless a backslash is before them. */
static struct str line_at(struct str text, size_t at)
{
    const char *end = memchr(text.ptr + at, '\n', text.len - at);
    struct str line = {text.ptr + at, end == NULL ? text.len - at : (size_t)(end - text.ptr) - at};
    while (line.len > 0 &&
           (line.ptr[line.len - 1] == '\r' || line.ptr[line.len - 1] == ' ' ||
            line.ptr[line.len - 1] == '\t') &&
           !(line.len > 1 && line.ptr[line.len - 2] == '\\')) {
        line.len--;
    }
    return line;
}

enum status ignore_parse(struct str text, struct arena *a, struct ignore_rules *out,
                         struct error *err)
{
    struct ignore_rule items[IGNORE_RULES_MAX];
    struct ignore_rules r = {0};
    size_t number = 0;
    if (text.len > IGNORE_FILE_MAX) {
        return error_set(err, STATUS_TOO_LARGE, "%s: larger than %d bytes", IGNORE_FILE,
                         IGNORE_FILE_MAX);
    }
    if (text.len >= 3 && memcmp(text.ptr, "\xef\xbb\xbf", 3) == 0) {
        text = (struct str){text.ptr + 3, text.len - 3};
    }
    for (size_t at = 0; at < text.len;) {
        const char *end = memchr(text.ptr + at, '\n', text.len - at);
        struct str line = line_at(text, at);
        at = end == NULL ? text.len : (size_t)(end - text.ptr) + 1;
        number++;
        if (line.len == 0 || line.ptr[0] == '#') {
            continue;
        }
        if (r.n == IGNORE_RULES_MAX) {
            return error_set(err, STATUS_TOO_LARGE, "%s: more than %d patterns", IGNORE_FILE,
                             IGNORE_RULES_MAX);
        }
        bool wrong = false;
        enum status s = by_size(line, &items[r.n], &wrong) ? (wrong ? STATUS_INVALID : STATUS_OK)
                                                           : pattern_of(line, a, &items[r.n]);
        if (s == STATUS_INVALID) {
            return error_set(err, s,
                             "%s:%zu: neither a pattern of at most %d bytes nor `size > 20MiB`",
                             IGNORE_FILE, number, GLOB_MAX - 3);
        }
        if (s != STATUS_OK) {
            return error_set(err, s, "%s: out of memory", IGNORE_FILE);
        }
        r.n++;
    }
    r.items = arena_array(a, r.n + 1, sizeof *r.items);
    if (r.items == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "%s: out of memory", IGNORE_FILE);
    }
    memcpy(r.items, items, r.n * sizeof *items);
    *out = r;
    return STATUS_OK;
}

enum ignored ignore_judge(const struct ignore_rules *r, struct str path, bool folder, uint64_t size)
{
    for (size_t i = r->n; i-- > 0;) {
        const struct ignore_rule *u = &r->items[i];
        if (u->pattern == NULL
                ? !folder && size > u->size
                : (folder || !u->folders_only) && glob_match(u->pattern, path, GLOB_SETS)) {
            return u->take_back ? IGNORE_NO : IGNORE_YES;
        }
    }
    return IGNORE_UNSAID;
}
