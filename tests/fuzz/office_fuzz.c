/* Office formats. An archive goes to the reader that its flags choose. Where it is none,
 * the first byte chooses the reader, and what follows, cut at 0xFF, are the parts of a
 * package made here, so that the readers of XML are reached without guessing at checksums. */
#include <string.h>
#include <zip.h>

#include "tests/fuzz/format_fuzz.h"

#define PARTS_MAX 8U

typedef enum status (*extract_fn)(const struct extract_input *in, struct emitter *e,
                                  struct error *err);

static const struct {
    extract_fn extract;
    const char *names[PARTS_MAX + 1];
} formats[] = {
    {xlsx_extract,
     {"xl/workbook.xml", "xl/_rels/workbook.xml.rels", "xl/sharedStrings.xml", "xl/styles.xml",
      "xl/s.xml", "xl/_rels/s.xml.rels", "xl/c.xml", "xl/d.xml"}},
    {pptx_extract,
     {"ppt/presentation.xml", "ppt/_rels/presentation.xml.rels", "ppt/s.xml",
      "ppt/_rels/s.xml.rels", "ppt/n.xml", "ppt/c.xml"}},
    {odf_extract, {"content.xml", "styles.xml", "meta.xml", "META-INF/manifest.xml"}},
    {epub_extract,
     {"a.opf", "META-INF/container.xml", "META-INF/encryption.xml", "a.html", "b.html"}},
    {xlsx_extract, /* .xlsb, where its relationships say so */
     {"xl/workbook.bin", "_rels/.rels", "xl/_rels/workbook.bin.rels", "xl/s.bin", "xl/t.bin"}},
    {docx_extract,
     {"word/document.xml", "word/styles.xml", "word/numbering.xml", "word/comments.xml",
      "word/_rels/document.xml.rels", "word/header1.xml", "word/footnotes.xml"}},
};

/* Stored, so that it is quick. */
static zip_t *add_parts(zip_source_t *src, const char *const *names, struct str rest,
                        zip_error_t *ze)
{
    zip_t *z = zip_open_from_source(src, ZIP_CREATE | ZIP_TRUNCATE, ze);
    for (size_t i = 0; z != NULL && names[i] != NULL && i < PARTS_MAX; i++) {
        const char *cut = rest.len == 0 ? NULL : memchr(rest.ptr, 0xFF, rest.len);
        size_t n = cut == NULL ? rest.len : (size_t)(cut - rest.ptr);
        zip_source_t *part = zip_source_buffer(z, rest.ptr, n, 0);
        zip_int64_t at = part == NULL ? -1 : zip_file_add(z, names[i], part, 0);
        if (at < 0) {
            zip_source_free(part);
            break;
        }
        (void)zip_set_file_compression(z, (zip_uint64_t)at, ZIP_CM_STORE, 0);
        rest.ptr += n;
        rest.len -= n;
        if (rest.len == 0) {
            break;
        }
        rest.ptr++;
        rest.len--;
    }
    return z;
}

static void make(const char *const *names, struct str rest, struct buf *out)
{
    zip_error_t ze;
    zip_error_init(&ze);
    zip_source_t *src = zip_source_buffer_create(NULL, 0, 0, &ze);
    zip_source_keep(src);
    zip_t *z = add_parts(src, names, rest, &ze);
    if (z != NULL && zip_close(z) == 0 && zip_source_open(src) == 0) {
        char piece[8192];
        zip_int64_t n;
        while ((n = zip_source_read(src, piece, sizeof piece)) > 0) {
            buf_append(out, piece, (size_t)n);
        }
        (void)zip_source_close(src);
    } else if (z != NULL) {
        zip_discard(z);
    }
    zip_source_free(src);
    zip_error_fini(&ze);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const size_t n = sizeof formats / sizeof formats[0];
    struct buf b;
    if (len < 2) {
        return 0;
    }
    if (data[0] == '<') {
        return fuzz_format(odf_extract, data, len, NULL); /* a flat file */
    }
    if (len > 6 && data[0] == 'P' && data[1] == 'K') {
        return fuzz_format(formats[data[6] % n].extract, data, len, NULL);
    }
    buf_init(&b, 16U << 20);
    make(formats[data[0] % n].names, (struct str){(const char *)data + 1, len - 1}, &b);
    if (b.len > 0) {
        (void)fuzz_format(formats[data[0] % n].extract, (const uint8_t *)b.ptr, b.len, NULL);
    }
    buf_deinit(&b);
    return 0;
}
