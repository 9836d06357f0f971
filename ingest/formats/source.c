#include "ingest/formats/source.h"

#include "ingest/formats/charset.h"

const char *text_charset(struct str s, const char *declared, char *out, size_t cap, size_t *bom)
{
    const char *charset = charset_guess(s, declared, out, cap, bom);
    const char *wide = *bom == 0 ? text_wide_without_mark(s) : NULL;
    return wide != NULL ? wide : charset;
}

enum status source_open(struct source *s, const struct extract_input *in, const char *declared,
                        struct error *err)
{
    char name[64];
    size_t bom = 0;
    *s = (struct source){.text = in->data};
    buf_init(&s->held, in->max_bytes);
    const char *charset = text_charset(in->data, declared, name, sizeof name, &bom);
    if (text_is_binary(in->data, charset)) {
        return error_set(err, STATUS_INVALID,
                         "it is not text: too many of its bytes are control codes");
    }
    s->text.ptr += bom;
    s->text.len -= bom;
    if (strcmp(charset, "UTF-8") == 0) {
        return STATUS_OK;
    }
    enum status st = charset_decode(s->text, charset, &s->held, err);
    s->text = buf_view(&s->held);
    return st;
}

void source_close(struct source *s)
{
    buf_deinit(&s->held);
}

bool source_line(struct str text, size_t *at, struct str *line)
{
    size_t from = *at;
    if (from >= text.len) {
        return false;
    }
    size_t i = from;
    while (i < text.len && text.ptr[i] != '\n' && text.ptr[i] != '\r') {
        i++;
    }
    *line = (struct str){text.ptr + from, i - from};
    i += i < text.len && text.ptr[i] == '\r' && i + 1 < text.len && text.ptr[i + 1] == '\n' ? 2 : 1;
    *at = i < text.len ? i : text.len;
    return true;
}

int text_hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

struct str text_trim(struct str s)
{
    while (s.len > 0 && strchr(" \t\r\n", s.ptr[0]) != NULL && s.ptr[0] != '\0') {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && strchr(" \t\r\n", s.ptr[s.len - 1]) != NULL && s.ptr[s.len - 1] != '\0') {
        s.len--;
    }
    return s;
}
