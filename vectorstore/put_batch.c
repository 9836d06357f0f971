/* Batches of chunks, and where each stands in the extracted text. */
#include <string.h>
#include <unistd.h>

#include "base/text/text.h"
#include "vectorstore/put_internal.h"

#define TELLING_BYTES 200U /* of a text, for its language to be told by it */
#define WINDOW ((size_t)16 * 1024)

/* ---- the place of a chunk in the text ---- */

static void lose_text(struct put *p)
{
    p->text_lost = true;
}

/* Moves (at_point, at_byte) on to code point `to`. */
static void seek_text(struct put *p, uint64_t to)
{
    char window[WINDOW];
    if (to < p->at_point) {
        lose_text(p);
    }
    while (!p->text_lost && p->at_point < to) {
        ssize_t n = pread(p->text.fd, window, sizeof window, (off_t)p->at_byte);
        if (n <= 0) {
            lose_text(p);
            return;
        }
        size_t i = 0;
        while (i < (size_t)n && p->at_point < to) {
            i++;
            while (i < (size_t)n && ((unsigned char)window[i] & 0xc0U) == 0x80U) {
                i++;
            }
            p->at_point++;
        }
        p->at_byte += i;
        if (i == (size_t)n) { /* the window may have cut a character: its tail is skipped */
            char c;
            while (pread(p->text.fd, &c, 1, (off_t)p->at_byte) == 1 &&
                   ((unsigned char)c & 0xc0U) == 0x80U) {
                p->at_byte++;
            }
        }
    }
}

/* -1 unless the text holds exactly this at the chunk's place. */
static int64_t find_text(struct put *p, const struct stored_chunk *k)
{
    seek_text(p, k->start);
    char *there = p->text_lost ? NULL : arena_strndup(&p->batch, k->text.ptr, k->text.len);
    if (there == NULL ||
        pread(p->text.fd, there, k->text.len, (off_t)p->at_byte) != (ssize_t)k->text.len ||
        memcmp(there, k->text.ptr, k->text.len) != 0) {
        return -1;
    }
    return (int64_t)p->at_byte;
}

/* ---- batches ---- */

enum status put_settle_language(struct put *p, struct error *err)
{
    if (p->content.language[0] != '\0' || p->content.pk != 0) {
        return STATUS_OK;
    }
    char *head = arena_alloc(&p->batch, WINDOW);
    if (head == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "put: out of memory");
    }
    ssize_t n = pread(p->text.fd, head, WINDOW, 0);
    struct str sample = {.ptr = head, .len = n < 0 ? 0 : (size_t)n};
    if (sample.len == 0 && p->n_chunks > 0) {
        sample = p->chunks[0].row.text;
    }
    p->content.language = text_detect_language(p->s->writer_text, sample); /* a static string */
    /* a template's language is not its text's; but a few words may be anybody's */
    if (p->language_hint[0] != '\0' &&
        (p->content.language[0] == '\0' || sample.len < TELLING_BYTES)) {
        p->content.language = p->language_hint;
    }
    return STATUS_OK;
}

static enum status store_vectors(struct put *p, struct catalogue_state *state, int64_t content,
                                 struct error *err)
{
    int64_t n = 0;
    for (size_t i = 0; i < p->n_chunks; i++) {
        const struct put_chunk *k = &p->chunks[i];
        bool added = false;
        if (k->vector.len == 0) {
            continue;
        }
        enum status s = catalogue_vector_add(p->s->writer, p->encoder.pk, state->next_vector++,
                                             k->row.no, k->vector, &added, err);
        if (s != STATUS_OK) {
            return s;
        }
        n += added ? 1 : 0;
    }
    return n == 0 ? STATUS_OK
                  : catalogue_content_encoder_add(p->s->writer, content, p->encoder.pk, n, err);
}

/* An encoder that was retired or dropped meanwhile gets no more vectors. */
static enum status check_encoder(struct put *p, struct error *err)
{
    if (p->encoder.pk == 0) {
        return STATUS_OK;
    }
    struct encoder e;
    enum status s =
        catalogue_encoder_by_name(p->s->writer, str_from(p->encoder.name), &p->batch, &e, err);
    if (s == STATUS_NOT_FOUND || (s == STATUS_OK && e.state == ENCODER_RETIRED)) {
        for (size_t i = 0; i < p->n_chunks; i++) {
            p->chunks[i].vector = STR("");
        }
        p->encoder.pk = 0;
        s = STATUS_OK;
    }
    return s;
}

enum status put_store_batch(struct put *p, struct catalogue_state *state, int64_t pk,
                            struct error *err)
{
    if (p->n_chunks == 0) {
        return STATUS_OK;
    }
    if (state->next_chunk > (int64_t)UINT32_MAX - (int64_t)p->n_chunks) {
        return error_set(err, STATUS_TOO_LARGE,
                         "put: the store has given out all its passage numbers");
    }
    struct index_chunk *index = arena_array(&p->batch, p->n_chunks, sizeof *index);
    if (index == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "put: out of memory");
    }
    chunk_no first = (chunk_no)state->next_chunk;
    text_part_drop(p->part); /* of a batch whose transaction failed */
    p->part = NULL;
    for (size_t i = 0; i < p->n_chunks; i++) {
        struct stored_chunk *row = &p->chunks[i].row;
        row->no = (chunk_no)state->next_chunk++;
        row->content = pk;
        index[i] = (struct index_chunk){.no = row->no, .text = row->text, .heading = row->heading};
    }
    enum status s = check_encoder(p, err);
    if (s == STATUS_OK) {
        s = index_add(p->s, index, p->n_chunks, p->content.title, p->content.language, &p->part,
                      err);
    }
    for (size_t i = 0; i < p->n_chunks && s == STATUS_OK; i++) {
        struct stored_chunk *row = &p->chunks[i].row;
        row->length = index[i].length;
        row->gram_length = index[i].gram_length;
        row->byte = find_text(p, row);
        s = catalogue_chunk_add(p->s->writer, row, err);
    }
    if (s == STATUS_OK) {
        s = catalogue_span_add(p->s->writer, pk, first, (chunk_no)(first + p->n_chunks - 1), err);
    }
    return s == STATUS_OK ? store_vectors(p, state, pk, err) : s;
}

static void batch_reset(struct put *p)
{
    p->content.chunks += (uint32_t)p->n_chunks;
    p->n_chunks = 0;
    p->batch_bytes = 0;
    arena_reset(&p->batch);
}

enum status put_add_content_row(struct put *p, int64_t *pk, struct error *err)
{
    *pk = p->content.pk;
    return *pk != 0 ? STATUS_OK : catalogue_content_add(p->s->writer, &p->content, pk, err);
}

void put_publish_text(struct put *p)
{
    index_publish(p->s, p->part);
    p->part = NULL;
}

enum status put_flush_batch(struct put *p, struct error *err)
{
    struct catalogue_state state;
    int64_t pk = 0;
    enum status s = blob_flush(&p->text, err);
    if (s == STATUS_OK) {
        s = put_settle_language(p, err);
    }
    if (s == STATUS_OK) {
        s = catalogue_begin_write(p->s->writer, &state, err);
    }
    if (s == STATUS_OK) {
        s = put_add_content_row(p, &pk, err);
    }
    if (s == STATUS_OK) {
        s = put_store_batch(p, &state, pk, err);
    }
    if (s == STATUS_OK) {
        s = catalogue_commit(p->s->writer, &state, err);
    }
    catalogue_end(p->s->writer);
    if (s == STATUS_OK) {
        put_publish_text(p);
        p->content.pk = pk;
        p->flushed = true;
        batch_reset(p);
    }
    return s;
}
