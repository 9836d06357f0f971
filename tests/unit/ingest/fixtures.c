#include "tests/unit/ingest/fixtures.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <zip.h>

#include <cmocka.h>

void make_pdf(const struct pdf_line *lines, size_t n, const char *title, const char *extra,
              struct buf *out)
{
    unsigned pages = 1, objects = 4;
    size_t at[64] = {0};
    for (size_t i = 0; i < n; i++) {
        pages = lines[i].page > pages ? lines[i].page : pages;
    }
    assert_true(objects + 2 * pages < 64);
    buf_init(out, 1U << 20);
    buf_z(out, "%PDF-1.4\n");
    at[1] = out->len;
    buf_z(out, "1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n");
    at[2] = out->len;
    buf_z(out, "2 0 obj\n<< /Type /Pages /Kids [");
    for (unsigned p = 0; p < pages; p++) {
        buf_printf(out, "%u 0 R ", 5 + 2 * p);
    }
    buf_printf(out, "] /Count %u >>\nendobj\n", pages);
    at[3] = out->len;
    buf_z(out, "3 0 obj\n<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>\nendobj\n");
    at[4] = out->len;
    buf_printf(out, "4 0 obj\n<< /Title (%s) >>\nendobj\n", title);
    for (unsigned p = 0; p < pages; p++) {
        struct buf text;
        buf_init(&text, 1U << 20);
        for (size_t i = 0; i < n; i++) {
            if (lines[i].page == p + 1) {
                buf_printf(&text, "BT /F1 %u Tf %u %u Td (%s) Tj ET\n", lines[i].size, lines[i].x,
                           lines[i].y, lines[i].text);
            }
        }
        at[5 + 2 * p] = out->len;
        buf_printf(
            out,
            "%u 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %u 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>\nendobj\n",
            5 + 2 * p, 6 + 2 * p);
        at[6 + 2 * p] = out->len;
        buf_printf(out, "%u 0 obj\n<< /Length %zu >>\nstream\n", 6 + 2 * p, text.len);
        buf_str(out, buf_view(&text));
        buf_z(out, "endstream\nendobj\n");
        buf_deinit(&text);
    }
    objects += 2 * pages;
    size_t xref = out->len;
    buf_printf(out, "xref\n0 %u\n0000000000 65535 f \n", objects + 1);
    for (unsigned i = 1; i <= objects; i++) {
        buf_printf(out, "%010zu 00000 n \n", at[i]);
    }
    buf_printf(out, "trailer\n<< /Size %u /Root 1 0 R /Info 4 0 R %s >>\nstartxref\n%zu\n%%%%EOF\n",
               objects + 1, extra, xref);
    assert_int_equal(buf_status(out), STATUS_OK);
}

void make_package(const struct package_part *parts, size_t n, struct buf *out)
{
    zip_error_t e;
    zip_error_init(&e);
    zip_source_t *src = zip_source_buffer_create(NULL, 0, 0, &e);
    assert_non_null(src);
    zip_source_keep(src);
    zip_t *z = zip_open_from_source(src, ZIP_CREATE | ZIP_TRUNCATE, &e);
    assert_non_null(z);
    for (size_t i = 0; i < n; i++) {
        zip_source_t *s = zip_source_buffer(z, parts[i].data.ptr, parts[i].data.len, 0);
        assert_true(zip_file_add(z, parts[i].name, s, ZIP_FL_OVERWRITE) >= 0);
    }
    assert_int_equal(zip_close(z), 0);
    buf_init(out, 64U << 20);
    assert_int_equal(zip_source_open(src), 0);
    for (zip_int64_t got;;) {
        char piece[8192];
        got = zip_source_read(src, piece, sizeof piece);
        if (got <= 0) {
            break;
        }
        buf_append(out, piece, (size_t)got);
    }
    zip_source_close(src);
    zip_source_free(src);
    zip_error_fini(&e);
    assert_int_equal(buf_status(out), STATUS_OK);
}

void make_docx(const char *const *parts, struct buf *out)
{
    struct package_part list[32];
    size_t n = 0;
    for (const char *const *p = parts; *p != NULL; p += 2) {
        assert_true(n < sizeof list / sizeof list[0]);
        list[n++] = (struct package_part){p[0], str_from(p[1])};
    }
    make_package(list, n, out);
}

void collected_init(struct collected *c)
{
    memset(c, 0, sizeof *c);
    arena_init(&c->arena, 512U << 20);
}

void collected_deinit(struct collected *c)
{
    arena_reset(&c->arena);
}

static enum status on_piece(void *data, const Ex__Piece *piece, struct error *err)
{
    struct collected *c = data;
    (void)err;
    if (piece->document != NULL) {
        c->title =
            arena_strdup(&c->arena, piece->document->title == NULL ? "" : piece->document->title);
        c->language = arena_strdup(
            &c->arena, piece->document->language == NULL ? "" : piece->document->language);
        c->author =
            arena_strdup(&c->arena, piece->document->author == NULL ? "" : piece->document->author);
        c->keywords = arena_strdup(
            &c->arena, piece->document->keywords == NULL ? "" : piece->document->keywords);
        c->pages = piece->document->pages;
        c->created_ms = piece->document->created_ms;
        c->modified_ms = piece->document->modified_ms;
    }
    for (size_t i = 0; i < piece->n_blocks; i++) {
        ProtobufCAllocator allocator;
        arena_protobuf(&c->arena, &allocator);
        size_t n = ex__block__get_packed_size(piece->blocks[i]);
        uint8_t *packed = arena_alloc(&c->arena, n);
        assert_non_null(packed);
        assert_non_null(c->title); /* the document comes first */
        assert_true(c->n < COLLECTED_MAX);
        (void)ex__block__pack(piece->blocks[i], packed);
        c->blocks[c->n] = ex__block__unpack(&allocator, n, packed);
        assert_non_null(c->blocks[c->n]);
        c->n++;
    }
    return STATUS_OK;
}

enum status collect(enum status (*extract)(const struct extract_input *in, struct emitter *e,
                                           struct error *err),
                    struct str data, const struct tool_runner *tools, struct collected *c,
                    struct error *err)
{
    struct arena scratch;
    struct emitter e;
    arena_init(&scratch, 256U << 20);
    emit_init(&e, 64U << 20, on_piece, c);
    struct extract_input in = {
        .fd = -1, .data = data, .arena = &scratch, .max_bytes = 32U << 20, .tools = tools};
    enum status s = extract(&in, &e, err);
    if (s == STATUS_OK) {
        s = emit_finish(&e, err);
    }
    emit_deinit(&e);
    arena_reset(&scratch);
    return s;
}

const char *collected_text(struct collected *c)
{
    static const char letters[] = " PHLTCKQFN";
    struct buf b;
    buf_init(&b, 64U << 20);
    for (size_t i = 0; i < c->n; i++) {
        buf_char(&b, letters[c->blocks[i]->kind]);
        if (c->blocks[i]->has_level) {
            buf_printf(&b, "%u", (unsigned)c->blocks[i]->level);
        }
        buf_printf(&b, " %.*s\n", (int)c->blocks[i]->text.len,
                   (const char *)c->blocks[i]->text.data);
    }
    const char *out = arena_strndup(&c->arena, buf_view(&b).ptr, b.len);
    buf_deinit(&b);
    assert_non_null(out);
    return out;
}
