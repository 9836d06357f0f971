/* What the rules say of one document, and what folders and shares make of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/glob.h"
#include "base/settings/rules_internal.h"

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
            (u->path != NULL && !glob_match(u->path, path, 0))) {
            continue;
        }
        for (size_t k = 0; u->has_readers && !readers && k < u->n_readers; k++) {
            add_name(out->readers, &out->n_readers, u->readers[k]);
        }
        /* the rule that says who reads says whether the share is asked */
        out->share = out->share || (u->share && !readers);
        readers = readers || u->has_readers || u->share;
        if (out->label[0] == '\0' && u->label != NULL) {
            out->label = u->label;
        }
        for (size_t k = 0; k < u->n_tags; k++) {
            add_name(out->tags, &out->n_tags, u->tags[k]);
        }
        if (!out->has_date && u->has_date) {
            out->date_ms = u->date_ms;
            out->has_date = !u->date_from_path || rules_date_in_path(path, &out->date_ms);
        }
    }
}

unsigned rules_label_strictness(const char *label)
{
    static const char *const known[] = {"public", "internal", "confidential", "restricted"};
    const unsigned n = sizeof known / sizeof *known;
    if (label == NULL || label[0] == '\0') {
        return n + 1;
    }
    for (unsigned i = 0; i < n; i++) {
        if (strcmp(label, known[i]) == 0) {
            return i;
        }
    }
    return n;
}

void rules_share(struct verdict *v, bool everyone, const char *const *names, size_t n)
{
    struct verdict both = *v;
    both.n_readers = 0;
    for (size_t i = 0; i < n && !everyone; i++) {
        if (v->n_readers == 0 || rules_readable(v, &names[i], 1)) {
            add_name(both.readers, &both.n_readers, names[i]);
        }
    }
    if (!everyone && both.n_readers == 0) {
        add_name(both.readers, &both.n_readers, RULES_NOBODY);
    }
    if (!everyone) {
        *v = both;
    }
    v->share = false;
}

/* Are all readers of the folder among those of the verdict? */
static bool fewer_readers(const struct rule *folder, const struct verdict *v)
{
    for (size_t i = 0; i < folder->n_readers; i++) {
        bool among = v->n_readers == 0 || strcmp(folder->readers[i], RULES_NOBODY) == 0;
        for (size_t k = 0; k < v->n_readers && !among; k++) {
            among = strcmp(folder->readers[i], v->readers[k]) == 0;
        }
        if (!among) {
            return false;
        }
    }
    return folder->n_readers > 0 || v->n_readers == 0;
}

void rules_tighten(const struct rule *folder, struct str path, struct verdict *v, char *refused,
                   size_t cap)
{
    refused[0] = '\0';
    if (folder->has_readers && !fewer_readers(folder, v)) {
        (void)snprintf(refused, cap,
                       "readers: not all of them are readers by access.yaml, and a "
                       "folder can only make them fewer; the line has no effect");
    } else if (folder->has_readers) {
        v->n_readers = 0;
        for (size_t i = 0; i < folder->n_readers; i++) {
            add_name(v->readers, &v->n_readers, folder->readers[i]);
        }
    }
    if (folder->label != NULL &&
        rules_label_strictness(folder->label) < rules_label_strictness(v->label)) {
        (void)snprintf(refused, cap,
                       "label: %s lets go further than %s, which access.yaml says; the "
                       "line has no effect",
                       folder->label, v->label[0] == '\0' ? "no label" : v->label);
    } else if (folder->label != NULL) {
        v->label = folder->label;
    }
    for (size_t i = 0; i < folder->n_tags; i++) {
        add_name(v->tags, &v->n_tags, folder->tags[i]);
    }
    if (!v->has_date && folder->has_date) {
        v->date_ms = folder->date_ms;
        v->has_date = !folder->date_from_path || rules_date_in_path(path, &v->date_ms);
    }
}

void rules_closed(struct verdict *out)
{
    *out = (struct verdict){.label = "restricted"};
    out->readers[out->n_readers++] = RULES_NOBODY;
}

/* The names of one part of what rules_write wrote; false: out of memory. */
static bool read_list(struct str part, struct arena *a, const char **out, size_t *n)
{
    *n = 0;
    while (part.len > 0) {
        const char *comma = memchr(part.ptr, ',', part.len);
        size_t len = comma == NULL ? part.len : (size_t)(comma - part.ptr);
        const char *name = arena_strndup(a, part.ptr, len);
        if (name == NULL || *n == RULES_VALUES) {
            return false;
        }
        out[(*n)++] = name;
        len += comma != NULL;
        part = (struct str){part.ptr + len, part.len - len};
    }
    return true;
}

/* Its parts may also be missing: "" is a verdict that says nothing. */
static bool read_written(const char *written, struct arena *a, struct verdict *out)
{
    struct str part[4] = {{"", 0}, {"", 0}, {"", 0}, {"", 0}};
    *out = (struct verdict){.label = ""};
    for (size_t i = 0; i < 4 && *written != '\0'; i++) {
        size_t len = strcspn(written, "|");
        part[i] = (struct str){written, len};
        written += len + (written[len] == '|');
    }
    char date[24];
    (void)snprintf(date, sizeof date, "%.*s", STR_ARG(part[3]));
    out->has_date = part[3].len > 0;
    out->date_ms = strtoll(date, NULL, 10);
    out->label = part[1].len == 0 ? "" : arena_strndup(a, part[1].ptr, part[1].len);
    return out->label != NULL && read_list(part[0], a, out->readers, &out->n_readers) &&
           read_list(part[2], a, out->tags, &out->n_tags);
}

void rules_narrow(struct verdict *v, const char *written, struct arena *a)
{
    struct verdict was;
    if (!read_written(written, a, &was)) {
        rules_closed(v);
        return;
    }
    struct verdict both = *v;
    both.n_readers = 0;
    for (size_t i = 0; i < was.n_readers; i++) {
        if (v->n_readers == 0 || rules_readable(v, &was.readers[i], 1)) {
            add_name(both.readers, &both.n_readers, was.readers[i]);
        }
    }
    if (was.n_readers > 0 && both.n_readers == 0) {
        add_name(both.readers, &both.n_readers, RULES_NOBODY);
    }
    if (was.n_readers > 0) {
        *v = both;
    }
    if (rules_label_strictness(was.label) > rules_label_strictness(v->label)) {
        v->label = was.label;
    }
    for (size_t i = 0; i < was.n_tags; i++) {
        add_name(v->tags, &v->n_tags, was.tags[i]);
    }
    if (!v->has_date) {
        v->has_date = was.has_date;
        v->date_ms = was.date_ms;
    }
}

void rules_within(struct verdict *v, const struct verdict *own)
{
    struct verdict both = *v;
    both.n_readers = 0;
    for (size_t i = 0; i < own->n_readers; i++) {
        if (rules_readable(v, &own->readers[i], 1)) {
            add_name(both.readers, &both.n_readers, own->readers[i]);
        }
    }
    if (own->n_readers > 0 && both.n_readers == 0) {
        add_name(both.readers, &both.n_readers, RULES_NOBODY);
    }
    if (own->n_readers > 0) {
        *v = both;
    }
    if (own->label[0] != '\0' &&
        rules_label_strictness(own->label) > rules_label_strictness(v->label)) {
        v->label = own->label;
    }
    for (size_t i = 0; i < own->n_tags; i++) {
        add_name(v->tags, &v->n_tags, own->tags[i]);
    }
    if (own->has_date) {
        v->has_date = true;
        v->date_ms = own->date_ms;
    }
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
