/* Mail: one message (RFC 5322 with MIME) or a mailbox of them (mbox). A message is a heading with
 * its subject, a paragraph of who, to whom and when, and its body; of alternatives the plain one.
 * Lines that quote are quotes, so that an answer is found by what it says. What is attached is
 * named and goes out as a child; a message forwarded within a message is read as part of it, one
 * attached to it is a child.
 *
 * Parts wait on a list and are taken one by one: how deep they are nested costs no stack. */
#include <stdio.h>
#include <strings.h>

#include "ingest/formats/charset.h"
#include "ingest/formats/fields.h"
#include "ingest/formats/mail_text.h"
#include "ingest/formats/mime.h"
#include "ingest/formats/source.h"

#define DEPTH_MAX 100
#define WAITING_MAX 2000
#define CHILDREN_MAX 1000
#define BOUNDARY_CAP 256
#define TYPE_CAP 128
#define NAME_CAP 512

struct part {
    struct str bytes; /* header and body */
    unsigned depth;
    bool message; /* its header is a message's */
};

struct mail {
    const struct extract_input *in;
    struct emitter *e;
    struct part *waiting; /* a stack: the next one last */
    size_t n;
    bool too_deep;
    struct str children[CHILDREN_MAX];
};

static bool is(const char *type, const char *start)
{
    return strncasecmp(type, start, strlen(start)) == 0;
}

static void push(struct mail *m, struct str bytes, unsigned depth, bool message)
{
    if (m->n == WAITING_MAX || depth > DEPTH_MAX) {
        m->too_deep = true;
        return;
    }
    m->waiting[m->n++] = (struct part){.bytes = bytes, .depth = depth, .message = message};
}

/* ---- text ---- */

static enum status emit_body(struct mail *m, struct str raw, struct str content_type,
                             const char *type, const char *encoding, struct error *err)
{
    struct buf bytes;
    struct buf text;
    char declared[64] = "";
    char name[64];
    char format[16] = "";
    size_t bom = 0;
    buf_init(&bytes, m->in->max_bytes);
    buf_init(&text, m->in->max_bytes);
    mime_decode(raw, encoding, &bytes);
    (void)mime_parameter(content_type, "charset", declared, sizeof declared);
    (void)mime_parameter(content_type, "format", format, sizeof format);
    struct str view = buf_view(&bytes);
    const char *charset =
        charset_guess(view, declared[0] != '\0' ? declared : NULL, name, sizeof name, &bom);
    view.ptr += bom;
    view.len -= bom;
    enum status s = buf_status(&bytes) != STATUS_OK
                        ? error_set(err, STATUS_TOO_LARGE, "the message is too large")
                        : charset_decode(view, charset, &text, err);
    if (s == STATUS_OK && text.len > 0 && is(type, "text/html")) {
        struct extract_input page = *m->in;
        struct error ignored;
        page.data = buf_view(&text);
        s = html_extract(&page, m->e, &ignored);
        if (s != STATUS_OK &&
            s != STATUS_INVALID) { /* a page without text is a part without text */
            *err = ignored;
        } else {
            s = STATUS_OK;
        }
    } else if (s == STATUS_OK && text.len > 0) {
        mail_emit_plain(m->e, buf_view(&text), strcasecmp(format, "flowed") == 0, m->in->max_bytes);
    }
    buf_deinit(&bytes);
    buf_deinit(&text);
    return s;
}

/* ---- parts ---- */

/* Those between the lines "--boundary"; what comes before the first and after the last is none. */
static size_t divide(struct mail *m, struct str body, const char *boundary)
{
    struct str line;
    size_t n = 0;
    size_t len = strlen(boundary);
    const char *from = NULL;
    for (size_t at = 0; at < body.len && n < CHILDREN_MAX;) {
        size_t start = at;
        (void)source_line(body, &at, &line);
        if (line.len < len + 2 || memcmp(line.ptr, "--", 2) != 0 ||
            memcmp(line.ptr + 2, boundary, len) != 0) {
            continue;
        }
        struct str rest = text_trim((struct str){line.ptr + 2 + len, line.len - 2 - len});
        bool last = str_eq(rest, STR("--"));
        if (rest.len > 0 && !last) {
            continue;
        }
        if (from != NULL) {
            m->children[n++] = (struct str){from, (size_t)(body.ptr + start - from)};
        }
        from = last ? NULL : body.ptr + at;
        if (last) {
            break;
        }
    }
    if (from != NULL && n < CHILDREN_MAX) { /* the end is missing */
        m->children[n++] = (struct str){from, (size_t)(body.ptr + body.len - from)};
    }
    return n;
}

static void type_of(struct str bytes, char type[TYPE_CAP])
{
    struct str header = {bytes.ptr, mime_header_end(bytes)};
    mime_token(mime_field(header, "Content-Type"), type, TYPE_CAP);
}

static bool has_text(struct str bytes)
{
    size_t at = mime_header_end(bytes);
    return text_trim((struct str){bytes.ptr + at, bytes.len - at}).len > 0;
}

/* Of the same in several forms: the plain text, else the last that can be read. */
static size_t choose(const struct mail *m, size_t n)
{
    size_t chosen = 0;
    char type[TYPE_CAP];
    for (size_t i = 0; i < n; i++) {
        type_of(m->children[i], type);
        if ((type[0] == '\0' || is(type, "text/plain")) && has_text(m->children[i])) {
            return i;
        }
        chosen = is(type, "text/") || is(type, "multipart/") ? i : chosen;
    }
    return chosen;
}

static void push_parts(struct mail *m, const struct part *p, struct str body, const char *type,
                       const char *boundary)
{
    size_t n = divide(m, body, boundary);
    if (n == 0) {
        return;
    }
    if (is(type, "multipart/alternative")) {
        push(m, m->children[choose(m, n)], p->depth + 1, false);
        return;
    }
    for (size_t i = n; i > 0; i--) { /* the first one is taken first */
        push(m, m->children[i - 1], p->depth + 1, false);
    }
}

static bool file_name(struct str content_type, struct str disposition, char name[NAME_CAP])
{
    name[0] = '\0';
    return (mime_parameter(disposition, "filename", name, NAME_CAP) ||
            mime_parameter(content_type, "name", name, NAME_CAP)) &&
           name[0] != '\0';
}

/* What is attached is named in the message's text and goes out as a document of its own. One
 * without a name is taken where it was attached, not where it is a picture of the layout. */
static void emit_attachment(struct mail *m, struct str raw, const char *encoding, const char *type,
                            struct str content_type, struct str disposition)
{
    char name[NAME_CAP];
    char line[NAME_CAP + 32];
    struct buf bytes;
    bool named = file_name(content_type, disposition, name);
    if (named) {
        int n = snprintf(line, sizeof line, "Attachment: %s", name);
        emit_text(m->e, EX__BLOCK__KIND__CAPTION, 0, (struct str){line, (size_t)n});
    } else if (is(type, "message/")) {
        (void)snprintf(name, sizeof name, "message.eml");
    } else {
        return;
    }
    buf_init(&bytes, m->in->data.len + 1);
    mime_decode(raw, encoding, &bytes);
    if (buf_status(&bytes) != STATUS_OK) {
        emit_note(m->e, "the attachment %.100s was left out: it needs too much memory", name);
    } else if (bytes.len > 0) {
        (void)emit_child(m->e, str_from(name), buf_view(&bytes), 0);
    }
    buf_deinit(&bytes);
}

static void put_field(struct str header, const char *name, struct buf *out)
{
    struct str value = mime_field(header, name);
    if (value.len > 0) {
        buf_z(out, out->len > 0 ? "\n" : "");
        buf_z(out, name);
        buf_z(out, ": ");
        struct buf text;
        buf_init(&text, (size_t)1 << 20);
        mime_decode_words(value, &text);
        text_squeeze(out, buf_view(&text), false);
        buf_deinit(&text);
    }
}

static void emit_header(struct mail *m, struct str header, unsigned depth, const char *format)
{
    static const char *const shown[] = {"From", "To", "Cc", "Date"};
    struct buf text;
    buf_init(&text, (size_t)1 << 20);
    mime_decode_words(mime_field(header, "Subject"), &text);
    if (depth == 0 && strcmp(format, "mbox") != 0) { /* of a mailbox nobody is the author */
        struct buf from;
        buf_init(&from, (size_t)1 << 20);
        mime_decode_words(mime_field(header, "From"), &from);
        emit_author(m->e, field_person(buf_view(&from)));
        emit_date(m->e, EMIT_CREATED, mime_field(header, "Date"));
        buf_deinit(&from);
    }
    emit_document(m->e, format, buf_view(&text), STR(""), 0);
    if (depth == 0) {
        emit_unit(m->e, EX__BLOCK__UNIT__MESSAGE, buf_view(&text));
    }
    emit_text(m->e, EX__BLOCK__KIND__HEADING, depth < 5 ? depth + 1 : 6, buf_view(&text));
    buf_reset(&text);
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++) {
        put_field(header, shown[i], &text);
    }
    emit_text(m->e, EX__BLOCK__KIND__PARAGRAPH, 0, buf_view(&text));
    buf_deinit(&text);
}

static enum status read_part(struct mail *m, const struct part *p, const char *format,
                             struct error *err)
{
    char type[TYPE_CAP];
    char kind[TYPE_CAP];
    char encoding[64];
    char boundary[BOUNDARY_CAP];
    size_t at = mime_header_end(p->bytes);
    struct str header = {p->bytes.ptr, at};
    struct str body = {p->bytes.ptr + at, p->bytes.len - at};
    struct str content_type = mime_field(header, "Content-Type");
    struct str disposition = mime_field(header, "Content-Disposition");
    mime_token(content_type, type, sizeof type);
    mime_token(disposition, kind, sizeof kind);
    mime_token(mime_field(header, "Content-Transfer-Encoding"), encoding, sizeof encoding);
    if (p->message) {
        emit_header(m, header, p->depth, format);
    }
    if (is(type, "multipart/") &&
        mime_parameter(content_type, "boundary", boundary, sizeof boundary) &&
        boundary[0] != '\0') {
        push_parts(m, p, body, type, boundary);
        return STATUS_OK;
    }
    if (is(type, "message/rfc822") && !is(kind, "attachment")) {
        push(m, body, p->depth + 1, true);
        return STATUS_OK;
    }
    bool text = type[0] == '\0' || is(type, "text/plain") || is(type, "text/html") ||
                is(type, "text/enriched") || strchr(type, '/') == NULL || is(type, "multipart/");
    if (!text || is(kind, "attachment")) {
        emit_attachment(m, body, encoding, type, content_type, disposition);
        return STATUS_OK;
    }
    return emit_body(m, body, content_type, type, encoding, err);
}

static enum status read_message(struct mail *m, struct str bytes, const char *format,
                                struct error *err)
{
    enum status s = STATUS_OK;
    m->n = 0;
    push(m, bytes, 0, true);
    while (s == STATUS_OK && m->n > 0 && !emit_failed(m->e)) {
        struct part p = m->waiting[--m->n];
        s = read_part(m, &p, format, err);
    }
    return s;
}

/* ---- files ---- */

static enum status start(struct mail *m, const struct extract_input *in, struct emitter *e,
                         struct error *err)
{
    m->waiting = arena_array(in->arena, WAITING_MAX, sizeof *m->waiting);
    m->in = in;
    m->e = e;
    m->n = 0;
    m->too_deep = false;
    return m->waiting == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
}

static enum status finish(const struct mail *m, enum status s, struct error *err)
{
    if (s == STATUS_OK && m->too_deep && m->e->blocks_out == 0) {
        return error_set(err, STATUS_TOO_LARGE, "its parts are nested deeper than %d", DEPTH_MAX);
    }
    return s;
}

/* A file that was saved as UTF-16 is text first; else each part says what its bytes are. */
static enum status open_bytes(struct source *source, const struct extract_input *in,
                              struct str *bytes, struct error *err)
{
    const char *p = in->data.ptr;
    size_t n = in->data.len;
    bool wide = n > 3 && ((p[0] == '\0' || p[1] == '\0') ||
                          ((unsigned char)p[0] == 0xFF && (unsigned char)p[1] == 0xFE) ||
                          ((unsigned char)p[0] == 0xFE && (unsigned char)p[1] == 0xFF));
    *source = (struct source){.text = in->data};
    buf_init(&source->held, in->max_bytes);
    *bytes = in->data;
    if (wide) {
        enum status s = source_open(source, in, NULL, err);
        *bytes = source->text;
        return s;
    }
    if (n >= 3 && memcmp(p, "\xEF\xBB\xBF", 3) == 0) {
        *bytes = (struct str){p + 3, n - 3};
    }
    return STATUS_OK;
}

/* Some header's lines at the beginning: else it is no mail. */
static bool looks_like_mail(struct str bytes)
{
    struct str header = {bytes.ptr, mime_header_end(bytes)};
    static const char *const known[] = {"From",         "To",         "Subject",    "Date",
                                        "Received",     "Cc",         "Sender",     "MIME-Version",
                                        "Content-Type", "Message-ID", "Return-Path"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (mime_field(header, known[i]).len > 0) {
            return true;
        }
    }
    return false;
}

enum status eml_extract(const struct extract_input *in, struct emitter *e, struct error *err)
{
    struct source source;
    struct str bytes;
    struct mail *m = arena_alloc(in->arena, sizeof *m);
    enum status s = open_bytes(&source, in, &bytes, err);
    if (s == STATUS_OK) {
        s = m == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : start(m, in, e, err);
    }
    if (s == STATUS_OK && !looks_like_mail(bytes)) {
        s = error_set(err, STATUS_INVALID, "it has no header of a mail");
    }
    if (s == STATUS_OK) {
        s = finish(m, read_message(m, bytes, "eml", err), err);
    }
    source_close(&source);
    return s;
}

/* "From " at a line's beginning, at the file's or behind an empty line, begins a message. */
static bool next_message(struct str bytes, size_t *at, struct str *message)
{
    struct str line;
    size_t from = *at;
    bool empty = true;
    size_t begun = 0;
    bool inside = false;
    while (from < bytes.len) {
        size_t start = from;
        (void)source_line(bytes, &from, &line);
        if (empty && str_starts(line, STR("From "))) {
            if (inside) {
                *message = (struct str){bytes.ptr + begun, start - begun};
                *at = start;
                return true;
            }
            inside = true;
            begun = from;
        }
        empty = line.len == 0;
    }
    *at = bytes.len;
    *message = (struct str){bytes.ptr + begun, bytes.len - begun};
    return inside && message->len > 0;
}

enum status mbox_extract(const struct extract_input *in, struct emitter *e, struct error *err)
{
    struct source source;
    struct str bytes;
    struct str message;
    struct mail *m = arena_alloc(in->arena, sizeof *m);
    enum status s = open_bytes(&source, in, &bytes, err);
    if (s == STATUS_OK) {
        s = m == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : start(m, in, e, err);
    }
    if (s == STATUS_OK && !str_starts(bytes, STR("From "))) {
        s = looks_like_mail(bytes) ? read_message(m, bytes, "mbox", err)
                                   : error_set(err, STATUS_INVALID, "it has no header of a mail");
        source_close(&source);
        return s == STATUS_OK ? finish(m, s, err) : s;
    }
    emit_document(e, "mbox", STR(""), STR(""), 0);
    for (size_t at = 0; s == STATUS_OK && !emit_failed(e) && next_message(bytes, &at, &message);) {
        s = read_message(m, message, "mbox", err);
    }
    s = s == STATUS_OK ? finish(m, s, err) : s;
    source_close(&source);
    return s;
}
