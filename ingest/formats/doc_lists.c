#include "ingest/formats/doc_lists.h"

#include "ingest/formats/octets.h"
#include "ingest/utf8.h"

#define SCHEME 28U /* bytes */
#define LEVEL 28U  /* before its properties and text */
#define LIST 16U
#define LISTS_MAX 4096U
#define TEXT_MAX 256U /* of a level's text */

static enum numbering_format format_of(uint32_t code)
{
    static const struct {
        uint8_t code, format;
    } known[] = {{0, NUMBERING_DECIMAL},      {1, NUMBERING_UPPER_ROMAN},
                 {2, NUMBERING_LOWER_ROMAN},  {3, NUMBERING_UPPER_LETTER},
                 {4, NUMBERING_LOWER_LETTER}, {22, NUMBERING_ZERO},
                 {23, NUMBERING_BULLET},      {255, NUMBERING_NONE}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i].code == code) {
            return (enum numbering_format)known[i].format;
        }
    }
    return NUMBERING_DECIMAL;
}

/* The level at *at, *at behind it; its text has the levels' places as characters of that number. */
static void read_level(struct numbering *n, struct str s, size_t *at, struct numbering_level *l)
{
    size_t text_at = *at + LEVEL + le8(s, *at + 24) + le8(s, *at + 25);
    uint32_t len = le16(s, text_at);
    struct str wide = cut(s, text_at + 2, (size_t)len * 2);
    struct buf text;
    buf_init(&text, TEXT_MAX * 4);
    for (size_t i = 0; i + 2 <= wide.len && i / 2 < TEXT_MAX; i += 2) {
        uint32_t c = le16(wide, i);
        if (c < NUMBERING_LEVELS) {
            buf_printf(&text, "%%%u", (unsigned)c + 1);
        } else {
            utf16_put(&text, cut(wide, i, 2));
        }
    }
    if (l != NULL) {
        const char *copy = arena_strndup(n->arena, buf_view(&text).ptr, text.len);
        uint32_t start = le32(s, *at);
        l->start = start < INT16_MAX ? start : 1;
        l->format = format_of(le8(s, *at + 4));
        l->legal = (le8(s, *at + 5) & 4) != 0;
        l->text = copy == NULL ? STR("") : (struct str){copy, text.len};
    }
    *at = text_at + 2 + (size_t)len * 2;
    buf_deinit(&text);
}

/* Lists that begin a level anew. */
static void read_changes(struct numbering *n, struct str s, size_t at, uint32_t n_lists)
{
    for (uint32_t i = 0; i < n_lists; i++) {
        uint32_t levels = le8(s, 4 + (size_t)i * LIST + 12);
        at += 4;
        for (uint32_t k = 0; k < levels && at + 8 <= s.len; k++) {
            uint32_t flags = le32(s, at + 4), start = le32(s, at);
            at += 8;
            if ((flags & 0x10) != 0 && start < INT16_MAX) {
                numbering_restart(n, i + 1, flags & 0xF, start);
            }
            if ((flags & 0x20) != 0) { /* a level of its own: the scheme's is near enough */
                read_level(n, s, &at, NULL);
            }
        }
    }
}

void doc_lists_read(struct numbering *n, struct str table, uint32_t schemes, uint32_t schemes_len,
                    uint32_t lists, uint32_t lists_len)
{
    struct str s = cut(table, schemes, schemes_len);
    uint32_t count = le16(s, 0);
    size_t at = (size_t)schemes + schemes_len; /* the levels stand behind them */
    for (uint32_t i = 0; i < count && i < LISTS_MAX && at + LEVEL <= table.len; i++) {
        struct str k = cut(s, 2 + (size_t)i * SCHEME, SCHEME);
        uint32_t levels = (le8(k, 26) & 1) != 0 ? 1 : NUMBERING_LEVELS;
        for (uint32_t l = 0; l < levels && at + LEVEL <= table.len; l++) {
            read_level(n, table, &at, numbering_level(n, le32(k, 0), l));
        }
    }
    s = cut(table, lists, lists_len);
    count = le32(s, 0);
    count = count < LISTS_MAX ? count : LISTS_MAX;
    count = count < s.len / LIST ? count : (uint32_t)(s.len / LIST);
    for (uint32_t i = 0; i < count; i++) {
        numbering_list(n, i + 1, le32(s, 4 + (size_t)i * LIST));
    }
    read_changes(n, s, 4 + (size_t)count * LIST, count);
}
