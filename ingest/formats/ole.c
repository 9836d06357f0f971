/* Compound files are told apart by their streams, not by their names: what is called .doc may be a
 * workbook, and an encrypted .docx is one too. */
#include "ingest/formats/ole.h"

#include "ingest/formats/charset.h"

#define TITLE_MAX 4096U
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

/* The title in the summary information ([MS-OLEPS]); a damaged one is none. */
static enum status read_title(struct ole *o, struct error *err)
{
    struct str all, title = STR("");
    uint32_t codepage = 1252;
    struct buf text;
    struct error none = {0};
    enum status s = cfb_read(&o->file, cfb_find(&o->file, 0, "\005SummaryInformation"), &all, err);
    if (s != STATUS_OK) {
        return s;
    }
    struct str set = cut(all, le32(all, 44), all.len);
    uint32_t n = le32(set, 4);
    for (uint32_t i = 0; i < n && i < PROPERTIES_MAX; i++) {
        uint32_t id = le32(set, 8 + (size_t)i * 8);
        struct str value = cut(set, le32(set, 12 + (size_t)i * 8), set.len);
        if (id == 1 && le32(value, 0) == 2) {
            codepage = le16(value, 4);
        } else if (id == 2 && le32(value, 0) == 30) {
            title = cut(value, 8, le32(value, 4));
        }
    }
    title.len = title.len > TITLE_MAX ? TITLE_MAX : title.len;
    const char *nul = title.len == 0 ? NULL : memchr(title.ptr, '\0', title.len);
    buf_init(&text, TITLE_MAX * 4);
    if (codepage == 1200) {
        utf16_put(&text, title);
    } else {
        title.len = nul == NULL ? title.len : (size_t)(nul - title.ptr);
        if (charset_decode(title, ole_charset(codepage), &text, &none) != STATUS_OK) {
            buf_reset(&text);
        }
    }
    o->title = (struct str){arena_strndup(o->in->arena, buf_view(&text).ptr, text.len), text.len};
    o->title = o->title.ptr == NULL ? STR("") : o->title;
    buf_deinit(&text);
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
                 {"PowerPoint Document", ppt_read}};
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
                     "it is an Office file of a kind that is not read: neither Word, Excel nor "
                     "PowerPoint of 1997 to 2003");
}

enum status ole_extract(const struct extract_input *in, struct emitter *e, struct error *err)
{
    struct ole o = {.in = in, .e = e, .title = STR("")};
    if (!cfb_is(in->data)) {
        return error_set(
            err, STATUS_INVALID,
            "it is no file of Word, Excel or PowerPoint of 1997 to 2003: save it anew");
    }
    enum status s = cfb_open(in->data, in->arena, &o.file, err);
    if (s == STATUS_OK) {
        s = read_title(&o, err);
    }
    return s == STATUS_OK ? read_kind(&o, err) : s;
}
