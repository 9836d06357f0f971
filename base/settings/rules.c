#include "base/settings/rules.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#include "base/file.h"
#include "base/settings/schema.h"

#define PATTERN_MAX 255
#define LABELS "public|internal|confidential|restricted"
#define DAY_MS ((int64_t)86400000)

static bool name_bytes(struct str s, size_t max)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == '-' || c == '@';
        if (!ok) {
            return false;
        }
    }
    return s.len > 0 && s.len <= max;
}

bool rules_group_valid(struct str name)
{
    return name_bytes(name, 64) && !str_eq(name, STR(RULES_NOBODY)) &&
           !str_eq(name, STR(RULES_EVERYONE));
}

/* ---- patterns ---- */

enum token_kind { TOKEN_BYTE, TOKEN_ANY, TOKEN_STAR, TOKEN_DEEP, TOKEN_FOLDERS };

struct token {
    enum token_kind kind;
    char byte;
};

static size_t tokenize(const char *pattern, struct token *out)
{
    size_t n = 0;
    size_t len = strlen(pattern);
    len = len > PATTERN_MAX ? PATTERN_MAX : len;
    for (size_t i = 0; i < len;) {
        bool start = i == 0 || pattern[i - 1] == '/';
        if (pattern[i] == '*' && i + 1 < len && pattern[i + 1] == '*') {
            while (i < len && pattern[i] == '*') {
                i++;
            }
            bool folders = start && i < len && pattern[i] == '/';
            i += folders;
            out[n++] = (struct token){.kind = folders ? TOKEN_FOLDERS : TOKEN_DEEP};
        } else {
            enum token_kind kind = pattern[i] == '*'   ? TOKEN_STAR
                                   : pattern[i] == '?' ? TOKEN_ANY
                                                       : TOKEN_BYTE;
            out[n++] = (struct token){.kind = kind, .byte = pattern[i]};
            i++;
        }
    }
    if (len > 0 && pattern[len - 1] == '/') {
        out[n++] = (struct token){.kind = TOKEN_DEEP};
    }
    return n;
}

/* Every place of the pattern that the path read so far may stand at: time is length times length,
 * whatever the pattern. Tokens that match nothing are stepped over at once. */
static void step_over(const struct token *t, size_t n, bool *at, bool after_slash)
{
    for (size_t i = 0; i < n; i++) {
        bool empty = t[i].kind == TOKEN_STAR || t[i].kind == TOKEN_DEEP ||
                     (t[i].kind == TOKEN_FOLDERS && after_slash);
        if (at[i] && empty) {
            at[i + 1] = true;
        }
    }
}

bool rules_match(const char *pattern, struct str path)
{
    struct token t[PATTERN_MAX + 2];
    bool now[PATTERN_MAX + 3] = {true};
    size_t n = tokenize(pattern, t);
    step_over(t, n, now, true);
    for (size_t k = 0; k < path.len; k++) {
        bool next[PATTERN_MAX + 3] = {false};
        char c = path.ptr[k];
        for (size_t i = 0; i < n; i++) {
            if (!now[i]) {
                continue;
            }
            switch (t[i].kind) {
            case TOKEN_BYTE:
                next[i + 1] = next[i + 1] || c == t[i].byte;
                break;
            case TOKEN_ANY:
                next[i + 1] = next[i + 1] || c != '/';
                break;
            case TOKEN_STAR:
                next[i] = next[i] || c != '/';
                break;
            case TOKEN_DEEP:
            case TOKEN_FOLDERS:
                next[i] = true;
                break;
            }
        }
        step_over(t, n, next, c == '/');
        memcpy(now, next, sizeof now);
    }
    return now[n];
}

/* ---- dates ---- */

static int digits(const char *p, size_t n)
{
    int v = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9') {
            return -1;
        }
        v = v * 10 + (p[i] - '0');
    }
    return v;
}

/* Days since 1970 of a Gregorian date (Hinnant, "chrono-compatible low-level date algorithms"). */
static int64_t days_of(int y, int m, int d)
{
    y -= m <= 2;
    int64_t era = y / 400;
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

/* YYYY-MM-DD, YYYY_MM_DD or YYYYMMDD at the start of s; *used its length. */
static bool date_at(struct str s, size_t *used, int64_t *ms)
{
    static const int last[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (s.len < 8) {
        return false;
    }
    bool apart = s.ptr[4] == '-' || s.ptr[4] == '_';
    if (apart && (s.len < 10 || s.ptr[7] != s.ptr[4])) {
        return false;
    }
    int y = digits(s.ptr, 4);
    int m = digits(s.ptr + 4 + apart, 2);
    int d = digits(s.ptr + 6 + 2 * apart, 2);
    bool leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
    if (y < 1900 || y > 2200 || m < 1 || m > 12 || d < 1 || d > last[m - 1] + (m == 2 && leap)) {
        return false;
    }
    *used = apart ? 10 : 8;
    *ms = days_of(y, m, d) * DAY_MS;
    return true;
}

static bool date_in_path(struct str path, int64_t *ms)
{
    bool found = false;
    for (size_t i = 0; i < path.len; i++) {
        size_t used = 0;
        struct str rest = {path.ptr + i, path.len - i};
        bool starts = i == 0 || digits(path.ptr + i - 1, 1) < 0;
        if (starts && date_at(rest, &used, ms) &&
            (used == rest.len || digits(rest.ptr + used, 1) < 0)) {
            found = true;
        }
    }
    return found;
}

/* ---- reading the file ---- */

struct reading {
    const char *name;
    struct arena *a;
    yaml_document_t doc;
};

static struct str text_of(const yaml_node_t *n)
{
    return n == NULL || n->type != YAML_SCALAR_NODE
               ? (struct str){0}
               : (struct str){(const char *)n->data.scalar.value, n->data.scalar.length};
}

static enum status wrong(const struct reading *r, const yaml_node_t *n, struct error *err,
                         const char *what)
{
    return error_set(err, STATUS_INVALID, "%s:%zu: %s", r->name, n->start_mark.line + 1, what);
}

static enum status read_names(struct reading *r, const yaml_node_t *n, bool readers,
                              struct rule *rule, struct error *err)
{
    const char *must = readers
                           ? "readers: must be a list of groups such as [hr, board], "
                             "[everyone] or [nobody]"
                           : "tags: must be a list such as [contract, 2024]; a tag has letters, "
                             "digits and . _ - @";
    if (n->type != YAML_SEQUENCE_NODE) {
        return wrong(r, n, err, must);
    }
    size_t count = (size_t)(n->data.sequence.items.top - n->data.sequence.items.start);
    if (count == 0 || count > RULES_VALUES) {
        return wrong(r, n, err, must);
    }
    const char **list = arena_array(r->a, count, sizeof *list);
    size_t kept = 0;
    for (size_t i = 0; list != NULL && i < count; i++) {
        const yaml_node_t *item = yaml_document_get_node(&r->doc, n->data.sequence.items.start[i]);
        struct str t = text_of(item);
        bool all = readers && str_eq(t, STR(RULES_EVERYONE));
        bool none = readers && str_eq(t, STR(RULES_NOBODY));
        if ((all || none) && count > 1) {
            return wrong(r, n, err, "readers: everyone and nobody stand alone");
        }
        if (!all && !none && !(readers ? rules_group_valid(t) : name_bytes(t, 64))) {
            return wrong(r, n, err, must);
        }
        list[kept] = arena_strndup(r->a, t.ptr, t.len);
        if (list[kept] == NULL) {
            return error_set(err, STATUS_NO_MEMORY, "%s: out of memory", r->name);
        }
        kept += !all;
    }
    if (list == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "%s: out of memory", r->name);
    }
    if (readers) {
        rule->readers = list;
        rule->n_readers = kept;
        rule->has_readers = true;
    } else {
        rule->tags = list;
        rule->n_tags = kept;
    }
    return STATUS_OK;
}

static enum status read_date(const struct reading *r, const yaml_node_t *n, struct rule *rule,
                             struct error *err)
{
    struct str t = text_of(n);
    size_t used = 0;
    rule->has_date = true;
    rule->date_from_path = str_eq(t, STR("path"));
    if (!rule->date_from_path &&
        !(t.ptr != NULL && date_at(t, &used, &rule->date_ms) && used == t.len)) {
        return wrong(r, n, err, "date: must be `path` (the last date in the path) or YYYY-MM-DD");
    }
    return STATUS_OK;
}

static enum status read_text(struct reading *r, const yaml_node_t *n, const char *key, size_t max,
                             const char **out, struct error *err)
{
    struct str t = text_of(n);
    if (t.ptr == NULL || t.len == 0 || t.len > max || memchr(t.ptr, '\0', t.len) != NULL) {
        char what[96];
        (void)snprintf(what, sizeof what, "%s: must be one text of 1 to %zu bytes", key, max);
        return wrong(r, n, err, what);
    }
    *out = arena_strndup(r->a, t.ptr, t.len);
    return *out == NULL ? error_set(err, STATUS_NO_MEMORY, "%s: out of memory", r->name)
                        : STATUS_OK;
}

static enum status read_entry(struct reading *r, const yaml_node_t *key, const yaml_node_t *value,
                              struct rule *rule, struct error *err)
{
    struct str k = text_of(key);
    if (str_eq(k, STR("path"))) {
        enum status s = read_text(r, value, "path", PATTERN_MAX, &rule->path, err);
        return s == STATUS_OK && rule->path[0] == '/'
                   ? wrong(r, value, err,
                           "path: starts below the tenant's folder, without a / in front")
                   : s;
    }
    if (str_eq(k, STR("collection"))) {
        return read_text(r, value, "collection", 255, &rule->collection, err);
    }
    if (str_eq(k, STR("tenant"))) {
        return read_text(r, value, "tenant", 64, &rule->tenant, err);
    }
    if (str_eq(k, STR("readers")) || str_eq(k, STR("tags"))) {
        return read_names(r, value, str_eq(k, STR("readers")), rule, err);
    }
    if (str_eq(k, STR("date"))) {
        return read_date(r, value, rule, err);
    }
    if (str_eq(k, STR("label"))) {
        struct str t = text_of(value);
        return t.ptr == NULL || !setting_is_choice(LABELS, t)
                   ? wrong(r, value, err,
                           "label: must be public, internal, confidential or restricted")
                   : read_text(r, value, "label", 32, &rule->label, err);
    }
    return wrong(r, key, err,
                 "a rule has path, collection, tenant, readers, label, tags and date; this is none "
                 "of them");
}

static enum status read_rule(struct reading *r, const yaml_node_t *n, struct rule *rule,
                             struct error *err)
{
    *rule = (struct rule){.line = n->start_mark.line + 1};
    if (n->type != YAML_MAPPING_NODE) {
        return wrong(r, n, err, "a rule is a group of lines such as `- path: hr/**`");
    }
    enum status s = STATUS_OK;
    const yaml_node_pair_t *start = n->data.mapping.pairs.start;
    for (const yaml_node_pair_t *p = start; p < n->data.mapping.pairs.top && s == STATUS_OK; p++) {
        const yaml_node_t *key = yaml_document_get_node(&r->doc, p->key);
        for (const yaml_node_pair_t *q = start; q < p; q++) {
            if (str_eq(text_of(key), text_of(yaml_document_get_node(&r->doc, q->key)))) {
                return wrong(r, key, err, "this rule says that twice");
            }
        }
        s = read_entry(r, key, yaml_document_get_node(&r->doc, p->value), rule, err);
    }
    if (s == STATUS_OK && rule->path == NULL && rule->collection == NULL && rule->tenant == NULL) {
        s = wrong(r, n, err,
                  "a rule names a path, a collection or a tenant (everything: path: **)");
    }
    if (s == STATUS_OK && !rule->has_readers && rule->label == NULL && rule->n_tags == 0 &&
        !rule->has_date) {
        s = wrong(r, n, err, "a rule gives readers, a label, tags or a date");
    }
    return s;
}

static enum status read_root(struct reading *r, struct rules *out, struct error *err)
{
    const yaml_node_t *root = yaml_document_get_root_node(&r->doc);
    const yaml_node_t *list = NULL;
    if (root == NULL) {
        return error_set(err, STATUS_INVALID, "%s:1: is empty; without rules it says `access: []`",
                         r->name);
    }
    if (root->type == YAML_MAPPING_NODE &&
        root->data.mapping.pairs.top - root->data.mapping.pairs.start == 1) {
        const yaml_node_pair_t *p = root->data.mapping.pairs.start;
        if (str_eq(text_of(yaml_document_get_node(&r->doc, p->key)), STR("access"))) {
            list = yaml_document_get_node(&r->doc, p->value);
        }
    }
    if (list == NULL || list->type != YAML_SEQUENCE_NODE) {
        return wrong(r, root, err, "must be `access:` and a list of rules below it");
    }
    size_t n = (size_t)(list->data.sequence.items.top - list->data.sequence.items.start);
    if (n > RULES_MAX) {
        return error_set(err, STATUS_INVALID, "%s: more than %d rules", r->name, RULES_MAX);
    }
    out->items = arena_array(r->a, n + 1, sizeof *out->items);
    if (out->items == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "%s: out of memory", r->name);
    }
    enum status s = STATUS_OK;
    for (out->n = 0; out->n < n && s == STATUS_OK; out->n++) {
        const yaml_node_t *item =
            yaml_document_get_node(&r->doc, list->data.sequence.items.start[out->n]);
        s = read_rule(r, item, &out->items[out->n], err);
    }
    return s;
}

enum status rules_parse(struct str yaml, const char *name, struct arena *a, struct rules *out,
                        struct error *err)
{
    struct reading r = {.name = name, .a = a};
    struct rules fresh = {0};
    yaml_parser_t p;
    yaml.ptr = yaml.ptr == NULL ? "" : yaml.ptr;
    if (yaml.len > SETTINGS_FILE_MAX) {
        return error_set(err, STATUS_TOO_LARGE, "%s: larger than %zu bytes", name,
                         SETTINGS_FILE_MAX);
    }
    enum status s = settings_check_yaml(name, yaml, err);
    if (s != STATUS_OK) {
        return s;
    }
    if (!yaml_parser_initialize(&p)) {
        return error_set(err, STATUS_NO_MEMORY, "%s: out of memory", name);
    }
    yaml_parser_set_input_string(&p, (const unsigned char *)yaml.ptr, yaml.len);
    if (!yaml_parser_load(&p, &r.doc)) {
        s = error_set(err, STATUS_INVALID, "%s:%zu: not YAML", name, p.problem_mark.line + 1);
        yaml_parser_delete(&p);
        return s;
    }
    s = read_root(&r, &fresh, err);
    yaml_document_delete(&r.doc);
    yaml_parser_delete(&p);
    if (s == STATUS_OK) {
        *out = fresh;
    }
    return s;
}

enum status rules_load(const char *home, struct arena *a, struct rules *out, struct error *err)
{
    char path[4096];
    struct buf text;
    enum status s = file_join(path, sizeof path, home, RULES_FILE, err);
    if (s != STATUS_OK) {
        return s;
    }
    buf_init(&text, SETTINGS_FILE_MAX);
    s = file_read(path, &text, err);
    if (s == STATUS_OK) {
        s = rules_parse(buf_view(&text), RULES_FILE, a, out, err);
    }
    buf_deinit(&text);
    return s;
}

/* ---- judging ---- */

static void add_name(const char **list, size_t *n, const char *name)
{
    for (size_t i = 0; i < *n; i++) {
        if (strcmp(list[i], name) == 0) {
            return;
        }
    }
    if (*n < RULES_VALUES) {
        list[(*n)++] = name;
    }
}

void rules_judge(const struct rules *r, const char *tenant, struct str path, const char *collection,
                 struct verdict *out)
{
    bool readers = false;
    *out = (struct verdict){.label = ""};
    for (size_t i = 0; i < r->n; i++) {
        const struct rule *u = &r->items[i];
        if ((u->tenant != NULL && strcmp(u->tenant, tenant) != 0) ||
            (u->collection != NULL && strcmp(u->collection, collection) != 0) ||
            (u->path != NULL && !rules_match(u->path, path))) {
            continue;
        }
        for (size_t k = 0; u->has_readers && !readers && k < u->n_readers; k++) {
            add_name(out->readers, &out->n_readers, u->readers[k]);
        }
        readers = readers || u->has_readers;
        if (out->label[0] == '\0' && u->label != NULL) {
            out->label = u->label;
        }
        for (size_t k = 0; k < u->n_tags; k++) {
            add_name(out->tags, &out->n_tags, u->tags[k]);
        }
        if (!out->has_date && u->has_date) {
            out->date_ms = u->date_ms;
            out->has_date = !u->date_from_path || date_in_path(path, &out->date_ms);
        }
    }
}

void rules_closed(struct verdict *out)
{
    *out = (struct verdict){.label = "restricted"};
    out->readers[out->n_readers++] = RULES_NOBODY;
}

bool rules_readable(const struct verdict *v, const char *const *groups, size_t n_groups)
{
    for (size_t i = 0; i < v->n_readers; i++) {
        for (size_t k = 0; k < n_groups; k++) {
            if (strcmp(v->readers[i], groups[k]) == 0) {
                return true;
            }
        }
    }
    return v->n_readers == 0;
}

static void write_list(struct buf *out, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        buf_printf(out, "%s%s", i > 0 ? "," : "", list[i]);
    }
    buf_append(out, "|", 1);
}

void rules_write(const struct verdict *v, struct buf *out)
{
    if (v->n_readers == 0 && v->label[0] == '\0' && v->n_tags == 0 && !v->has_date) {
        return;
    }
    write_list(out, v->readers, v->n_readers);
    buf_printf(out, "%s|", v->label);
    write_list(out, v->tags, v->n_tags);
    if (v->has_date) {
        buf_printf(out, "%lld", (long long)v->date_ms);
    }
}
