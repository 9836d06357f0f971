#include "ingest/formats/ocr_words.h"

#include <stdbool.h>
#include <stdlib.h>

#include "ingest/utf8.h"

#define COLUMNS 12
#define LEVEL_PICTURE 1
#define LEVEL_WORD 5
#define PIXELS_MAX 100000.0F

enum column { LEVEL, PAGE, BLOCK, PARAGRAPH, LINE, WORD, LEFT, TOP, WIDTH, HEIGHT, CONFIDENCE };

void ocr_words_init(struct ocr_words *w, struct arena *a)
{
    *w = (struct ocr_words){.arena = a};
    buf_init(&w->row, OCR_ROW_MAX);
}

void ocr_words_deinit(struct ocr_words *w)
{
    buf_deinit(&w->row);
}

static bool number(struct str s, float *out)
{
    char text[24];
    if (s.len == 0 || s.len >= sizeof text) {
        return false;
    }
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    char *end = NULL;
    float v = strtof(text, &end);
    if (*end != '\0' || !(v >= -1.0F && v <= PIXELS_MAX)) { /* false for NaN too */
        return false;
    }
    *out = v;
    return true;
}

static float within(float v, float most)
{
    return v < 0 ? 0 : v > most ? most : v;
}

static struct ocr_word *room_for_one(struct ocr_words *w)
{
    if (w->n == w->cap) {
        size_t cap = w->cap == 0 ? 512 : w->cap * 2;
        struct ocr_word *grown = arena_array(w->arena, cap, sizeof *grown);
        if (grown == NULL) {
            return NULL;
        }
        if (w->n > 0) {
            memcpy(grown, w->list, w->n * sizeof *grown);
        }
        w->list = grown;
        w->cap = cap;
    }
    return &w->list[w->n];
}

static enum status keep_word(struct ocr_words *w, const float *v, struct str text,
                             struct error *err)
{
    struct buf clean;
    struct buf squeezed;
    enum status s = STATUS_OK;
    buf_init(&clean, 3 * OCR_ROW_MAX);
    utf8_clean(&clean, text);
    buf_init(&squeezed, 3 * OCR_ROW_MAX);
    struct str c = buf_view(&clean);
    for (size_t i = 0; i < c.len;) { /* a word has no white space */
        size_t n;
        uint32_t point = utf8_next(c.ptr + i, c.ptr + c.len, &n);
        if (!utf8_is_space(point)) {
            buf_append(&squeezed, c.ptr + i, n);
        }
        i += n;
    }
    struct str word = buf_view(&squeezed);
    if (buf_status(&clean) != STATUS_OK || buf_status(&squeezed) != STATUS_OK) {
        s = error_set(err, STATUS_NO_MEMORY, "out of memory");
    } else if (word.len > 0) {
        struct ocr_word *out = w->n < OCR_WORDS_MAX ? room_for_one(w) : NULL;
        char *kept = out == NULL ? NULL : arena_strndup(w->arena, word.ptr, word.len);
        if (kept == NULL) {
            s = error_set(err, STATUS_TOO_LARGE, "the page has more words than can be held");
        } else {
            float width = w->width > 0 ? w->width : PIXELS_MAX;
            float height = w->height > 0 ? w->height : PIXELS_MAX;
            *out = (struct ocr_word){
                .block = (uint32_t)within(v[BLOCK], PIXELS_MAX),
                .paragraph = (uint32_t)within(v[PARAGRAPH], PIXELS_MAX),
                .line = (uint32_t)within(v[LINE], PIXELS_MAX),
                .x0 = within(v[LEFT], width),
                .y0 = within(v[TOP], height),
                .x1 = within(v[LEFT] + within(v[WIDTH], PIXELS_MAX), width),
                .y1 = within(v[TOP] + within(v[HEIGHT], PIXELS_MAX), height),
                .confidence = within(v[CONFIDENCE], 100),
                .text = {kept, word.len},
            };
            w->n++;
        }
    }
    buf_deinit(&clean);
    buf_deinit(&squeezed);
    return s;
}

static enum status take_row(struct ocr_words *w, struct str row, struct error *err)
{
    float v[COLUMNS - 1];
    for (size_t i = 0; i < COLUMNS - 1; i++) {
        const char *tab = row.len == 0 ? NULL : memchr(row.ptr, '\t', row.len);
        if (tab == NULL || !number((struct str){row.ptr, (size_t)(tab - row.ptr)}, &v[i])) {
            return STATUS_OK;
        }
        row.len -= (size_t)(tab + 1 - row.ptr);
        row.ptr = tab + 1;
    }
    if (v[LEVEL] == LEVEL_PICTURE) {
        w->width = within(v[WIDTH], PIXELS_MAX);
        w->height = within(v[HEIGHT], PIXELS_MAX);
    }
    return v[LEVEL] == LEVEL_WORD ? keep_word(w, v, row, err) : STATUS_OK;
}

enum status ocr_words_feed(struct ocr_words *w, struct str piece, struct error *err)
{
    enum status s = STATUS_OK;
    while (piece.len > 0 && s == STATUS_OK) {
        const char *end = memchr(piece.ptr, '\n', piece.len);
        size_t n = end == NULL ? piece.len : (size_t)(end - piece.ptr);
        buf_append(&w->row, piece.ptr, n);
        if (buf_status(&w->row) != STATUS_OK) {
            return error_set(err, STATUS_INVALID, "the reader of pictures gave a malformed answer");
        }
        if (end != NULL) {
            s = take_row(w, buf_view(&w->row), err);
            buf_reset(&w->row);
            n++;
        }
        piece.ptr += n;
        piece.len -= n;
    }
    return s;
}

enum status ocr_words_end(struct ocr_words *w, struct error *err)
{
    enum status s = take_row(w, buf_view(&w->row), err);
    buf_reset(&w->row);
    return s;
}
