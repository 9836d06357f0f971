#include "serve/document_json.h"

#include "serve/passage.h"

static void texts(struct jsonw *w, const char *key, char *const *list, size_t n)
{
    jsonw_key(w, key);
    jsonw_open(w, '[');
    for (size_t i = 0; i < n; i++) {
        jsonw_str(w, str_from(list[i]));
    }
    jsonw_close(w, ']');
}

void document_json(struct jsonw *w, const Ig__DocumentState *d)
{
    jsonw_open(w, '{');
    jsonw_field_z(w, "id", d->document);
    jsonw_key(w, "path");
    jsonw_path(w, str_of_bytes(d->path));
    jsonw_field_z(w, "collection", d->collection);
    jsonw_field_z(w, "state", d->state);
    jsonw_field_int(w, "chunks", d->chunks);
    jsonw_field_z(w, "error", d->error);
    jsonw_field_int(w, "size", (int64_t)d->size);
    jsonw_field_int(w, "modified", d->modified_wall_ms / 1000);
    jsonw_field_int(w, "changed", d->changed_wall_ms / 1000);
    if (d->has_attempts) {
        jsonw_field_int(w, "attempts", d->attempts);
    }
    if (d->format != NULL) {
        jsonw_field_z(w, "format", d->format);
    }
    if (d->has_pages) {
        jsonw_field_int(w, "pages", d->pages);
    }
    title_field(w, d->title, str_of_bytes(d->path));
    jsonw_field_z(w, "author", d->author == NULL ? "" : d->author);
    jsonw_field_z(w, "language", d->language == NULL ? "" : d->language);
    if (d->has_date_wall_ms) {
        day_field(w, "date", d->date_wall_ms);
    }
    if (d->has_hash) {
        hex_field(w, "hash", d->hash);
    }
    jsonw_field_z(w, "label", d->label == NULL ? "" : d->label);
    texts(w, "tags", d->tags, d->n_tags);
    if (d->has_away && d->away) {
        jsonw_field_bool(w, "away", true);
    }
    if (d->parent != NULL) {
        jsonw_field_z(w, "parent", d->parent);
    }
    if (d->reading != NULL) {
        jsonw_field_z(w, "reading", d->reading);
    }
    if (d->has_members) {
        jsonw_field_int(w, "members", d->members);
        jsonw_field_int(w, "members_done", d->members_done);
    }
    if (d->note != NULL) {
        jsonw_field_z(w, "note", d->note);
    }
    texts(w, "readers", d->readers, d->n_readers); /* ingest's list is for administrators */
    jsonw_close(w, '}');
}

void stored_document_json(struct jsonw *w, const Vs__DocumentInfo *d)
{
    jsonw_open(w, '{');
    jsonw_field_z(w, "id", d->location->document);
    jsonw_key(w, "path");
    jsonw_path(w, str_of_bytes(d->location->path));
    jsonw_field_z(w, "collection", d->location->collection);
    jsonw_field_z(w, "state", "ready");
    jsonw_field_int(w, "chunks", d->chunks);
    jsonw_field_z(w, "error", NULL);
    jsonw_field_int(w, "size", (int64_t)d->size);
    jsonw_field_int(w, "modified", d->location->modified_wall_ms / 1000);
    jsonw_field_z(w, "format", d->format);
    if (d->has_pages) {
        jsonw_field_int(w, "pages", d->pages);
    }
    title_field(w, d->title, str_of_bytes(d->location->path));
    jsonw_field_z(w, "author", d->author == NULL ? "" : d->author);
    jsonw_field_z(w, "keywords", d->keywords == NULL ? "" : d->keywords);
    jsonw_field_z(w, "language", d->language == NULL ? "" : d->language);
    if (d->has_date_ms) {
        day_field(w, "date", d->date_ms);
    }
    if (d->has_created_ms) {
        day_field(w, "document_created", d->created_ms);
    }
    if (d->has_modified_ms) {
        day_field(w, "document_modified", d->modified_ms);
    }
    hex_field(w, "hash", d->hash);
    jsonw_field_z(w, "label", d->location->label == NULL ? "" : d->location->label);
    texts(w, "tags", d->location->tags, d->location->n_tags);
    jsonw_close(w, '}');
}
