/* Subtitles: WebVTT and SubRip. What is said, without times, numbers and tags, put together until
 * somebody else speaks or enough was said; who speaks stands before it, where the file tells. */
#include "ingest/formats/source.h"

#define PARAGRAPH_BYTES 600
#define SPEAKER_MAX 200

struct subtitles {
    struct emitter *e;
    struct buf text, speaker, line;
    bool cue; /* behind a line with times */
};

static void finish_paragraph(struct subtitles *t)
{
    emit_text(t->e, EX__BLOCK__KIND__PARAGRAPH, 0, buf_view(&t->text));
    buf_reset(&t->text);
}

static void set_speaker(struct subtitles *t, struct str name)
{
    name = text_trim(name);
    name.len = name.len < SPEAKER_MAX ? name.len : SPEAKER_MAX;
    if (str_eq(name, buf_view(&t->speaker))) {
        return;
    }
    finish_paragraph(t);
    buf_reset(&t->speaker);
    buf_str(&t->speaker, name);
    buf_str(&t->text, name);
    buf_z(&t->text, name.len > 0 ? ": " : "");
}

/* Without tags; "<v Name>" tells who speaks. */
static void put_line(struct subtitles *t, struct str s)
{
    buf_reset(&t->line);
    for (size_t i = 0; i < s.len; i++) {
        const char *end = s.ptr[i] == '<' ? memchr(s.ptr + i, '>', s.len - i) : NULL;
        if (s.ptr[i] == '<' && end == NULL) { /* no tag ends behind it either */
            buf_append(&t->line, s.ptr + i, s.len - i);
            break;
        }
        if (end == NULL) {
            buf_char(&t->line, s.ptr[i]);
            continue;
        }
        struct str tag = {s.ptr + i + 1, (size_t)(end - s.ptr) - i - 1};
        if (str_starts(tag, STR("v ")) || str_starts(tag, STR("v."))) {
            const char *blank = memchr(tag.ptr, ' ', tag.len);
            if (blank != NULL) {
                set_speaker(t, (struct str){blank, (size_t)(end - blank)});
            }
        }
        i = (size_t)(end - s.ptr);
    }
    struct str said = text_trim(buf_view(&t->line));
    if (said.len == 0) {
        return;
    }
    bool sentence = t->text.len > 0 && strchr(".!?", t->text.ptr[t->text.len - 1]) != NULL;
    if (t->text.len > PARAGRAPH_BYTES && sentence) {
        finish_paragraph(t);
    }
    if (t->text.len > 0 && t->text.ptr[t->text.len - 1] != ' ') {
        buf_char(&t->text, ' ');
    }
    buf_str(&t->text, said);
}

static void read_line(struct subtitles *t, struct str line)
{
    struct str s = text_trim(line);
    if (s.len == 0) {
        t->cue = false;
    } else if (memmem(s.ptr, s.len, "-->", 3) != NULL) {
        t->cue = true;
    } else if (t->cue) {
        put_line(t, s);
    } /* else a cue's number or name, a note, a style, or the file's first line */
}

enum status subtitles_extract(const struct extract_input *in, struct emitter *e, struct error *err)
{
    struct source source;
    struct str line;
    struct subtitles t = {.e = e};
    enum status s = source_open(&source, in, NULL, err);
    buf_init(&t.text, in->max_bytes);
    buf_init(&t.line, in->max_bytes);
    buf_init(&t.speaker, SPEAKER_MAX + 1);
    if (s == STATUS_OK) {
        emit_document(e, "subtitles", STR(""), STR(""), 0);
    }
    for (size_t at = 0;
         s == STATUS_OK && !emit_failed(e) && source_line(source.text, &at, &line);) {
        read_line(&t, line);
        if (buf_status(&t.text) != STATUS_OK || buf_status(&t.line) != STATUS_OK) {
            s = error_set(err, STATUS_TOO_LARGE, "it is too large for the memory allowed");
        }
    }
    if (s == STATUS_OK) {
        finish_paragraph(&t);
    }
    buf_deinit(&t.text);
    buf_deinit(&t.line);
    buf_deinit(&t.speaker);
    source_close(&source);
    return s;
}
