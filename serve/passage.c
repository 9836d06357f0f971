#include "serve/passage.h"

#include <time.h>

void hex_field(struct jsonw *w, const char *key, ProtobufCBinaryData bytes)
{
    static const char digits[] = "0123456789abcdef";
    char text[129];
    size_t n = bytes.len < 64 ? bytes.len : 64;
    for (size_t i = 0; i < n; i++) {
        text[2 * i] = digits[bytes.data[i] >> 4];
        text[2 * i + 1] = digits[bytes.data[i] & 15];
    }
    text[2 * n] = '\0';
    jsonw_field_z(w, key, text);
}

void title_field(struct jsonw *w, const char *title, struct str path)
{
    size_t at = path.len;
    if (title != NULL && title[0] != '\0') {
        jsonw_field_z(w, "title", title);
        return;
    }
    while (at > 0 && path.ptr[at - 1] != '/') {
        at--;
    }
    jsonw_key(w, "title");
    jsonw_path(w, (struct str){path.ptr + at, path.len - at});
}

void day_field(struct jsonw *w, const char *key, int64_t ms)
{
    char text[32];
    struct tm utc;
    time_t t = (time_t)(ms / 1000 - (ms % 1000 < 0 ? 1 : 0));
    if (gmtime_r(&t, &utc) != NULL && strftime(text, sizeof text, "%Y-%m-%d", &utc) == 10) {
        jsonw_field_z(w, key, text);
    }
}

static void boxes(struct jsonw *w, const Vs__Passage *p)
{
    jsonw_key(w, "boxes");
    jsonw_open(w, '[');
    for (size_t i = 0; i < p->n_boxes; i++) {
        const Vs__Box *b = p->boxes[i];
        jsonw_open(w, '{');
        jsonw_field_int(w, "page", b->page);
        jsonw_field_double(w, "x0", (double)b->x0);
        jsonw_field_double(w, "y0", (double)b->y0);
        jsonw_field_double(w, "x1", (double)b->x1);
        jsonw_field_double(w, "y1", (double)b->y1);
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
}

void passage_fields(struct jsonw *w, const Vs__Passage *p, uint32_t page)
{
    jsonw_key(w, "document");
    jsonw_open(w, '{');
    jsonw_field_z(w, "id", p->document);
    jsonw_key(w, "path");
    jsonw_path(w, str_of_bytes(p->path));
    title_field(w, p->title, str_of_bytes(p->path));
    jsonw_field_z(w, "collection", p->collection);
    jsonw_field_z(w, "format", p->format);
    jsonw_field_z(w, "author", p->author == NULL ? "" : p->author);
    jsonw_field_z(w, "language", p->language == NULL ? "" : p->language);
    if (p->has_date_ms) {
        day_field(w, "date", p->date_ms);
    }
    if (p->has_pages) {
        jsonw_field_int(w, "pages", p->pages);
    }
    jsonw_close(w, '}');
    if (p->has_page && p->page > 0) {
        jsonw_field_int(w, "page", page > 0 ? page : p->page);
        if (p->has_page_end && p->page_end > p->page) {
            jsonw_field_int(w, "page_end", p->page_end);
        }
    } else {
        jsonw_field_z(w, "page", NULL);
    }
    if (p->unit != NULL && p->unit[0] != '\0') {
        jsonw_field_z(w, "unit", p->unit);
    }
    jsonw_field_z(w, "heading_path", p->heading_path);
    if (p->context != NULL && p->context[0] != '\0') {
        jsonw_field_z(w, "context", p->context);
    }
    jsonw_field_str(w, "text", str_of_bytes(p->text));
    jsonw_field_int(w, "start", p->start);
    jsonw_field_int(w, "end", p->end);
    hex_field(w, "hash", p->hash);
    if (p->n_boxes > 0) {
        boxes(w, p);
    }
}

void passage_named(struct jsonw *w, int64_t number, const Vs__Passage *p)
{
    jsonw_open(w, '{');
    jsonw_field_int(w, "number", number);
    jsonw_field_z(w, "document", p->document);
    hex_field(w, "passage", p->chunk);
    hex_field(w, "hash", p->hash);
    jsonw_field_z(w, "label", p->label);
    jsonw_close(w, '}');
}
