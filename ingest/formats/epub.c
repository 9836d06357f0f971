/* Books (EPUB 2 and 3): the container names the package document, that one lists the chapters in
 * their order, and each chapter is a page. Fonts may be obfuscated; what a publisher has locked is
 * told, not guessed at. */
#include <stdlib.h>
#include <string.h>

#include "ingest/formats/html.h"
#include "ingest/formats/sax.h"

#define ITEMS_MAX 65536U

struct item {
    struct item *next;
    size_t at; /* its place among them */
    const char *id, *href;
    bool page;
};

struct chapter {
    struct chapter *next;
    const char *id;
};

struct book {
    struct arena *arena;
    struct package *p;
    char opf[PACKAGE_NAME_MAX]; /* the package document */
    struct item *items;         /* by reading, the last first */
    const struct item **by_id;
    size_t n_items;
    struct chapter *chapters, **last_chapter;
    size_t n;
    struct buf title, language, author, keywords, created, modified;
    struct buf *property;
    bool has_title, has_language;
    bool locked, font; /* the method at hand is for fonts */
};

static const char *keep(struct sax *x, struct book *b, struct str s)
{
    const char *copy = arena_strndup(b->arena, s.ptr == NULL ? "" : s.ptr, s.len);
    if (copy == NULL) {
        sax_fail(x, STATUS_NO_MEMORY, "out of memory");
    }
    return copy == NULL ? "" : copy;
}

/* ---- container and encryption ---- */

static void container_start(struct sax *x, const char *name, const char *uri,
                            const struct sax_attributes *a)
{
    struct book *b = x->data;
    (void)uri;
    if (strcmp(name, "rootfile") == 0 && b->opf[0] == '\0' &&
        !package_resolve("", sax_attribute(a, "full-path"), b->opf)) {
        b->opf[0] = '\0';
    }
}

static void encryption_start(struct sax *x, const char *name, const char *uri,
                             const struct sax_attributes *a)
{
    struct book *b = x->data;
    (void)uri;
    if (strcmp(name, "EncryptedData") == 0) {
        b->font = false;
    } else if (strcmp(name, "EncryptionMethod") == 0) {
        struct str method = sax_attribute(a, "Algorithm");
        b->font = str_eq(method, STR("http://www.idpf.org/2008/embedding")) ||
                  str_eq(method, STR("http://ns.adobe.com/pdf/enc#RC"));
    } else if (strcmp(name, "CipherReference") == 0) {
        b->locked = b->locked || !b->font;
    }
}

/* ---- the package document ---- */

/* One more of several. */
static struct buf *next_of(struct buf *list)
{
    buf_z(list, list->len > 0 ? "; " : "");
    return list;
}

static void opf_start(struct sax *x, const char *name, const char *uri,
                      const struct sax_attributes *a)
{
    struct book *b = x->data;
    (void)uri;
    b->property = NULL;
    if (strcmp(name, "title") == 0 && !b->has_title) {
        b->property = &b->title;
        b->has_title = true;
    } else if (strcmp(name, "language") == 0 && !b->has_language) {
        b->property = &b->language;
        b->has_language = true;
    } else if (strcmp(name, "creator") == 0) {
        b->property = next_of(&b->author);
    } else if (strcmp(name, "subject") == 0) {
        b->property = next_of(&b->keywords);
    } else if (strcmp(name, "date") == 0) {
        bool changed = str_eq(sax_attribute(a, "event"), STR("modification"));
        struct buf *into = changed ? &b->modified : &b->created;
        b->property = into->len == 0 ? into : NULL;
    } else if (strcmp(name, "meta") == 0 &&
               str_eq(sax_attribute(a, "property"), STR("dcterms:modified"))) {
        buf_reset(&b->modified);
        b->property = &b->modified;
    } else if (strcmp(name, "item") == 0 && b->n < ITEMS_MAX) {
        struct item *i = arena_alloc(b->arena, sizeof *i);
        struct str type = sax_attribute(a, "media-type");
        if (i == NULL) {
            sax_fail(x, STATUS_NO_MEMORY, "out of memory");
            return;
        }
        *i = (struct item){.at = b->n_items,
                           .id = keep(x, b, sax_attribute(a, "id")),
                           .href = keep(x, b, sax_attribute(a, "href")),
                           .page = str_eq(type, STR("application/xhtml+xml")) ||
                                   str_eq(type, STR("text/html")) ||
                                   str_eq(type, STR("application/x-dtbook+xml"))};
        i->next = b->items;
        b->items = i;
        b->n_items++;
        b->n++;
    } else if (strcmp(name, "itemref") == 0 && b->n < ITEMS_MAX) {
        struct chapter *c = arena_alloc(b->arena, sizeof *c);
        if (c == NULL) {
            sax_fail(x, STATUS_NO_MEMORY, "out of memory");
            return;
        }
        *c = (struct chapter){.id = keep(x, b, sax_attribute(a, "idref"))};
        *b->last_chapter = c;
        b->last_chapter = &c->next;
        b->n++;
    }
}

static void opf_end(struct sax *x, const char *name, const char *uri)
{
    struct book *b = x->data;
    (void)name, (void)uri;
    b->property = NULL;
}

static void opf_text(struct sax *x, struct str text)
{
    struct book *b = x->data;
    if (b->property != NULL) {
        buf_str(b->property, text);
    }
}

/* ---- all ---- */

static enum status read_directory(struct book *b, struct error *err)
{
    static const struct sax_handler container = {.start = container_start, .doctype = true};
    static const struct sax_handler encryption = {.start = encryption_start, .doctype = true};
    static const struct sax_handler opf = {
        .start = opf_start, .end = opf_end, .text = opf_text, .doctype = true};
    struct sax x = {.handler = &container, .data = b};
    bool found = false;
    enum status s = sax_read_help(&x, b->p, "META-INF/container.xml", err);
    if (s == STATUS_OK && b->opf[0] == '\0') {
        s = error_set(err, STATUS_INVALID, "the book is damaged: it does not say where it begins");
    }
    if (s == STATUS_OK) {
        x.handler = &encryption;
        s = sax_read_help(&x, b->p, "META-INF/encryption.xml", err);
    }
    if (s == STATUS_OK && b->locked) {
        s = error_set(err, STATUS_UNSUPPORTED,
                      "the book is locked by its publisher (DRM) and cannot be read");
    }
    if (s == STATUS_OK) {
        x.handler = &opf;
        s = sax_read(&x, b->p, b->opf, &found, err);
    }
    if (s == STATUS_OK && !found) {
        s = error_set(err, STATUS_INVALID, "the book is damaged: %s is missing", b->opf);
    }
    return s;
}

static int by_id(const void *a, const void *b)
{
    const struct item *const *x = a, *const *y = b;
    int order = strcmp((*x)->id, (*y)->id);
    return order != 0 ? order : ((*x)->at > (*y)->at) - ((*x)->at < (*y)->at);
}

/* The spine names thousands of items in a large book: they are found in a sorted list. */
static enum status sort_items(struct book *b, struct error *err)
{
    size_t n = 0;
    b->by_id = arena_array(b->arena, b->n_items + 1, sizeof(const struct item *));
    if (b->by_id == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (const struct item *i = b->items; i != NULL; i = i->next) {
        b->by_id[n++] = i;
    }
    qsort(b->by_id, n, sizeof(const struct item *), by_id);
    return STATUS_OK;
}

/* Of several with one id the first. */
static const struct item *find_item(const struct book *b, const char *id)
{
    size_t from = 0;
    for (size_t to = b->n_items; from < to;) {
        size_t middle = from + (to - from) / 2;
        if (strcmp(b->by_id[middle]->id, id) < 0) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from < b->n_items && strcmp(b->by_id[from]->id, id) == 0 ? b->by_id[from] : NULL;
}

/* A chapter that is missing is passed over: books with one are still books. */
static enum status read_chapter(struct book *b, const char *id, const struct extract_input *in,
                                struct emitter *e, struct error *err)
{
    char name[PACKAGE_NAME_MAX];
    struct buf page;
    bool found = false;
    const struct item *i = find_item(b, id);
    if (i == NULL || !i->page || !package_resolve(b->opf, str_from(i->href), name)) {
        return STATUS_OK;
    }
    buf_init(&page, in->max_bytes);
    enum status s = package_load(b->p, name, &page, &found, err);
    if (s == STATUS_OK && found) {
        emit_unit(e, EX__BLOCK__UNIT__CHAPTER, STR(""));
        s = html_chapter(buf_view(&page), in->max_bytes, e, err);
    }
    buf_deinit(&page);
    return s;
}

enum status epub_extract(const struct extract_input *in, struct emitter *e, struct error *err)
{
    struct book b = {.arena = in->arena};
    struct buf title;
    b.last_chapter = &b.chapters;
    buf_init(&b.title, 4096);
    buf_init(&b.language, 64);
    buf_init(&b.author, 4096);
    buf_init(&b.keywords, 4096);
    buf_init(&b.created, 128);
    buf_init(&b.modified, 128);
    buf_init(&title, 4096);
    enum status s = package_open(in, "book", &b.p, err);
    if (s == STATUS_OK) {
        s = read_directory(&b, err);
    }
    if (s == STATUS_OK) {
        s = sort_items(&b, err);
    }
    if (s == STATUS_OK) {
        text_squeeze(&title, buf_view(&b.title), false);
        emit_author(e, buf_view(&b.author));
        emit_keywords(e, buf_view(&b.keywords));
        emit_date(e, EMIT_CREATED, buf_view(&b.created));
        emit_date(e, EMIT_MODIFIED, buf_view(&b.modified));
        emit_document(e, "epub", buf_view(&title), buf_view(&b.language), 0);
    }
    for (const struct chapter *c = b.chapters; c != NULL && s == STATUS_OK && !emit_failed(e);
         c = c->next) {
        s = read_chapter(&b, c->id, in, e, err);
    }
    package_close(b.p);
    buf_deinit(&b.title);
    buf_deinit(&b.language);
    buf_deinit(&b.author);
    buf_deinit(&b.keywords);
    buf_deinit(&b.created);
    buf_deinit(&b.modified);
    buf_deinit(&title);
    return s;
}
