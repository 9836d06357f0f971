#include "tests/unit/ingest/ole_fixtures.h"

#include <stdint.h>
#include <stdlib.h>

#include "tests/unit/ingest/little_endian.h"

#define SECTOR 512U
#define MINI 64U
#define END 0xFFFFFFFEU
#define FREE 0xFFFFFFFFU
#define ENTRIES_MAX 128U
#define SECTORS_MAX 4096U

struct entry {
    char name[48];
    uint32_t parent, kind, start, size, child, sibling, last;
};

struct maker {
    struct entry entries[ENTRIES_MAX];
    uint32_t n;
    struct buf sectors, mini;
    uint32_t fat[SECTORS_MAX], mini_fat[SECTORS_MAX];
    uint32_t n_fat, n_mini;
};

static uint32_t add_entry(struct maker *m, uint32_t parent, const char *name, size_t len,
                          uint32_t kind)
{
    for (uint32_t i = 1; i < m->n; i++) {
        if (m->entries[i].parent == parent && strlen(m->entries[i].name) == len &&
            memcmp(m->entries[i].name, name, len) == 0) {
            return i;
        }
    }
    if (m->n == ENTRIES_MAX || len > 40) {
        abort();
    }
    struct entry *e = &m->entries[m->n];
    *e = (struct entry){
        .parent = parent, .kind = kind, .start = END, .child = FREE, .sibling = FREE, .last = FREE};
    memcpy(e->name, name, len);
    struct entry *p = &m->entries[parent];
    if (m->n > 0 && p->last == FREE) {
        p->child = m->n;
    } else if (m->n > 0) {
        m->entries[p->last].sibling = m->n;
    }
    p->last = m->n > 0 ? m->n : FREE;
    return m->n++;
}

/* scatter: a free sector before each. */
static uint32_t add_chain(struct maker *m, struct str data, bool scatter)
{
    uint32_t first = END, last = END;
    for (size_t at = 0; at < data.len; at += SECTOR) {
        size_t n = data.len - at < SECTOR ? data.len - at : SECTOR;
        if (scatter) {
            zeros(&m->sectors, SECTOR);
            m->fat[m->n_fat++] = FREE;
        }
        buf_append(&m->sectors, data.ptr + at, n);
        pad(&m->sectors, SECTOR);
        m->fat[m->n_fat] = END;
        if (last == END) {
            first = m->n_fat;
        } else {
            m->fat[last] = m->n_fat;
        }
        last = m->n_fat++;
        if (m->n_fat > SECTORS_MAX - 4) {
            abort();
        }
    }
    return first;
}

static uint32_t add_mini(struct maker *m, struct str data)
{
    uint32_t first = m->n_mini;
    buf_str(&m->mini, data);
    pad(&m->mini, MINI);
    while (m->n_mini < m->mini.len / MINI) {
        m->mini_fat[m->n_mini] = m->n_mini + 1;
        m->n_mini++;
    }
    if (m->n_mini > first) {
        m->mini_fat[m->n_mini - 1] = END;
    }
    return m->n_mini > first ? first : END;
}

static void put_directory(struct maker *m, struct buf *out)
{
    for (uint32_t i = 0; i < m->n; i++) {
        const struct entry *e = &m->entries[i];
        size_t from = out->len;
        put_wide(out, e->name);
        zeros(out, from + 64 - out->len);
        put16(out, (uint32_t)(strlen(e->name) + 1) * 2);
        put16(out, e->kind | 0x100);
        put32(out, FREE); /* nothing to the left: siblings are a list */
        put32(out, e->sibling);
        put32(out, e->child);
        zeros(out, 36);
        put32(out, e->start);
        put32(out, e->size);
        put32(out, 0);
    }
}

static void finish_cfb(struct maker *m, struct buf *out)
{
    struct buf table, directory;
    buf_init(&table, 1U << 20);
    buf_init(&directory, 1U << 20);
    for (uint32_t i = 0; i < m->n_mini; i++) {
        put32(&table, m->mini_fat[i]);
    }
    m->entries[0].start = add_chain(m, buf_view(&m->mini), false);
    m->entries[0].size = (uint32_t)m->mini.len;
    uint32_t mini_sectors = (uint32_t)((table.len + SECTOR - 1) / SECTOR);
    uint32_t mini_at = add_chain(m, buf_view(&table), false);
    put_directory(m, &directory);
    uint32_t directory_at = add_chain(m, buf_view(&directory), false);
    uint32_t n_tables = (m->n_fat + 40 + SECTOR / 4 - 1) / (SECTOR / 4);
    uint32_t table_at = m->n_fat;
    buf_reset(&table);
    for (uint32_t i = 0; i < n_tables; i++) {
        m->fat[m->n_fat++] = 0xFFFFFFFD;
    }
    for (uint32_t i = 0; i < n_tables * (SECTOR / 4); i++) {
        put32(&table, i < m->n_fat ? m->fat[i] : FREE);
    }
    size_t from = out->len;
    buf_append(out, "\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", 8);
    zeros(out, 16);
    put16(out, 0x3E);
    put16(out, 3);
    put16(out, 0xFFFE);
    put16(out, 9);
    put16(out, 6);
    zeros(out, 10);
    put32(out, n_tables);
    put32(out, directory_at);
    put32(out, 0);
    put32(out, 4096);
    put32(out, mini_at);
    put32(out, mini_sectors);
    put32(out, END);
    put32(out, 0);
    for (uint32_t i = 0; i < 109; i++) {
        put32(out, i < n_tables ? table_at + i : FREE);
    }
    zeros(out, from + SECTOR - out->len);
    buf_str(out, buf_view(&m->sectors));
    buf_str(out, buf_view(&table));
    buf_deinit(&table);
    buf_deinit(&directory);
}

void make_cfb(const struct cfb_stream *streams, size_t n, struct buf *out)
{
    struct maker *m = calloc(1, sizeof *m);
    bool scattered = false;
    if (m == NULL) {
        abort();
    }
    buf_init(&m->sectors, 16U << 20);
    buf_init(&m->mini, 1U << 20);
    (void)add_entry(m, 0, "Root Entry", 10, 5);
    for (size_t i = 0; i < n; i++) {
        uint32_t parent = 0;
        const char *name = streams[i].path;
        for (const char *slash; (slash = strchr(name, '/')) != NULL; name = slash + 1) {
            parent = add_entry(m, parent, name, (size_t)(slash - name), 1);
        }
        uint32_t at = add_entry(m, parent, name, strlen(name), 2);
        m->entries[at].size = (uint32_t)streams[i].data.len;
        bool big = streams[i].data.len >= 4096;
        m->entries[at].start =
            big ? add_chain(m, streams[i].data, !scattered) : add_mini(m, streams[i].data);
        scattered = scattered || big;
    }
    finish_cfb(m, out);
    buf_deinit(&m->sectors);
    buf_deinit(&m->mini);
    free(m);
}
