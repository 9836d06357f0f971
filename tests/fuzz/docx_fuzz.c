/* The whole path where the input is an archive; else the input is one XML part, so that the parser
 * of Word's XML is reached without guessing at checksums. */
#include <stdlib.h>

#include "ingest/formats/docx_xml.h"
#include "tests/fuzz/format_fuzz.h"

static enum status one_part(const struct extract_input *in, struct emitter *e, struct error *err)
{
    struct docx_reader *r = docx_reader_new(in->arena, e);
    if (r == NULL || in->data.len == 0) {
        docx_reader_free(r);
        return STATUS_OK;
    }
    docx_reader_part(r, (enum docx_part)((unsigned char)in->data.ptr[0] % 4));
    enum status s = docx_reader_begin(r, err);
    if (s == STATUS_OK) {
        s = docx_reader_feed(r, (struct str){in->data.ptr + 1, in->data.len - 1}, err);
    }
    s = docx_reader_end(r, s, err);
    docx_reader_free(r);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    bool archive = len > 2 && data[0] == 'P' && data[1] == 'K';
    return fuzz_format(archive ? docx_extract : one_part, data, len, NULL);
}
