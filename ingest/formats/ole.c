/* Compound files are told apart by their streams, not by their names: what is called .doc may be a
 * workbook, and an encrypted .docx is one too. */
#include "ingest/formats/ole.h"

#include "ingest/formats/charset.h"

#define TEXT_MAX 4096U /* of the summary */
#define PROPERTIES_MAX 256U

const char *ole_charset(uint32_t codepage)
{
    static const struct {
        uint32_t page;
        const char *charset;
    } known[] = {{437, "CP437"},
                 {850, "CP850"},
                 {852, "CP852"},
                 {866, "CP866"},
                 {874, "CP874"},
                 {932, "CP932"},
                 {936, "GBK"},
                 {949, "CP949"},
                 {950, "BIG5"},
                 {1250, "WINDOWS-1250"},
                 {1251, "WINDOWS-1251"},
                 {1253, "WINDOWS-1253"},
                 {1254, "WINDOWS-1254"},
                 {1255, "WINDOWS-1255"},
                 {1256, "WINDOWS-1256"},
                 {1257, "WINDOWS-1257"},
                 {1258, "WINDOWS-1258"},
                 {10000, "MACINTOSH"},
                 {10007, "MAC-CYRILLIC"},
                 {20866, "KOI8-R"},
                 {28591, "ISO-8859-1"},
                 {28592, "ISO-8859-2"},
                 {28595, "ISO-8859-5"},
                 {28605, "ISO-8859-15"},
                 {32768, "MACINTOSH"},
                 {50220, "ISO-2022-JP"},
                 {51932, "EUC-JP"},
                 {51949, "EUC-KR"},
                 {65001, "UTF-8"}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i].page == codepage) {
            return known[i].charset;
        }
    }
    return "WINDOWS-1252";
}

const char *ole_charset_of_language(uint32_t lid)
{
    static const struct {
        uint8_t language; /* the low bits: whatever the country */
        uint16_t page;
    } known[] = {{0x01, 1256}, {0x02, 1251}, {0x05, 1250}, {0x08, 1253}, {0x0D, 1255}, {0x0E, 1250},
                 {0x11, 932},  {0x12, 949},  {0x15, 1250}, {0x18, 1250}, {0x19, 1251}, {0x1A, 1250},
                 {0x1B, 1250}, {0x1C, 1250}, {0x1E, 874},  {0x1F, 1254}, {0x20, 1256}, {0x22, 1251},
                 {0x23, 1251}, {0x24, 1250}, {0x25, 1257}, {0x26, 1257}, {0x27, 1257}, {0x29, 1256},
                 {0x2A, 1258}, {0x2F, 1251}};
    if ((lid & 0x3FF) == 0x04) {
        return ole_charset(lid == 0x0404 || lid == 0x0C04 || lid == 0x1404 ? 950 : 936);
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i].language == (lid & 0x3FF)) {
            return ole_charset(known[i].page);
        }
    }
    return "WINDOWS-1252";
}

int64_t ole_time_ms(uint64_t time)
{
    return (int64_t)(time / 10000) - 11644473600000;
}

/* A text of the summary information in its code page, in the arena; "" where it cannot be had. */
static struct str summary_text(const struct ole *o, struct str value, uint32_t codepage)
{
    struct buf text;
    struct error none = {0};
    struct str s = cut(value, 8, le32(value, 4));
    s.len = s.len > TEXT_MAX ? TEXT_MAX : s.len;
    const char *nul = s.len == 0 || codepage == 1200 ? NULL : memchr(s.ptr, '\0', s.len);
    buf_init(&text, TEXT_MAX * 4);
    if (codepage == 1200) {
        utf16_put(&text, s);
    } else {
        s.len = nul == NULL ? s.len : (size_t)(nul - s.ptr);
        if (charset_decode(s, ole_charset(codepage), &text, &none) != STATUS_OK) {
            buf_reset(&text);
        }
    }
    const char *copy = arena_strndup(o->in->arena, buf_view(&text).ptr, text.len);
    struct str out = copy == NULL ? STR("") : (struct str){copy, text.len};
    buf_deinit(&text);
    return out;
}

/* Title, author and the like in the summary information ([MS-OLEPS]); a damaged one says nothing.
 */
static enum status read_summary(struct ole *o, struct error *err)
{
    enum { CODE_PAGE = 1, TITLE, SUBJECT, AUTHOR, KEYWORDS, CREATED = 12, SAVED, PAGES };
    enum { SHORT = 2, LONG = 3, TEXT = 30, TIME = 64 };
    struct str all;
    uint32_t codepage = 1252;
    enum status s = cfb_read(&o->file, cfb_find(&o->file, 0, "\005SummaryInformation"), &all, err);
    if (s != STATUS_OK) {
        return s;
    }
    struct str set = cut(all, le32(all, 44), all.len);
    uint32_t n = le32(set, 4);
    for (uint32_t i = 0; i < n && i < PROPERTIES_MAX; i++) {
        uint32_t id = le32(set, 8 + (size_t)i * 8);
        struct str value = cut(set, le32(set, 12 + (size_t)i * 8), set.len);
        uint32_t type = le32(value, 0);
        if (id == CODE_PAGE && type == SHORT) {
            codepage = le16(value, 4);
        } else if (type == TEXT && id == TITLE) {
            o->title = summary_text(o, value, codepage);
        } else if (type == TEXT && id == AUTHOR) {
            emit_author(o->e, summary_text(o, value, codepage));
        } else if (type == TEXT && (id == KEYWORDS || id == SUBJECT)) {
            emit_keywords(o->e, summary_text(o, value, codepage));
        } else if (type == TIME && (id == CREATED || id == SAVED) && le64(value, 4) > 0) {
            emit_date_ms(o->e, id == CREATED ? EMIT_CREATED : EMIT_MODIFIED,
                         ole_time_ms(le64(value, 4)));
        } else if (type == LONG && id == PAGES) {
            o->pages = le32(value, 4) < INT32_MAX ? le32(value, 4) : 0;
        }
    }
    return STATUS_OK;
}

static enum status read_kind(struct ole *o, struct error *err)
{
    static const struct {
        const char *stream;
        enum status (*read)(struct ole *o, uint32_t stream, struct error *err);
    } kinds[] = {{"WordDocument", doc_read},
                 {"Workbook", xls_read},
                 {"Book", xls_read},
                 {"PowerPoint Document", ppt_read},
                 {"__properties_version1.0", msg_read}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        uint32_t stream = cfb_find(&o->file, 0, kinds[i].stream);
        if (stream != CFB_NONE && !o->file.entries[stream].storage) {
            return kinds[i].read(o, stream, err);
        }
    }
    if (cfb_find(&o->file, 0, "EncryptedPackage") != CFB_NONE) {
        return error_set(err, STATUS_UNSUPPORTED,
                         "the file is encrypted: save it without a password");
    }
    return error_set(err, STATUS_UNSUPPORTED,
                     "it is an Office file of a kind that is not read: neither Word, Excel, "
                     "PowerPoint of 1997 to 2003 nor a message of Outlook");
}

enum status ole_extract(const struct extract_input *in, struct emitter *e, struct error *err)
{
    struct ole o = {.in = in, .e = e, .title = STR("")};
    if (!cfb_is(in->data)) {
        return error_set(err, STATUS_INVALID,
                         "it is no file of Word, Excel or PowerPoint of 1997 to 2003, nor "
                         "Outlook's: save it anew");
    }
    enum status s = cfb_open(in->data, in->arena, &o.file, err);
    if (s == STATUS_OK) {
        s = read_summary(&o, err);
    }
    return s == STATUS_OK ? read_kind(&o, err) : s;
}
