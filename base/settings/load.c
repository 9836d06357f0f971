/* Reading the file: first the events are looked through (aliases, anchors, tags, depth, a second
 * document are refused; the document API would resolve them silently), then libyaml loads the
 * document, whose nodes keep their marks, and the schema table is walked beside it. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#include "base/file.h"
#include "base/settings/hours.h"
#include "base/settings/places.h"
#include "base/settings/schema.h"
#include "base/settings/signin.h"
#include "base/tessdata.h"

#define MAX_DEPTH 6
#define MAX_EVENTS 20000
#define MAX_LIST 32
#define PATIENCE_LEAST_MS 5000

struct load {
    const char *name;
    struct arena *a;
    struct settings *out;
    yaml_document_t doc;
    const char *home;
    size_t lines[SETTINGS_MAX_ROWS]; /* where each key was set; 0: not */
};

static enum status at(const char *name, size_t line, struct error *err)
{
    return error_prefix(err, "%s:%zu", name, line);
}

static enum status yaml_failed(const char *name, const yaml_parser_t *p, struct error *err)
{
    if (p->error == YAML_MEMORY_ERROR) {
        return error_set(err, STATUS_NO_MEMORY, "%s: out of memory", name);
    }
    const char *what = p->problem == NULL ? "not YAML" : p->problem;
    return error_set(err, STATUS_INVALID, "%s:%zu: %s", name, p->problem_mark.line + 1, what);
}

static const char *refused_event(const yaml_event_t *e, int depth, int documents, int events)
{
    const yaml_char_t *anchor = NULL;
    const yaml_char_t *tag = NULL;

    if (e->type == YAML_ALIAS_EVENT) {
        return "aliases (*name) are not allowed here";
    } else if (e->type == YAML_SCALAR_EVENT) {
        anchor = e->data.scalar.anchor;
        tag = e->data.scalar.tag;
    } else if (e->type == YAML_SEQUENCE_START_EVENT) {
        anchor = e->data.sequence_start.anchor;
        tag = e->data.sequence_start.tag;
    } else if (e->type == YAML_MAPPING_START_EVENT) {
        anchor = e->data.mapping_start.anchor;
        tag = e->data.mapping_start.tag;
    }
    return anchor != NULL        ? "anchors (&name) are not allowed here"
           : tag != NULL         ? "tags (!name) are not allowed here"
           : depth > MAX_DEPTH   ? "nested too deeply"
           : documents > 1       ? "a second document (---) is not allowed here"
           : events > MAX_EVENTS ? "too many entries"
                                 : NULL;
}

enum status settings_check_yaml(const char *name, struct str yaml, struct error *err)
{
    yaml_parser_t p;
    yaml_event_t e;
    enum status s = STATUS_OK;
    int depth = 0;
    int documents = 0;
    int events = 0;
    bool end = false;

    if (!yaml_parser_initialize(&p)) {
        return error_set(err, STATUS_NO_MEMORY, "%s: out of memory", name);
    }
    yaml_parser_set_input_string(&p, (const unsigned char *)yaml.ptr, yaml.len);
    while (s == STATUS_OK && !end) {
        if (!yaml_parser_parse(&p, &e)) {
            s = yaml_failed(name, &p, err);
            break;
        }
        events++;
        depth += e.type == YAML_MAPPING_START_EVENT || e.type == YAML_SEQUENCE_START_EVENT;
        depth -= e.type == YAML_MAPPING_END_EVENT || e.type == YAML_SEQUENCE_END_EVENT;
        documents += e.type == YAML_DOCUMENT_START_EVENT;
        end = e.type == YAML_STREAM_END_EVENT;
        const char *no = refused_event(&e, depth, documents, events);
        if (no != NULL) {
            s = error_set(err, STATUS_INVALID, "%s:%zu: %s", name, e.start_mark.line + 1, no);
        }
        yaml_event_delete(&e);
    }
    yaml_parser_delete(&p);
    return s;
}

static const struct setting *find_row(const char *path)
{
    for (size_t i = 0; i < settings_schema_n; i++) {
        if (strcmp(settings_schema[i].path, path) == 0) {
            return &settings_schema[i];
        }
    }
    return NULL;
}

static bool is_section(const char *path)
{
    for (size_t i = 0; i < settings_sections_n; i++) {
        if (strcmp(settings_sections[i].path, path) == 0) {
            return true;
        }
    }
    return false;
}

static struct str scalar_text(const yaml_node_t *n)
{
    return (struct str){.ptr = (const char *)n->data.scalar.value, .len = n->data.scalar.length};
}

static bool is_plain(const yaml_node_t *n)
{
    return n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static bool is_null(const yaml_node_t *n)
{
    struct str t = scalar_text(n);

    return is_plain(n) && (t.len == 0 || str_eq(t, STR("~")) || str_eq(t, STR("null")));
}

static enum status read_list(struct load *l, const struct setting *row, const yaml_node_t *n,
                             void *out, struct error *err)
{
    if (n->type != YAML_SEQUENCE_NODE) {
        return error_set(err, STATUS_INVALID, "%s: must be a list, such as [public]", row->path);
    }
    size_t count = (size_t)(n->data.sequence.items.top - n->data.sequence.items.start);
    if (count > MAX_LIST) {
        return error_set(err, STATUS_INVALID, "%s: more than %d entries", row->path, MAX_LIST);
    }
    const char **items = arena_array(l->a, count + 1, sizeof(*items));
    if (items == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "%s: out of memory", row->path);
    }
    for (size_t i = 0; i < count; i++) {
        const yaml_node_t *item = yaml_document_get_node(&l->doc, n->data.sequence.items.start[i]);
        bool text = item != NULL && item->type == YAML_SCALAR_NODE &&
                    memchr(scalar_text(item).ptr, '\0', scalar_text(item).len) == NULL;
        if (!text ||
            (row->choices != NULL && !setting_is_choice(row->choices, scalar_text(item)))) {
            return error_set(err, STATUS_INVALID, "%s: entry %zu is not %s%s", row->path, i + 1,
                             row->choices == NULL ? "text" : "one of ",
                             row->choices == NULL ? "" : row->choices);
        }
        items[i] = arena_strndup(l->a, scalar_text(item).ptr, scalar_text(item).len);
        if (items[i] == NULL) {
            return error_set(err, STATUS_NO_MEMORY, "%s: out of memory", row->path);
        }
    }
    *(struct string_list *)(void *)((char *)out + row->offset) =
        (struct string_list){.items = items, .n = count};
    return STATUS_OK;
}

static enum status read_value(struct load *l, const struct setting *row, const yaml_node_t *n,
                              void *out, struct error *err)
{
    if (row->type == SETTING_LIST) {
        return read_list(l, row, n, out, err);
    }
    if (n->type != YAML_SCALAR_NODE) {
        return error_set(err, STATUS_INVALID, "%s: must be one value (%s)", row->path,
                         setting_type_name(row->type));
    }
    if (is_null(n)) {
        return error_set(err, STATUS_INVALID, "%s: has no value: give one, or remove the line",
                         row->path);
    }
    if (row->type != SETTING_STRING && row->type != SETTING_PATH && row->type != SETTING_ENUM &&
        !is_plain(n)) {
        return error_set(err, STATUS_INVALID, "%s: must be a %s, without quotes", row->path,
                         setting_type_name(row->type));
    }
    return setting_store(row, scalar_text(n), l->home, l->a, out, err);
}

/* ---- lists of groups ---- */

static const struct setting *item_row(const struct setting_list *list, struct str key)
{
    for (size_t i = 0; i < list->n_rows; i++) {
        if (str_eq(key, str_from(list->rows[i].path))) {
            return &list->rows[i];
        }
    }
    return NULL;
}

static enum status read_item(struct load *l, const struct setting_list *list, const yaml_node_t *n,
                             char *item, struct error *err)
{
    bool seen[SETTINGS_ITEM_ROWS] = {false};
    size_t line = n->start_mark.line + 1;
    enum status s = STATUS_OK;
    if (n->type != YAML_MAPPING_NODE) {
        (void)error_set(err, STATUS_INVALID,
                        "%s: each entry is a group of lines, the first `- %s:`", list->path,
                        list->rows[0].path);
        return at(l->name, line, err);
    }
    for (size_t i = 0; i < list->n_rows && s == STATUS_OK; i++) {
        const struct setting *row = &list->rows[i];
        s = setting_store(row, str_from(row->fallback), l->home, l->a, item, err);
    }
    for (const yaml_node_pair_t *p = n->data.mapping.pairs.start;
         p < n->data.mapping.pairs.top && s == STATUS_OK; p++) {
        const yaml_node_t *key = yaml_document_get_node(&l->doc, p->key);
        struct str k = key->type == YAML_SCALAR_NODE ? scalar_text(key) : STR("?");
        const struct setting *row = item_row(list, k);
        line = key->start_mark.line + 1;
        if (row == NULL) {
            s = error_set(err, STATUS_INVALID, "%s: there is no such setting in %s",
                          k.len > 60 ? "?" : k.ptr, list->path);
        } else if (seen[row - list->rows]) {
            s = error_set(err, STATUS_INVALID, "%s: is there twice", row->path);
        } else {
            seen[row - list->rows] = true;
            s = read_value(l, row, yaml_document_get_node(&l->doc, p->value), item, err);
        }
    }
    if (s == STATUS_OK) {
        line = n->start_mark.line + 1;
        s = list->check(item, l->a, err);
    }
    if (s != STATUS_OK) {
        (void)error_prefix(err, "%s", list->path);
        return at(l->name, line, err);
    }
    return STATUS_OK;
}

static enum status read_items(struct load *l, const struct setting_list *list, const yaml_node_t *n,
                              struct error *err)
{
    size_t count = 0;
    size_t line = n->start_mark.line + 1;
    if (n->type == YAML_SCALAR_NODE && is_null(n)) {
        return STATUS_OK; /* every line is commented out */
    }
    if (n->type == YAML_SEQUENCE_NODE) {
        count = (size_t)(n->data.sequence.items.top - n->data.sequence.items.start);
    }
    if (n->type != YAML_SEQUENCE_NODE || count > list->max_items) {
        (void)error_set(err, STATUS_INVALID, "%s: must be a list of at most %zu entries",
                        list->path, list->max_items);
        return at(l->name, line, err);
    }
    char *items = arena_array(l->a, count + 1, list->item_bytes);
    if (items == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "%s: out of memory", list->path);
    }
    memset(items, 0, (count + 1) * list->item_bytes);
    for (size_t i = 0; i < count; i++) {
        const yaml_node_t *item = yaml_document_get_node(&l->doc, n->data.sequence.items.start[i]);
        char *here = items + i * list->item_bytes;
        enum status s = read_item(l, list, item, here, err);
        if (s != STATUS_OK) {
            return s;
        }
        for (size_t k = 0; k < i; k++) { /* the name is the first field */
            const char *const *a = (const char *const *)(void *)here;
            const char *const *b = (const char *const *)(void *)(items + k * list->item_bytes);
            if (strcmp(*a, *b) == 0) {
                (void)error_set(err, STATUS_INVALID, "%s: %.64s is there twice", list->path, *a);
                return at(l->name, item->start_mark.line + 1, err);
            }
        }
    }
    *(void **)(void *)((char *)l->out + list->items) = items;
    *(size_t *)(void *)((char *)l->out + list->n_items) = count;
    return STATUS_OK;
}

static const struct setting_list *find_list(const char *path)
{
    for (size_t i = 0; i < settings_lists_n; i++) {
        if (strcmp(settings_lists[i].path, path) == 0) {
            return &settings_lists[i];
        }
    }
    return NULL;
}

static enum status read_mapping(struct load *l, const char *prefix, const yaml_node_t *n, int depth,
                                struct error *err);

static enum status read_entry(struct load *l, const char *prefix, const yaml_node_t *key,
                              const yaml_node_t *value, int depth, struct error *err)
{
    char path[96];
    struct str k = key->type == YAML_SCALAR_NODE ? scalar_text(key) : STR("?");
    size_t line = key->start_mark.line + 1;
    enum status s;

    int n = snprintf(path, sizeof(path), "%s%s%.*s", prefix, *prefix == '\0' ? "" : ".",
                     k.len > 60 ? 60 : (int)k.len, k.ptr);
    const struct setting *row =
        n > 0 && (size_t)n < sizeof(path) && k.len <= 60 ? find_row(path) : NULL;
    if (row != NULL) {
        size_t *seen = &l->lines[row - settings_schema];
        if (*seen != 0) {
            s = error_set(err, STATUS_INVALID, "%s: already set on line %zu", path, *seen);
        } else {
            *seen = line;
            s = read_value(l, row, value, l->out, err);
        }
        return s == STATUS_OK ? s : at(l->name, line, err);
    }
    const struct setting_list *list = find_list(path);
    if (list != NULL) {
        return read_items(l, list, value, err);
    }
    if (!is_section(path)) {
        (void)error_set(err, STATUS_INVALID,
                        "%s: there is no such setting (`carrel config reference` lists them)",
                        path);
        return at(l->name, line, err);
    }
    if (value->type == YAML_SCALAR_NODE && is_null(value)) {
        return STATUS_OK; /* a section whose every line is commented out */
    }
    if (value->type != YAML_MAPPING_NODE) {
        (void)error_set(err, STATUS_INVALID, "%s: must hold settings of its own, one a line", path);
        return at(l->name, line, err);
    }
    return read_mapping(l, path, value, depth + 1, err);
}

static enum status read_mapping(struct load *l, const char *prefix, const yaml_node_t *n, int depth,
                                struct error *err)
{
    const yaml_node_pair_t *start = n->data.mapping.pairs.start;
    const yaml_node_pair_t *top = n->data.mapping.pairs.top;
    enum status s = STATUS_OK;

    if (depth > MAX_DEPTH) {
        return error_set(err, STATUS_INVALID, "%s: nested too deeply", l->name);
    }
    for (const yaml_node_pair_t *p = start; p < top && s == STATUS_OK; p++) {
        const yaml_node_t *key = yaml_document_get_node(&l->doc, p->key);
        const yaml_node_t *value = yaml_document_get_node(&l->doc, p->value);
        for (const yaml_node_pair_t *q = start; q < p; q++) { /* sections written twice */
            const yaml_node_t *other = yaml_document_get_node(&l->doc, q->key);
            if (key->type == YAML_SCALAR_NODE && other->type == YAML_SCALAR_NODE &&
                str_eq(scalar_text(key), scalar_text(other))) {
                (void)error_set(err, STATUS_INVALID, "%.60s: already there on line %zu",
                                (const char *)key->data.scalar.value, other->start_mark.line + 1);
                return at(l->name, key->start_mark.line + 1, err);
            }
        }
        s = read_entry(l, prefix, key, value, depth, err);
    }
    return s;
}

static bool is_localhost(const char *listen)
{
    return strcmp(listen, "127.0.0.1") == 0 || strcmp(listen, "::1") == 0 ||
           strcmp(listen, "localhost") == 0;
}

/* What no single row can say. The key named is the one whose line is shown. */
static enum status check_together(const struct settings *s, const char **key, struct error *err)
{
    *key = "http.listen";
    if (!is_localhost(s->http.listen) && s->http.tls_certificate[0] == '\0' &&
        !s->http.allow_plain_http_beyond_localhost) {
        return error_set(
            err, STATUS_INVALID,
            "http.listen: %.60s is not this machine itself: set http.tls_certificate and "
            "tls_key, or allow_plain_http_beyond_localhost",
            s->http.listen);
    }
    *key = "http.tls_certificate";
    if ((s->http.tls_certificate[0] == '\0') != (s->http.tls_key[0] == '\0')) {
        return error_set(err, STATUS_INVALID, "http: tls_certificate and tls_key go together");
    }
    *key = "rpc.transport";
    if (strcmp(s->rpc.transport, "tls") == 0 &&
        (s->rpc.tls_ca[0] == '\0' || s->rpc.tls_certificate[0] == '\0')) {
        return error_set(err, STATUS_INVALID,
                         "rpc.transport: tls needs rpc.tls_ca and rpc.tls_certificate");
    }
    *key = "chunk.target_words";
    if (s->chunk.target_words > s->chunk.max_words) {
        return error_set(err, STATUS_INVALID, "chunk.target_words: is more than chunk.max_words");
    }
    *key = "chunk.overlap_words";
    if (s->chunk.overlap_words >= s->chunk.target_words) {
        return error_set(err, STATUS_INVALID,
                         "chunk.overlap_words: must be less than chunk.target_words");
    }
    *key = "collections";
    for (size_t i = 0; i < s->n_collections; i++) {
        struct chunk_sizes c;
        settings_chunk(s, s->collections[i].name, &c);
        if (c.overlap_words >= c.target_words || c.target_words > c.max_words) {
            return error_set(err, STATUS_INVALID,
                             "collections: %.60s: a chunk's overlap must be less than its target, "
                             "and that at most its maximum (%lld, %lld, %lld words)",
                             s->collections[i].name, (long long)c.overlap_words,
                             (long long)c.target_words, (long long)c.max_words);
        }
    }
    *key = "ingest.backlog_hours";
    struct hours hours;
    if (!hours_parse(str_from(s->ingest.backlog_hours), &hours)) {
        return error_set(err, STATUS_INVALID,
                         "ingest.backlog_hours: must be two times of the day such as 22:00-06:00");
    }
    *key = "ocr.languages";
    if (!tessdata_valid(s->ocr.languages)) {
        return error_set(err, STATUS_INVALID,
                         "ocr.languages: must be auto or names of languages joined by +, such as "
                         "deu+eng");
    }
    *key = "supervisor.patience";
    if (s->supervisor.patience_ms != 0 && s->supervisor.patience_ms < PATIENCE_LEAST_MS) {
        return error_set(err, STATUS_INVALID,
                         "supervisor.patience: must be at least 5s, or 0s for ever: a service "
                         "beats once a second, and later on a loaded machine");
    }
    *key = "http.trusted_proxies";
    if (settings_check_proxies(s, err) != STATUS_OK) {
        return err->code;
    }
    *key = "webhooks.allow";
    if (settings_check_webhooks(s, err) != STATUS_OK) {
        return err->code;
    }
    if (settings_check_signin(s, key, err) != STATUS_OK) {
        return err->code;
    }
    *key = "generate.engine";
    if (strcmp(s->generate.engine, "upstream") == 0 && s->generate.upstream.url[0] == '\0') {
        return error_set(err, STATUS_INVALID,
                         "generate.engine: upstream needs generate.upstream.url");
    }
    *key = "generate.upstream.url";
    const char *url = s->generate.upstream.url;
    if (url[0] != '\0' && strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0) {
        return error_set(err, STATUS_INVALID,
                         "generate.upstream.url: must start with https:// or http://");
    }
    if (url[0] != '\0' && s->generate.upstream.model[0] == '\0') {
        return error_set(err, STATUS_INVALID,
                         "generate.upstream.url: needs generate.upstream.model too");
    }
    return STATUS_OK;
}

static enum status set_defaults(const char *home, struct arena *a, struct settings *out,
                                struct error *err)
{
    enum status s = STATUS_OK;

    *out = (struct settings){0};
    out->home = arena_strdup(a, home);
    if (out->home == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "settings: out of memory");
    }
    for (size_t i = 0; i < settings_schema_n && s == STATUS_OK; i++) {
        s = setting_store(&settings_schema[i], str_from(settings_schema[i].fallback), home, a, out,
                          err);
    }
    return s;
}

enum status settings_parse(const char *home, struct str yaml, const char *name, struct arena *a,
                           struct settings *out, struct error *err)
{
    struct settings fresh;
    struct load l = {.name = name, .a = a, .out = &fresh, .home = home};
    struct error own = {0};
    yaml_parser_t p;
    const char *key = NULL;
    enum status s;

    if (err == NULL) {
        err = &own;
    }
    if (yaml.len > SETTINGS_FILE_MAX) {
        return error_set(err, STATUS_TOO_LARGE, "%s: larger than %zu bytes", name,
                         SETTINGS_FILE_MAX);
    }
    s = set_defaults(home, a, &fresh, err);
    if (s == STATUS_OK) {
        s = settings_check_yaml(name, yaml, err);
    }
    if (s != STATUS_OK) {
        return s;
    }
    if (!yaml_parser_initialize(&p)) {
        return error_set(err, STATUS_NO_MEMORY, "%s: out of memory", name);
    }
    yaml_parser_set_input_string(&p, (const unsigned char *)yaml.ptr, yaml.len);
    if (!yaml_parser_load(&p, &l.doc)) {
        s = yaml_failed(name, &p, err);
        yaml_parser_delete(&p);
        return s;
    }
    const yaml_node_t *root = yaml_document_get_root_node(&l.doc);
    if (root != NULL && root->type == YAML_MAPPING_NODE) {
        s = read_mapping(&l, "", root, 0, err);
    } else if (root != NULL && !(root->type == YAML_SCALAR_NODE && is_null(root))) {
        s = error_set(err, STATUS_INVALID,
                      "%s:%zu: must be settings, one a line, such as `log_level: info`", name,
                      root->start_mark.line + 1);
    }
    if (s == STATUS_OK) {
        s = check_together(&fresh, &key, err);
        if (s != STATUS_OK) {
            const struct setting *row = find_row(key);
            size_t line = row == NULL ? 0 : l.lines[row - settings_schema];
            s = line == 0 ? error_prefix(err, "%s", name) : at(name, line, err);
        }
    }
    yaml_document_delete(&l.doc);
    yaml_parser_delete(&p);
    if (s == STATUS_OK) {
        *out = fresh;
    }
    return s;
}

enum status settings_load(const char *home, struct arena *a, struct settings *out,
                          struct error *err)
{
    char path[4096];
    struct buf text;

    enum status s = file_join(path, sizeof(path), home, "carrel.yaml", err);
    if (s != STATUS_OK) {
        return s;
    }
    buf_init(&text, SETTINGS_FILE_MAX);
    if (access(path, F_OK) == 0) {
        s = file_read(path, &text, err);
    }
    if (s == STATUS_OK) {
        s = settings_parse(home, buf_view(&text), path, a, out, err);
    }
    buf_deinit(&text);
    return s;
}
