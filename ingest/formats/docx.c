/* Word files: libzip gives the parts, libxml2's SAX parser reads them as they unpack, so that
 * neither a part nor a tree is ever held whole. Read are the core properties (title), the styles
 * (which are headings, lists, code), the document and its notes. Bytes are counted as declared and
 * as they really come. */
#include <libxml/parser.h>
#include <stdlib.h>
#include <zip.h>

#include "ingest/formats/docx_xml.h"
#include "ingest/formats/format.h"

#define RATIO_MAX 400                 /* unpacked to packed; honest XML stays under 50 */
#define SMALL_PART (8U * 1024 * 1024) /* under which the ratio does not matter */

static enum status read_failure(struct error *err)
{
    return error_set(err, STATUS_INVALID,
                     "the Word file is damaged: a part of it cannot be unpacked");
}

/* One part through the parser. A part that is not there is no error. */
static enum status read_part(zip_t *z, const char *name, uint64_t *budget, struct docx_reader *r,
                             bool *found, struct error *err)
{
    zip_stat_t st;
    zip_file_t *f = NULL;
    enum status s = STATUS_OK;
    *found = zip_stat(z, name, 0, &st) == 0;
    if (!*found) {
        return STATUS_OK;
    }
    if ((st.valid & ZIP_STAT_ENCRYPTION_METHOD) != 0 && st.encryption_method != ZIP_EM_NONE) {
        return error_set(err, STATUS_UNSUPPORTED,
                         "the Word file is encrypted: save it without a password");
    }
    if ((st.valid & ZIP_STAT_SIZE) != 0 &&
        (st.size > *budget || (st.size > SMALL_PART && (st.valid & ZIP_STAT_COMP_SIZE) != 0 &&
                               st.size / RATIO_MAX > st.comp_size))) {
        return error_set(err, STATUS_TOO_LARGE, "it unpacks to %llu MB, which is too much",
                         (unsigned long long)(st.size >> 20));
    }
    f = zip_fopen(z, name, 0);
    if (f == NULL) {
        return read_failure(err);
    }
    char piece[16384];
    uint64_t real = 0;
    s = docx_reader_begin(r, err);
    while (s == STATUS_OK) {
        zip_int64_t n = zip_fread(f, piece, sizeof piece);
        if (n < 0) {
            s = read_failure(err);
        } else if (n == 0) {
            break;
        } else {
            real += (uint64_t)n;
            if (real > *budget) {
                s = error_set(err, STATUS_TOO_LARGE, "it unpacks to more than %llu MB",
                              (unsigned long long)(*budget >> 20));
            } else {
                s = docx_reader_feed(r, (struct str){piece, (size_t)n}, err);
            }
        }
    }
    s = docx_reader_end(r, s, err);
    *budget -= real < *budget ? real : *budget;
    zip_fclose(f);
    return s;
}

static enum status read_parts(zip_t *z, const struct extract_input *in, struct emitter *e,
                              struct error *err)
{
    static const struct {
        const char *name;
        enum docx_part part;
    } parts[] = {{"docProps/core.xml", DOCX_CORE},
                 {"word/styles.xml", DOCX_STYLES},
                 {"word/document.xml", DOCX_BODY},
                 {"word/footnotes.xml", DOCX_NOTES},
                 {"word/endnotes.xml", DOCX_NOTES}};
    struct docx_reader *r = docx_reader_new(in->arena, e);
    uint64_t budget = in->max_bytes;
    enum status s = STATUS_OK;
    if (r == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < sizeof parts / sizeof parts[0] && s == STATUS_OK && !emit_failed(e);
         i++) {
        bool found;
        docx_reader_part(r, parts[i].part);
        s = read_part(z, parts[i].name, &budget, r, &found, err);
        if (s == STATUS_OK && !found && parts[i].part == DOCX_BODY) {
            s = error_set(err, STATUS_INVALID, "it is no Word file: word/document.xml is missing");
        }
        /* properties and styles are a help, not a need */
        if (s == STATUS_INVALID && parts[i].part != DOCX_BODY && docx_reader_harmless(r)) {
            s = STATUS_OK;
        }
    }
    docx_reader_free(r);
    return s;
}

enum status docx_extract(const struct extract_input *in, struct emitter *e, struct error *err)
{
    if (str_starts(in->data, STR("\xD0\xCF\x11\xE0"))) {
        return error_set(
            err, STATUS_UNSUPPORTED,
            "it is an encrypted or an old Word file: save it as .docx without a password");
    }
    if (!str_starts(in->data, STR("PK"))) {
        return error_set(err, STATUS_INVALID, "it is named .docx but is no Word file");
    }
    zip_error_t ze;
    zip_error_init(&ze);
    zip_t *z = NULL;
    zip_source_t *src = zip_source_buffer_create(in->data.ptr, in->data.len, 0, &ze);
    enum status s = STATUS_OK;
    if (src != NULL) {
        z = zip_open_from_source(src, ZIP_RDONLY, &ze);
    }
    if (z == NULL) {
        if (src != NULL) {
            zip_source_free(src);
        }
        s = error_set(err, STATUS_INVALID,
                      "the Word file is damaged: its directory cannot be read");
    } else {
        s = read_parts(z, in, e, err);
        zip_discard(z);
    }
    zip_error_fini(&ze);
    return s;
}
