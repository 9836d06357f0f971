/* What documents say of themselves: kept, told, asked for by filters, counted; and whose date
 * counts. */
#include "fixture.h"

#include "base/text/text.h"

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

struct place {
    char dir[64];
    struct store *s;
    struct arena a;
};

static const char *const texts[6][1] = {{"harbour one"},  {"harbour two"},  {"harbour three"},
                                        {"harbour four"}, {"harbour five"}, {"harbour six"}};

static const struct draft drafts[] = {
    {.document = "a",
     .sequence = 1,
     .title = "Leave",
     .author = "Änne Berg; Carl Dahl",
     .keywords = "duck",
     .created_ms = 100,
     .modified_ms = 200,
     .file_ms = 900,
     .pages = 3},
    {.document = "b",
     .sequence = 2,
     .author = "Carl Dahl",
     .created_ms = 300,
     .file_ms = 900,
     .pages = 30},
    {.document = "c", .sequence = 3, .file_ms = 400},
    {.document = "d",
     .sequence = 4,
     .author = "Carl Dahl",
     .modified_ms = 200,
     .date_ms = 500,
     .file_ms = 900,
     .pages = 7},
    {.document = "e",
     .sequence = 5,
     .author = "Secret Person",
     .readers = {"board"},
     .file_ms = 600},
};

static int setup(void **state)
{
    struct error err;
    struct place *p = calloc(1, sizeof *p);
    Vs__PutReply r;
    assert_non_null(p);
    temp_dir(p->dir);
    arena_init(&p->a, (size_t)16 * 1024 * 1024);
    OK(store_open(p->dir, &p->s, &err));
    store_retain_versions(p->s, INT64_C(86400000));
    for (size_t i = 0; i < COUNT(drafts); i++) {
        struct draft d = drafts[i];
        d.texts = texts[i];
        d.n = 1;
        OK(put_draft(p->s, &d, &r, &err));
    }
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    arena_reset(&p->a);
    store_close(p->s);
    drop_dir(p->dir);
    free(p);
    return 0;
}

/* The documents that a filter lets through, in the list and in search alike, in order of their ids.
 */
static void expect(struct place *p, const struct asker *who, Vs__Filter *f, const char *ids)
{
    struct error err;
    Vs__ListReply l;
    Vs__SearchTextRequest q = VS__SEARCH_TEXT_REQUEST__INIT;
    Vs__SearchTextReply r;
    char got[64] = "";
    OK(store_list(p->s, who, f, "", 100, &p->a, &l, &err));
    for (size_t i = 0; i < l.n_documents; i++) {
        size_t at = strlen(got);
        (void)snprintf(got + at, sizeof got - at, "%s", l.documents[i]->location->document);
    }
    assert_string_equal(got, ids);
    q.query = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t) "harbour", .len = 7};
    q.limit = 100;
    q.filter = f;
    OK(store_search_text(p->s, who, &q, &p->a, &r, &err));
    assert_int_equal(r.n_hits, strlen(ids));
    Vs__FacetsRequest m = VS__FACETS_REQUEST__INIT;
    Vs__FacetsReply facets;
    m.filter = f;
    OK(store_facets(p->s, who, &m, &p->a, &facets, &err));
    assert_int_equal(facets.documents, strlen(ids));
}

static void authors(struct place *p, const char *name, const char *ids)
{
    char *names[1] = {z(name)};
    Vs__Filter f = VS__FILTER__INIT;
    f.authors = names;
    f.n_authors = 1;
    expect(p, &appliance, &f, ids);
}

static void filters(void **state)
{
    struct place *p = *state;
    authors(p, "carl dahl", "abd");
    authors(p, "DAHL, Carl", "abd");
    authors(p, "Anne", "a"); /* accents aside */
    authors(p, "Ann", "");
    authors(p, "Anne Dahl", ""); /* of two people */
    authors(p, "", "");
    Vs__Filter f = VS__FILTER__INIT;
    f.has_pages_from = true;
    f.pages_from = 1;
    expect(p, &appliance, &f, "abd");
    f.has_pages_to = true;
    f.pages_to = 7;
    expect(p, &appliance, &f, "ad");
    uint8_t hash[SHA256_BYTES];
    struct draft b = drafts[1];
    uint64_t size;
    b.texts = texts[1];
    b.n = 1;
    hash_draft(&b, hash, &size);
    ProtobufCBinaryData hashes[1] = {{.data = hash, .len = 4}};
    Vs__Filter g = VS__FILTER__INIT;
    g.hashes = hashes;
    g.n_hashes = 1;
    expect(p, &appliance, &g, "b");
    hashes[0].len = SHA256_BYTES;
    expect(p, &appliance, &g, "b");
    hash[0] ^= 1;
    expect(p, &appliance, &g, "");
    struct error err;
    Vs__ListReply l;
    hashes[0].len = 3;
    assert_int_equal(store_list(p->s, &appliance, &g, "", 1, &p->a, &l, &err), STATUS_INVALID);
}

/* A rule's date before the document's own, that before the file's; changed before made. */
static void dates(void **state)
{
    struct place *p = *state;
    static const int64_t meant[] = {200, 300, 400, 500, 600};
    struct error err;
    for (size_t i = 0; i < COUNT(meant); i++) {
        Vs__Filter f = VS__FILTER__INIT;
        Vs__DocumentInfo d;
        f.has_from_ms = f.has_until_ms = true;
        f.from_ms = meant[i];
        f.until_ms = meant[i] + 1;
        expect(p, &appliance, &f, drafts[i].document);
        OK(store_document(p->s, &appliance, drafts[i].document, NULL, &p->a, &d, &err));
        assert_int_equal(d.date_ms, meant[i]);
    }
    Vs__DocumentInfo d;
    OK(store_document(p->s, &appliance, "a", NULL, &p->a, &d, &err));
    assert_string_equal(d.author, "Änne Berg; Carl Dahl");
    assert_string_equal(d.keywords, "duck");
    assert_string_equal(d.language, "en");
    assert_int_equal(d.created_ms, 100);
    assert_int_equal(d.modified_ms, 200);
    OK(store_document(p->s, &appliance, "c", NULL, &p->a, &d, &err));
    assert_true(!d.has_created_ms && !d.has_modified_ms && d.author[0] == '\0');
}

/* Who may not read a document learns of no author of it, and finds nothing by his name. */
static void readers(void **state)
{
    struct place *p = *state;
    struct error err;
    static const char *const none[] = {"others"};
    static const char *const board[] = {"board"};
    struct caller caller = {.tenant = "t", .user = "u", .groups = none, .n_groups = 1};
    const struct asker who = {.caller = &caller};
    Vs__FacetsRequest m = VS__FACETS_REQUEST__INIT;
    Vs__FacetsReply r;
    char *names[1] = {z("secret")};
    Vs__Filter f = VS__FILTER__INIT;
    f.authors = names;
    f.n_authors = 1;
    expect(p, &who, &f, "");
    OK(store_facets(p->s, &who, &m, &p->a, &r, &err));
    assert_int_equal(r.n_authors, 2);
    assert_string_equal(r.authors[0]->value, "Carl Dahl");
    assert_int_equal(r.authors[0]->documents, 3);
    assert_string_equal(r.authors[1]->value, "Änne Berg");
    caller.groups = board;
    expect(p, &who, &f, "e");
    OK(store_facets(p->s, &who, &m, &p->a, &r, &err));
    assert_int_equal(r.n_authors, 3);
}

/* A version knows what its own content said. */
static void versions(void **state)
{
    struct place *p = *state;
    struct error err;
    Vs__PutReply r;
    char *names[1] = {z("Carl Dahl")};
    Vs__Filter f = VS__FILTER__INIT;
    pause_ms(5);
    int64_t then = clock_wall_ms();
    pause_ms(5);
    struct draft d = {.document = "b",
                      .sequence = 9,
                      .author = "Eva",
                      .modified_ms = 800,
                      .file_ms = 900,
                      .texts = texts[5],
                      .n = 1};
    OK(put_draft(p->s, &d, &r, &err));
    f.authors = names;
    f.n_authors = 1;
    expect(p, &appliance, &f, "ad");
    f.has_as_of_ms = true;
    f.as_of_ms = then;
    expect(p, &appliance, &f, "abd");
    f.has_from_ms = f.has_until_ms = true;
    f.from_ms = 300;
    f.until_ms = 301;
    expect(p, &appliance, &f, "b");
}

static void names_by_their_words(void **state)
{
    static const struct {
        const char *names, *words;
        bool in;
    } cases[] = {
        {"Anna Maria Berg", "berg anna", true},
        {"Anna Bergström", "berg", false},
        {"Anna Bergström", "BERGSTROM", true},
        {"anna@example.org", "anna@example.org", true},
        {"王小明; Li", "王小明", true},
        {"A; B", "A B", false},
        {"", "a", false},
        {"A", " ;, ", false},
        {"\xFF\xFE A \xC3", "a", true},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        if (text_names(str_from(cases[i].names), str_from(cases[i].words)) != cases[i].in) {
            fail_msg("%s in %s", cases[i].words, cases[i].names);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(filters, setup, teardown),
        cmocka_unit_test_setup_teardown(dates, setup, teardown),
        cmocka_unit_test_setup_teardown(readers, setup, teardown),
        cmocka_unit_test_setup_teardown(versions, setup, teardown),
        cmocka_unit_test(names_by_their_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
