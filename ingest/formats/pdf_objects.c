/* Where a PDF's objects are: streams, and the table of all that the file defines. */
#include "ingest/formats/pdf_objects.h"

#include <string.h>
#include <zlib.h>

#include "ingest/formats/pdf_syntax.h"

#define NUMBERS_MAX (1U << 20)
#define UNPACKED_MAX (32U << 20) /* of one object stream */
#define TRAILER_LOOK (256U << 10)

/* --- streams --- */

static struct str find(struct pdf_objects *f, struct str s, const char *what)
{
    const char *at = f->budget == 0 ? NULL : memmem(s.ptr, s.len, what, strlen(what));
    (void)pdf_pay(f, at == NULL ? s.len : (size_t)(at - s.ptr));
    return at == NULL ? (struct str){0} : (struct str){at, s.len - (size_t)(at - s.ptr)};
}

/* Where the stream behind a dictionary begins; false: there is none. */
static bool stream_start(struct pdf_objects *f, struct str dict, struct str *out)
{
    struct str s = dict;
    if (!pdf_skip_value(f, &s)) {
        return false;
    }
    pdf_skip_space(&s);
    if (!str_starts(s, STR("stream"))) {
        return false;
    }
    pdf_advance(&s, 6);
    if (s.len > 0 && s.ptr[0] == '\r') {
        pdf_advance(&s, 1);
    }
    if (s.len > 0 && s.ptr[0] == '\n') {
        pdf_advance(&s, 1);
    }
    *out = s;
    return true;
}

/* Cuts it where its /Length says, if "endstream" stands there, else at the next such word. */
static bool stream_bytes(struct pdf_objects *f, struct str dict, struct str *out)
{
    struct str s, length;
    if (!stream_start(f, dict, &s)) {
        return false;
    }
    if (pdf_get(f, dict, "Length", &length)) {
        size_t n = pdf_whole(length);
        struct str rest = {s.ptr + (n < s.len ? n : 0), n < s.len ? s.len - n : 0};
        pdf_skip_space(&rest);
        if (str_starts(rest, STR("endstream"))) {
            *out = (struct str){s.ptr, n};
            return true;
        }
    }
    struct str end = find(f, s, "endstream");
    if (end.ptr == NULL) {
        return false;
    }
    *out = (struct str){s.ptr, s.len - end.len};
    return true;
}

static bool unpack(struct pdf_objects *f, struct str s, struct buf *out)
{
    z_stream z = {0};
    union { /* zlib's input is const in all but name */
        const char *in;
        unsigned char *out;
    } u = {s.ptr};
    if (s.len > UINT32_MAX / 2 || inflateInit(&z) != Z_OK) {
        return false;
    }
    z.next_in = u.out;
    z.avail_in = (uInt)s.len;
    int r = Z_OK;
    while (r == Z_OK) {
        char *room = buf_reserve(out, 32768);
        if (room == NULL) {
            break;
        }
        z.next_out = (unsigned char *)room;
        z.avail_out = 32768;
        r = inflate(&z, Z_NO_FLUSH);
        size_t n = 32768 - z.avail_out;
        out->len += n;
        if (!pdf_pay(f, n)) {
            r = Z_MEM_ERROR;
        }
        if (r == Z_OK && n == 0 && z.avail_in == 0) {
            break;
        }
    }
    (void)inflateEnd(&z);
    return r == Z_STREAM_END;
}

bool pdf_stream(struct pdf_objects *f, struct str value, struct buf *out)
{
    struct str filter, raw, predictor, parameters, one, rest;
    if (!pdf_is_dict(value) || !stream_bytes(f, value, &raw)) {
        return false;
    }
    if (!pdf_get(f, value, "Filter", &filter)) {
        buf_str(out, raw);
        return buf_status(out) == STATUS_OK && pdf_pay(f, raw.len);
    }
    if (pdf_array(filter, &rest)) { /* of one */
        if (!pdf_next(f, &rest, &one) || pdf_next(f, &rest, &raw) ||
            !pdf_resolve(f, one, &filter)) {
            return false;
        }
    }
    float p = 1;
    if (pdf_get(f, value, "DecodeParms", &parameters) &&
        pdf_get(f, parameters, "Predictor", &predictor) && pdf_number(predictor, &p) && p > 1) {
        return false;
    }
    return (pdf_is_name(filter, "FlateDecode") || pdf_is_name(filter, "Fl")) && unpack(f, raw, out);
}

/* --- the table of objects --- */

static bool keep(struct pdf_objects *f, uint32_t number, struct str value)
{
    if (number == 0 || number >= NUMBERS_MAX) {
        return true;
    }
    if (number >= f->n) {
        uint32_t n = f->n < 1024 ? 1024 : f->n;
        while (n <= number) {
            n *= 2;
        }
        struct str *grown = arena_array(f->arena, n, sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        if (f->n > 0) {
            memcpy(grown, f->at, f->n * sizeof *grown);
        }
        f->at = grown;
        f->n = n;
    }
    f->at[number] = value;
    return true;
}

/* The objects of an object stream: "number offset" pairs, then the objects (7.5.7). */
static bool keep_packed(struct pdf_objects *f, struct str dict)
{
    struct buf text;
    struct str v;
    float first = 0, n = 0;
    bool ok = true;
    buf_init(&text, UNPACKED_MAX);
    if (pdf_get(f, dict, "First", &v) && pdf_number(v, &first) && pdf_get(f, dict, "N", &v) &&
        pdf_number(v, &n) && pdf_stream(f, dict, &text) && first >= 0 && (size_t)first < text.len) {
        const char *copy = arena_strndup(f->arena, text.ptr, text.len);
        struct str head = {copy, (size_t)first};
        for (size_t i = 0; copy != NULL && ok && i < (size_t)n; i++) {
            uint32_t pair[2];
            bool whole_pair = true;
            for (int k = 0; k < 2; k++) {
                pdf_skip_space(&head);
                size_t len = pdf_digits(head);
                whole_pair = whole_pair && len > 0;
                pair[k] = pdf_whole(head);
                pdf_advance(&head, len);
            }
            size_t at = (size_t)first + pair[1];
            if (!whole_pair) {
                break;
            }
            if (at < text.len) {
                ok = keep(f, pair[0], (struct str){copy + at, text.len - at});
            }
        }
        ok = ok && copy != NULL;
    }
    buf_deinit(&text);
    return ok;
}

static void keep_trailer(struct pdf_objects *f, struct str dict)
{
    struct str v;
    if (pdf_get_raw(f, dict, "Encrypt", &v)) {
        f->encrypted = true;
    }
    if (pdf_get_raw(f, dict, "Root", &v)) {
        f->trailer = dict;
    }
}

/* The number before "G obj" at `at`; 0: none. */
static uint32_t number_before(struct str data, size_t at)
{
    size_t i = at, from;
    for (int k = 0; k < 2; k++) {
        size_t blank = i;
        while (i > 0 && pdf_is_space(data.ptr[i - 1])) {
            i--;
        }
        from = i;
        while (i > 0 && from - i < 10 && pdf_is_digit(data.ptr[i - 1])) {
            i--;
        }
        if (from == i || (k == 1 && blank == from)) {
            return 0;
        }
    }
    return pdf_whole((struct str){data.ptr + i, data.len - i});
}

/* Looks at an object found in the file; where to look on. */
static bool visit(struct pdf_objects *f, uint32_t number, struct str value, struct str *rest)
{
    struct str v, s;
    if (!keep(f, number, value)) {
        return false;
    }
    *rest = value;
    if (!pdf_is_dict(value)) {
        return true;
    }
    s = value;
    if (!pdf_skip_value(f, &s)) {
        return true;
    }
    *rest = s;
    struct str raw;
    if (!stream_bytes(f, value, &raw)) {
        return true;
    }
    *rest = (struct str){raw.ptr + raw.len, (size_t)(value.ptr + value.len - raw.ptr) - raw.len};
    if (!pdf_get(f, value, "Type", &v)) {
        return true;
    }
    if (pdf_is_name(v, "XRef")) {
        keep_trailer(f, value);
    }
    return !pdf_is_name(v, "ObjStm") || keep_packed(f, value);
}

/* "trailer" with a /Root, from the file's end; of a linearized file it stands near the beginning.
 */
static void find_trailer(struct pdf_objects *f)
{
    size_t look = f->data.len < TRAILER_LOOK ? f->data.len : TRAILER_LOOK;
    for (size_t i = 0; i < 2 * look && f->trailer.ptr == NULL; i++) {
        size_t at = i < look ? f->data.len - 1 - i : i - look;
        struct str s = {f->data.ptr + at, f->data.len - at};
        if (s.ptr[0] == 't' && str_starts(s, STR("trailer"))) {
            pdf_advance(&s, 7);
            keep_trailer(f, s);
        }
    }
}

/* Where there is no trailer: the catalogue itself. */
static void find_root(struct pdf_objects *f)
{
    struct str v;
    if (f->trailer.ptr != NULL && pdf_get(f, f->trailer, "Root", &f->root)) {
        return;
    }
    for (uint32_t i = f->n; i-- > 0;) {
        if (f->at[i].ptr != NULL && pdf_get(f, f->at[i], "Type", &v) && pdf_is_name(v, "Catalog")) {
            f->root = pdf_begun(f->at[i]);
            return;
        }
    }
}

bool pdf_objects_open(struct pdf_objects *f, struct str data, struct arena *a)
{
    uint64_t budget = 64 * (uint64_t)data.len + (16U << 20);
    *f = (struct pdf_objects){.arena = a, .data = data};
    f->budget = budget < (UINT64_C(2) << 30) ? budget : UINT64_C(2) << 30;
    struct str rest = data;
    while (rest.len > 0 && f->budget > 0) {
        const char *hit = memmem(rest.ptr, rest.len, "obj", 3);
        if (hit == NULL) {
            break;
        }
        size_t at = (size_t)(hit - data.ptr);
        uint32_t number = number_before(data, at);
        rest = (struct str){hit + 3, data.len - at - 3};
        if (number > 0 && !visit(f, number, rest, &rest)) {
            return false;
        }
    }
    find_trailer(f);
    find_root(f);
    return f->root.ptr != NULL;
}
