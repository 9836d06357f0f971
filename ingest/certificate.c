/* The certificate of an erasure: JSON that a person can read, signed over its compact form with
 * sorted keys, so that indenting it does not break the signature. */
#include <jansson.h>
#include <stdlib.h>

#include "base/clock.h"
#include "ingest/erase_files.h"

static json_t *time_json(int64_t wall_ms)
{
    char t[25];
    clock_format_utc(wall_ms, t);
    return json_string(t);
}

static json_t *item_json(const struct erasure_item *it)
{
    static const char *const sources[] = {"was not there", "deleted",
                                          "may not be deleted here; kept out by its hash",
                                          "was not there: another file lies there now, and stays",
                                          "it lay in the trash, and was deleted there"};
    char path[1024];
    char hex[SHA256_HEX_CAP] = "";
    path_show(it->path, path, sizeof path);
    if (it->has_hash) {
        sha256_hex(it->hash, hex);
    }
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:s, s:s}", "id", it->document, "path", path,
                     "sha256", hex, "bytes", (json_int_t)it->size, "chunks", (json_int_t)it->chunks,
                     "versions", (json_int_t)it->versions, "content",
                     it->content_stays ? "stays: it is stored under another path too" : "erased",
                     "source", sources[it->source]);
}

static json_t *scan_json(const struct erase_scan *scan)
{
    json_t *found = json_array();
    for (size_t i = 0; i < scan->n_residue; i++) {
        (void)json_array_append_new(found, json_string(scan->residue[i]));
    }
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:o}", "result",
                     scan->n_residue == 0 ? "nothing found" : "found", "files",
                     (json_int_t)scan->files, "bytes", (json_int_t)scan->bytes, "traces",
                     (json_int_t)scan->traces, "shared_with_other_documents",
                     (json_int_t)scan->shared, "found_in", found);
}

/* Who it was about, as whoever has the key and the identifier can check; nobody else. */
static json_t *subject_json(const struct erasure_subject *subject, size_t named_since)
{
    json_t *marks = json_array();
    json_t *kept = json_array();
    for (size_t i = 0; i < subject->n_marks; i++) {
        char hex[2 * KEYED_BYTES + 1];
        hex_encode(subject->marks[i].keyed, KEYED_BYTES, hex);
        (void)json_array_append_new(marks, json_string(hex));
    }
    for (size_t i = 0; i < subject->n_kept; i++) {
        char path[1024];
        path_show(subject->kept[i].path, path, sizeof path);
        (void)json_array_append_new(
            kept, json_pack("{s:s, s:s}", "id", subject->kept[i].document, "path", path));
    }
    return json_pack("{s:o, s:o, s:I, s:s}", "identifiers_keyed", marks, "kept_as_asked", kept,
                     "named_in_the_end_by", (json_int_t)named_since, "paths",
                     "what named the subject stands as [...]");
}

static json_t *statement(const char *tenant, const struct erasure *e,
                         const struct erasure_item *items, size_t n_items,
                         const struct erasure_place *places, size_t n_places,
                         const struct erase_scan *scan, const struct erasure_subject *subject,
                         size_t named_since)
{
    json_t *documents = json_array();
    json_t *removed = json_object();
    for (size_t i = 0; i < n_items; i++) {
        (void)json_array_append_new(documents, item_json(&items[i]));
    }
    for (size_t i = 0; i < n_places; i++) {
        (void)json_object_set_new(removed, places[i].place, json_integer(places[i].n));
    }
    json_t *out = json_pack("{s:s, s:i, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "kind",
                            "carrel erasure certificate", "version", 1, "erasure", e->id, "tenant",
                            tenant, "by", e->by, "requested", time_json(e->created_ms), "finished",
                            time_json(clock_wall_ms()), "documents", documents, "removed", removed,
                            "verification", scan_json(scan));
    if (out != NULL && subject->n_marks > 0) {
        (void)json_object_set_new(out, "subject", subject_json(subject, named_since));
    }
    return out;
}

enum status erase_certificate(const char *home, const char *tenant, const struct erasure *e,
                              const struct erasure_item *items, size_t n_items,
                              const struct erasure_place *places, size_t n_places,
                              const struct erase_scan *scan, const struct erasure_subject *subject,
                              size_t named_since, char **out, struct error *err)
{
    struct sign_key key;
    uint8_t signature[SIGN_BYTES];
    char signature_hex[2 * SIGN_BYTES + 1];
    char public_hex[2 * SIGN_PUBLIC_BYTES + 1];
    enum status s = sign_key_open(home, &key, err);
    if (s != STATUS_OK) {
        return s;
    }
    json_t *what =
        statement(tenant, e, items, n_items, places, n_places, scan, subject, named_since);
    char *text = what == NULL ? NULL : json_dumps(what, JSON_COMPACT | JSON_SORT_KEYS);
    json_t *whole = NULL;
    *out = NULL;
    if (text != NULL) {
        sign_message(&key, text, strlen(text), signature);
        hex_encode(signature, sizeof signature, signature_hex);
        hex_encode(key.public, sizeof key.public, public_hex);
        whole = json_pack("{s:O, s:s, s:s}", "certificate", what, "public_key", public_hex,
                          "signature", signature_hex);
        *out = whole == NULL ? NULL : json_dumps(whole, JSON_COMPACT | JSON_SORT_KEYS);
    }
    explicit_bzero(&key, sizeof key);
    free(text);
    json_decref(whole);
    json_decref(what);
    return *out == NULL ? error_set(err, STATUS_NO_MEMORY, "the certificate could not be written")
                        : STATUS_OK;
}
