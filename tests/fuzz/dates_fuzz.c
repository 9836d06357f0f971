#include <stdint.h>
#include <stdlib.h>

#include "ingest/formats/dates.h"
#include "ingest/formats/fields.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static enum status nowhere(void *data, const Ex__Piece *piece, struct error *err)
{
    (void)data, (void)piece, (void)err;
    return STATUS_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct emitter e;
    struct str s = {(const char *)data, len};
    int64_t ms;
    if (date_read(s, &ms) && (ms < INT64_C(-30700000000000) || ms > INT64_C(253500000000000))) {
        abort(); /* beyond the years 1000 to 9999 */
    }
    const char *colon = len == 0 ? NULL : memchr(data, ':', len);
    emit_init(&e, 1 << 20, nowhere, NULL);
    if (colon != NULL) {
        size_t n = (size_t)(colon - s.ptr);
        emit_field(&e, (struct str){s.ptr, n}, (struct str){colon + 1, len - n - 1});
    }
    emit_field_line(&e, s);
    emit_field(&e, STR("author"), s);
    emit_field(&e, STR("tags"), s);
    emit_document(&e, "txt", s, s, 1);
    if (e.info.author.len > 1000 || e.info.keywords.len > 1000 || e.info.title.len > 3000) {
        abort();
    }
    emit_deinit(&e);
    return 0;
}
