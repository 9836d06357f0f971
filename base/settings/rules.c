
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#include "base/file.h"
#include "base/glob.h"
#include "base/settings/rules_internal.h"
#include "base/settings/schema.h"

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

bool rules_date_in_path(struct str path, int64_t *ms)
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
        enum status s = read_text(r, value, "path", GLOB_MAX, &rule->path, err);
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
    if (str_eq(k, STR("rights"))) {
        rule->share = str_eq(text_of(value), STR("share"));
        return rule->share
                   ? STATUS_OK
                   : wrong(r, value, err,
                           "rights: must be `share`: readers are those whom the share lets read");
    }
    if (str_eq(k, STR("label"))) {
        struct str t = text_of(value);
        return t.ptr == NULL || !setting_is_choice(LABELS, t)
                   ? wrong(r, value, err,
                           "label: must be public, internal, confidential or restricted")
                   : read_text(r, value, "label", 32, &rule->label, err);
    }
    return wrong(r, key, err,
                 "a rule has path, collection, tenant, readers, rights, label, tags and date; this "
                 "is none of them");
}

/* Does a pair before p have the same key? */
static bool said_before(struct reading *r, const yaml_node_t *n, const yaml_node_pair_t *p)
{
    struct str key = text_of(yaml_document_get_node(&r->doc, p->key));
    for (const yaml_node_pair_t *q = n->data.mapping.pairs.start; q < p; q++) {
        if (str_eq(key, text_of(yaml_document_get_node(&r->doc, q->key)))) {
            return true;
        }
    }
    return false;
}

static enum status read_rule(struct reading *r, const yaml_node_t *n, struct rule *rule,
                             struct error *err)
{
    *rule = (struct rule){.line = n->start_mark.line + 1};
    if (n->type != YAML_MAPPING_NODE) {
        return wrong(r, n, err, "a rule is a group of lines such as `- path: hr/**`");
    }
    enum status s = STATUS_OK;
    for (const yaml_node_pair_t *p = n->data.mapping.pairs.start;
         p < n->data.mapping.pairs.top && s == STATUS_OK; p++) {
        const yaml_node_t *key = yaml_document_get_node(&r->doc, p->key);
        if (said_before(r, n, p)) {
            return wrong(r, key, err, "this rule says that twice");
        }
        s = read_entry(r, key, yaml_document_get_node(&r->doc, p->value), rule, err);
    }
    if (s == STATUS_OK && rule->path == NULL && rule->collection == NULL && rule->tenant == NULL) {
        s = wrong(r, n, err,
                  "a rule names a path, a collection or a tenant (everything: path: **)");
    }
    if (s == STATUS_OK && !rule->has_readers && !rule->share && rule->label == NULL &&
        rule->n_tags == 0 && !rule->has_date) {
        s = wrong(r, n, err, "a rule gives readers, rights, a label, tags or a date");
    }
    return s;
}

static enum status read_list(struct reading *r, const yaml_node_t *list, struct rules *out,
                             struct error *err)
{
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
        out->any_share = out->any_share || out->items[out->n].share;
    }
    return s;
}

/* ---- whom a share means ---- */

static bool whole_number(struct str t, uint32_t *out)
{
    uint64_t n = 0;
    for (size_t i = 0; i < t.len && i < 11; i++) {
        if (t.ptr[i] < '0' || t.ptr[i] > '9') {
            return false;
        }
        n = n * 10 + (uint64_t)(t.ptr[i] - '0');
    }
    *out = (uint32_t)n;
    return t.len > 0 && t.len < 11 && n < UINT32_MAX;
}

static bool is_sid(struct str t)
{
    for (size_t i = 0; i < t.len; i++) {
        if (i > 0 && t.ptr[i] != '-' && (t.ptr[i] < '0' || t.ptr[i] > '9')) {
            return false;
        }
    }
    return str_starts(t, STR("S-1-"));
}

/* One of gid, uid, sid and nfs. */
static enum status read_known_as(struct reading *r, struct str key, const yaml_node_t *value,
                                 struct rules_group *g, struct error *err)
{
    static const char *const keys[] = {"gid", "uid", "sid", "nfs"};
    struct str t = text_of(value);
    for (int i = 0; i < 4; i++) {
        if (!str_eq(key, str_from(keys[i]))) {
            continue;
        }
        g->by = (enum rules_known_as)(i + 1);
        bool good = g->by == KNOWN_BY_GID || g->by == KNOWN_BY_UID ? whole_number(t, &g->id)
                    : g->by == KNOWN_BY_SID                        ? is_sid(t)
                                                                   : t.len > 0;
        return good ? read_text(r, value, keys[i], 190, &g->text, err)
                    : wrong(r, value, err,
                            "gid and uid are numbers, sid is like S-1-5-21-1-2-3-1105, nfs like "
                            "hr@example.org");
    }
    return wrong(r, value, err, "a group has a name, and one of gid, uid, sid and nfs");
}

static enum status read_group(struct reading *r, const yaml_node_t *n, struct rules_group *g,
                              struct error *err)
{
    *g = (struct rules_group){.name = NULL};
    if (n->type != YAML_MAPPING_NODE ||
        n->data.mapping.pairs.top - n->data.mapping.pairs.start != 2) {
        return wrong(r, n, err, "a group is a line such as `- {name: hr, gid: 1005}`");
    }
    enum status s = STATUS_OK;
    for (const yaml_node_pair_t *p = n->data.mapping.pairs.start;
         p < n->data.mapping.pairs.top && s == STATUS_OK; p++) {
        const yaml_node_t *value = yaml_document_get_node(&r->doc, p->value);
        struct str key = text_of(yaml_document_get_node(&r->doc, p->key));
        if (str_eq(key, STR("name"))) {
            s = rules_group_valid(text_of(value))
                    ? read_text(r, value, "name", 64, &g->name, err)
                    : wrong(r, value, err, "name: must be a group of keys");
        } else {
            s = read_known_as(r, key, value, g, err);
        }
    }
    return s == STATUS_OK && (g->name == NULL || g->by == KNOWN_BY_NOTHING)
               ? wrong(r, n, err, "a group has a name, and one of gid, uid, sid and nfs")
               : s;
}

static enum status read_groups(struct reading *r, const yaml_node_t *list, struct rules *out,
                               struct error *err)
{
    size_t n = list->type == YAML_SEQUENCE_NODE
                   ? (size_t)(list->data.sequence.items.top - list->data.sequence.items.start)
                   : RULES_GROUPS_MAX + 1;
    if (n > RULES_GROUPS_MAX) {
        return wrong(r, list, err, "groups: must be a list of at most 4096 groups");
    }
    out->groups = arena_array(r->a, n + 1, sizeof *out->groups);
    if (out->groups == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "%s: out of memory", r->name);
    }
    enum status s = STATUS_OK;
    for (out->n_groups = 0; out->n_groups < n && s == STATUS_OK; out->n_groups++) {
        const yaml_node_t *item =
            yaml_document_get_node(&r->doc, list->data.sequence.items.start[out->n_groups]);
        s = read_group(r, item, &out->groups[out->n_groups], err);
    }
    return s;
}

static enum status read_root(struct reading *r, struct rules *out, struct error *err)
{
    const yaml_node_t *root = yaml_document_get_root_node(&r->doc);
    const yaml_node_t *list = NULL;
    const yaml_node_t *groups = NULL;
    if (root == NULL) {
        return error_set(err, STATUS_INVALID, "%s:1: is empty; without rules it says `access: []`",
                         r->name);
    }
    bool known = root->type == YAML_MAPPING_NODE;
    for (const yaml_node_pair_t *p = known ? root->data.mapping.pairs.start : NULL;
         known && p < root->data.mapping.pairs.top; p++) {
        struct str key = text_of(yaml_document_get_node(&r->doc, p->key));
        const yaml_node_t *value = yaml_document_get_node(&r->doc, p->value);
        if (str_eq(key, STR("access")) && list == NULL) {
            list = value;
        } else if (str_eq(key, STR("groups")) && groups == NULL) {
            groups = value;
        } else {
            known = false;
        }
    }
    if (!known || list == NULL || list->type != YAML_SEQUENCE_NODE) {
        return wrong(r, root, err,
                     "must be `access:` and a list of rules below it, and perhaps `groups:`");
    }
    enum status s = groups == NULL ? STATUS_OK : read_groups(r, groups, out, err);
    return s == STATUS_OK ? read_list(r, list, out, err) : s;
}

/* r->doc is the caller's to delete. */
static enum status load_yaml(struct reading *r, struct str yaml, struct error *err)
{
    yaml_parser_t p;
    yaml.ptr = yaml.ptr == NULL ? "" : yaml.ptr;
    if (yaml.len > SETTINGS_FILE_MAX) {
        return error_set(err, STATUS_TOO_LARGE, "%s: larger than %zu bytes", r->name,
                         SETTINGS_FILE_MAX);
    }
    enum status s = settings_check_yaml(r->name, yaml, err);
    if (s != STATUS_OK) {
        return s;
    }
    if (!yaml_parser_initialize(&p)) {
        return error_set(err, STATUS_NO_MEMORY, "%s: out of memory", r->name);
    }
    yaml_parser_set_input_string(&p, (const unsigned char *)yaml.ptr, yaml.len);
    if (!yaml_parser_load(&p, &r->doc)) {
        s = error_set(err, STATUS_INVALID, "%s:%zu: not YAML", r->name, p.problem_mark.line + 1);
    }
    yaml_parser_delete(&p);
    return s;
}

enum status rules_parse(struct str yaml, const char *name, struct arena *a, struct rules *out,
                        struct error *err)
{
    struct reading r = {.name = name, .a = a};
    struct rules fresh = {0};
    enum status s = load_yaml(&r, yaml, err);
    if (s != STATUS_OK) {
        return s;
    }
    s = read_root(&r, &fresh, err);
    yaml_document_delete(&r.doc);
    if (s == STATUS_OK) {
        *out = fresh;
    }
    return s;
}

static enum status read_folder(struct reading *r, struct folder_rule *out, struct error *err)
{
    const yaml_node_t *root = yaml_document_get_root_node(&r->doc);
    if (root == NULL) {
        return STATUS_OK; /* says nothing */
    }
    if (root->type != YAML_MAPPING_NODE) {
        return wrong(r, root, err, "lines such as `language: de` or `label: confidential`");
    }
    enum status s = STATUS_OK;
    for (const yaml_node_pair_t *p = root->data.mapping.pairs.start;
         p < root->data.mapping.pairs.top && s == STATUS_OK; p++) {
        const yaml_node_t *key = yaml_document_get_node(&r->doc, p->key);
        const yaml_node_t *value = yaml_document_get_node(&r->doc, p->value);
        struct str k = text_of(key);
        if (said_before(r, root, p)) {
            s = wrong(r, key, err, "this file says that twice");
        } else if (str_eq(k, STR("language"))) {
            struct str t = text_of(value);
            bool two = t.len == 2 && t.ptr[0] >= 'a' && t.ptr[0] <= 'z' && t.ptr[1] >= 'a' &&
                       t.ptr[1] <= 'z';
            s = two ? read_text(r, value, "language", 2, &out->language, err)
                    : wrong(r, value, err, "language: must be two letters such as de (ISO 639-1)");
        } else if (str_eq(k, STR("readers")) || str_eq(k, STR("label")) || str_eq(k, STR("tags")) ||
                   str_eq(k, STR("date"))) {
            s = read_entry(r, key, value, &out->rule, err);
        } else {
            s = wrong(
                r, key, err,
                "a folder says language, readers, label, tags and date; this is none of them");
        }
    }
    return s;
}

enum status rules_parse_folder(struct str yaml, const char *name, struct arena *a,
                               struct folder_rule *out, struct error *err)
{
    struct reading r = {.name = name, .a = a};
    struct folder_rule fresh = {0};
    enum status s = load_yaml(&r, yaml, err);
    if (s != STATUS_OK) {
        return s;
    }
    s = read_folder(&r, &fresh, err);
    yaml_document_delete(&r.doc);
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
