/* Messages of Outlook ([MS-OXMSG], properties by [MS-OXPROPS]): as other mail, the subject as
 * heading, who, to whom and when, the body (plain, else the page, else the RTF), then what is
 * attached, named and as a child. A message within it is read as part of it. Texts are streams
 * named after their property; what is short stands in a stream for all. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "ingest/formats/charset.h"
#include "ingest/formats/lzfu.h"
#include "ingest/formats/mail_text.h"
#include "ingest/formats/ole.h"
#include "ingest/formats/source.h"

#define WAITING_MAX 2000U
#define LIST_MAX 1000U /* recipients, attachments */
#define NAME_CAP 400
#define FIELD_MAX (1U << 20)

enum {
    SUBJECT = 0x0037,
    SENT = 0x0039,
    SENDER_ON_BEHALF = 0x0042,
    KIND_OF_RECIPIENT = 0x0C15,
    SENDER = 0x0C1A,
    SENDER_ADDRESS = 0x0C1F,
    TO_CC = 0x0E04,
    CC = 0x0E03,
    DELIVERED = 0x0E06,
    BODY = 0x1000,
    COMPRESSED = 0x1009,
    PAGE = 0x1013,
    NAME = 0x3001,
    ADDRESS = 0x3003,
    DATA = 0x3701,
    SHORT_NAME = 0x3704,
    LONG_NAME = 0x3707,
    SMTP_ADDRESS = 0x39FE,
    INTERNET_PAGE = 0x3FDE,
    MESSAGE_PAGE = 0x3FFD,
    SENDER_SMTP = 0x5D01
};

struct msg {
    struct ole *o;
    struct {
        uint32_t storage;
        unsigned depth;
    } waiting[WAITING_MAX]; /* messages: the next one last */
    uint32_t n;
    uint32_t list[LIST_MAX]; /* of the message at hand */
    const char *charset;
    bool left_out;
};

/* ---- properties ---- */

/* One that has a stream of its own; false: there is none. */
static bool stream_of(const struct msg *m, uint32_t storage, uint32_t id, const char *type,
                      struct str *out)
{
    char name[32];
    struct error none = {0};
    (void)snprintf(name, sizeof name, "__substg1.0_%04X%s", (unsigned)id, type);
    uint32_t at = cfb_find(&m->o->file, storage, name);
    return at != CFB_NONE && !m->o->file.entries[at].storage &&
           cfb_read(&m->o->file, at, out, &none) == STATUS_OK;
}

/* Appends it as UTF-8. */
static bool put_text(const struct msg *m, uint32_t storage, uint32_t id, struct buf *out)
{
    struct str raw;
    struct error none = {0};
    size_t before = out->len;
    if (stream_of(m, storage, id, "001F", &raw)) {
        utf16_put(out, raw);
    } else if (stream_of(m, storage, id, "001E", &raw)) {
        (void)!charset_decode(raw, m->charset, out, &none);
    }
    while (out->len > before && out->ptr[out->len - 1] == '\0') {
        out->len--;
    }
    return out->len > before;
}

/* One that is a number; 0: there is none. head: of the storage's stream, before the properties. */
static uint64_t number_of(const struct msg *m, uint32_t storage, size_t head, uint32_t id)
{
    struct str all = STR("");
    struct error none = {0};
    uint32_t at = cfb_find(&m->o->file, storage, "__properties_version1.0");
    if (cfb_read(&m->o->file, at, &all, &none) != STATUS_OK) {
        return 0;
    }
    for (size_t i = head; i + 16 <= all.len; i += 16) {
        uint32_t type = le16(all, i);
        if (le16(all, i + 2) == id && (type == 0x0003 || type == 0x0040)) {
            return type == 0x0003 ? le32(all, i + 8) : le64(all, i + 8);
        }
    }
    return 0;
}

static size_t head_of(uint32_t storage)
{
    return storage == 0 ? 32 : 24;
}

/* ---- lists: "__recip_version1.0_#00000000" and so on ---- */

static int by_number(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Into m->list, in the order of their numbers; how many. */
static uint32_t list_of(struct msg *m, uint32_t storage, struct str prefix)
{
    const struct cfb *c = &m->o->file;
    uint32_t n = 0;
    struct {
        uint32_t number, entry;
    } found[LIST_MAX];
    for (uint32_t at = c->entries[storage].child; at != CFB_NONE; at = c->entries[at].next) {
        const struct cfb_entry *k = &c->entries[at];
        if (!k->storage || !str_starts(k->name, prefix)) {
            continue;
        }
        if (n == LIST_MAX) {
            m->left_out = true;
            break;
        }
        found[n].number = (uint32_t)strtoul(k->name.ptr + prefix.len, NULL, 16);
        found[n++].entry = at;
    }
    qsort(found, n, sizeof found[0], by_number);
    for (uint32_t i = 0; i < n; i++) {
        m->list[i] = found[i].entry;
    }
    return n;
}

/* ---- the head ---- */

static void put_person(const struct msg *m, uint32_t storage, uint32_t name, uint32_t smtp,
                       uint32_t address, struct buf *out)
{
    struct buf a;
    buf_init(&a, FIELD_MAX);
    bool named = put_text(m, storage, name, out);
    if (!put_text(m, storage, smtp, &a)) {
        (void)put_text(m, storage, address, &a);
    }
    /* within an organisation addresses are paths, which nobody reads */
    if (a.len > 0 && memchr(a.ptr, '@', a.len) != NULL &&
        (!named || memmem(out->ptr, out->len, a.ptr, a.len) == NULL)) {
        buf_z(out, named ? " <" : "");
        buf_str(out, buf_view(&a));
        buf_z(out, named ? ">" : "");
    }
    buf_deinit(&a);
}

static void put_line(struct buf *out, const char *label, struct str value)
{
    value = text_trim(value);
    if (value.len > 0) {
        buf_z(out, out->len > 0 ? "\n" : "");
        buf_z(out, label);
        text_squeeze(out, value, false);
    }
}

static void put_recipients(struct msg *m, uint32_t storage, uint32_t kind, uint32_t shown,
                           const char *label, struct buf *out)
{
    struct buf names;
    uint32_t n = list_of(m, storage, STR("__recip_version1.0_#"));
    buf_init(&names, FIELD_MAX);
    for (uint32_t i = 0; i < n; i++) {
        if ((number_of(m, m->list[i], 8, KIND_OF_RECIPIENT) & 0xF) == kind) {
            struct buf one;
            buf_init(&one, FIELD_MAX);
            put_person(m, m->list[i], NAME, SMTP_ADDRESS, ADDRESS, &one);
            buf_z(&names, names.len > 0 && one.len > 0 ? ", " : "");
            buf_str(&names, buf_view(&one));
            buf_deinit(&one);
        }
    }
    if (names.len == 0) {
        (void)put_text(m, storage, shown, &names);
    }
    put_line(out, label, buf_view(&names));
    buf_deinit(&names);
}

static int64_t date_of(const struct msg *m, uint32_t storage)
{
    uint64_t t = number_of(m, storage, head_of(storage), SENT);
    t = t != 0 ? t : number_of(m, storage, head_of(storage), DELIVERED);
    return t == 0 ? 0 : ole_time_ms(t);
}

static void put_date(int64_t ms, struct buf *out)
{
    char text[64];
    time_t at = (time_t)(ms / 1000);
    struct tm tm;
    if (ms != 0 && gmtime_r(&at, &tm) != NULL &&
        strftime(text, sizeof text, "Date: %a, %d %b %Y %H:%M:%S +0000", &tm) > 0) {
        buf_z(out, out->len > 0 ? "\n" : "");
        buf_z(out, text);
    }
}

static void emit_head(struct msg *m, uint32_t storage, unsigned depth)
{
    struct emitter *e = m->o->e;
    struct buf text, from;
    int64_t date = date_of(m, storage);
    buf_init(&text, FIELD_MAX);
    buf_init(&from, FIELD_MAX);
    (void)put_text(m, storage, SUBJECT, &text);
    if (depth == 0) {
        struct buf author;
        buf_init(&author, FIELD_MAX);
        (void)put_text(m, storage, SENDER, &author);
        emit_author(e, buf_view(&author));
        buf_deinit(&author);
        if (date != 0) {
            emit_date_ms(e, EMIT_CREATED, date);
        }
        emit_document(e, "msg", buf_view(&text), STR(""), 0);
        emit_unit(e, EX__BLOCK__UNIT__MESSAGE, buf_view(&text));
    }
    emit_text(e, EX__BLOCK__KIND__HEADING, depth < 5 ? depth + 1 : 6, buf_view(&text));
    buf_reset(&text);
    put_person(m, storage, SENDER, SENDER_SMTP, SENDER_ADDRESS, &from);
    if (from.len == 0) {
        (void)put_text(m, storage, SENDER_ON_BEHALF, &from);
    }
    put_line(&text, "From: ", buf_view(&from));
    put_recipients(m, storage, 1, TO_CC, "To: ", &text);
    put_recipients(m, storage, 2, CC, "Cc: ", &text);
    put_date(date, &text);
    emit_text(e, EX__BLOCK__KIND__PARAGRAPH, 0, buf_view(&text));
    buf_deinit(&from);
    buf_deinit(&text);
}

/* ---- the body ---- */

/* By a reader of another format; one without text is a body without text. */
static enum status emit_as(const struct msg *m,
                           enum status (*extract)(const struct extract_input *in, struct emitter *e,
                                                  struct error *err),
                           struct str bytes, struct error *err)
{
    struct extract_input in = *m->o->in;
    struct error e = {0};
    in.data = bytes;
    enum status s = bytes.len == 0 ? STATUS_OK : extract(&in, m->o->e, &e);
    if (s != STATUS_OK && s != STATUS_INVALID && s != STATUS_UNSUPPORTED) {
        *err = e;
        return s;
    }
    return STATUS_OK;
}

/* A page says itself in what it is written, or the message does. */
static enum status emit_page(const struct msg *m, uint32_t storage, struct str raw,
                             struct error *err)
{
    struct buf text;
    char name[64];
    size_t bom = 0;
    uint32_t page = (uint32_t)number_of(m, storage, head_of(storage), INTERNET_PAGE);
    buf_init(&text, m->o->in->max_bytes);
    const char *charset =
        charset_guess(raw, page != 0 ? ole_charset(page) : NULL, name, sizeof name, &bom);
    enum status s = charset_decode(cut(raw, bom, raw.len), charset, &text, err);
    s = s == STATUS_OK ? emit_as(m, html_extract, buf_view(&text), err) : s;
    buf_deinit(&text);
    return s;
}

static enum status emit_body(const struct msg *m, uint32_t storage, struct error *err)
{
    struct buf text;
    struct str raw;
    enum status s = STATUS_OK;
    buf_init(&text, m->o->in->max_bytes);
    (void)put_text(m, storage, BODY, &text);
    if (text_trim(buf_view(&text)).len > 0) {
        mail_emit_plain(m->o->e, buf_view(&text), false, m->o->in->max_bytes);
    } else if (stream_of(m, storage, PAGE, "0102", &raw) && raw.len > 0) {
        s = emit_page(m, storage, raw, err);
    } else if (put_text(m, storage, PAGE, &text)) {
        s = emit_as(m, html_extract, buf_view(&text), err);
    } else if (stream_of(m, storage, COMPRESSED, "0102", &raw)) {
        buf_reset(&text);
        lzfu_decode(raw, &text);
        s = emit_as(m, rtf_extract, buf_view(&text), err);
    }
    buf_deinit(&text);
    return s;
}

/* ---- what is attached ---- */

static void emit_attachment(const struct msg *m, uint32_t storage)
{
    struct buf name, line;
    struct str bytes = STR("");
    buf_init(&name, FIELD_MAX);
    buf_init(&line, FIELD_MAX);
    bool named = put_text(m, storage, LONG_NAME, &name) ||
                 put_text(m, storage, SHORT_NAME, &name) || put_text(m, storage, NAME, &name);
    name.len = name.len < NAME_CAP ? name.len : NAME_CAP;
    if (named) {
        buf_z(&line, "Attachment: ");
        buf_str(&line, buf_view(&name));
        emit_text(m->o->e, EX__BLOCK__KIND__CAPTION, 0, buf_view(&line));
    }
    if (stream_of(m, storage, DATA, "0102", &bytes) && bytes.len > 0 && named) {
        (void)emit_child(m->o->e, buf_view(&name), bytes, 0);
    }
    buf_deinit(&name);
    buf_deinit(&line);
}

static void emit_attachments(struct msg *m, uint32_t storage, unsigned depth)
{
    uint32_t n = list_of(m, storage, STR("__attach_version1.0_#"));
    for (uint32_t i = 0; i < n; i++) {
        if (cfb_find(&m->o->file, m->list[i], "__substg1.0_3701000D") == CFB_NONE) {
            emit_attachment(m, m->list[i]);
        }
    }
    for (uint32_t i = n; i > 0; i--) { /* the first one is taken first */
        uint32_t inner = cfb_find(&m->o->file, m->list[i - 1], "__substg1.0_3701000D");
        bool message = inner != CFB_NONE &&
                       cfb_find(&m->o->file, inner, "__properties_version1.0") != CFB_NONE;
        if (message && m->n < WAITING_MAX) {
            m->waiting[m->n].storage = inner;
            m->waiting[m->n++].depth = depth + 1;
        } else if (message) {
            m->left_out = true;
        }
    }
}

static enum status read_message(struct msg *m, uint32_t storage, unsigned depth, struct error *err)
{
    uint64_t page = number_of(m, storage, head_of(storage), MESSAGE_PAGE);
    m->charset = ole_charset(page == 0 ? 1252 : (uint32_t)page);
    emit_head(m, storage, depth);
    enum status s = emit_body(m, storage, err);
    if (s == STATUS_OK) {
        emit_attachments(m, storage, depth);
    }
    return s;
}

enum status msg_read(struct ole *o, uint32_t stream, struct error *err)
{
    struct msg *m = arena_alloc(o->in->arena, sizeof *m);
    enum status s = STATUS_OK;
    (void)stream;
    if (m == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    m->o = o;
    m->n = 1; /* the file's own message is its root */
    while (s == STATUS_OK && m->n > 0 && !emit_failed(o->e)) {
        m->n--;
        s = read_message(m, m->waiting[m->n].storage, m->waiting[m->n].depth, err);
    }
    if (m->left_out) {
        emit_note(o->e, "it holds more recipients, attachments or messages than are read");
    }
    return s;
}
