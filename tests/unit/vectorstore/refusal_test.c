/* A document that may not be read and one that never was: the same answer by the same work. Work is
 * counted, not timed: statements run, steps of SQLite's machine, pages looked at. */
#include "fixture.h"

#include "vectorstore/catalogue_query.h"
#include "vectorstore/store_internal.h"

#define DOCUMENTS 400
#define HIDDEN 201

struct work {
    int runs, steps, pages;
};

/* What the store's readers have done since the last look. */
static struct work look(struct store *s)
{
    struct work w = {0};
    for (size_t i = 0; i < STORE_READERS_ALL; i++) {
        int now = 0;
        int high = 0;
        sqlite3 *db = s->readers[i].db == NULL ? NULL : s->readers[i].db->db;
        if (db == NULL) {
            continue;
        }
        for (sqlite3_stmt *st = sqlite3_next_stmt(db, NULL); st != NULL;
             st = sqlite3_next_stmt(db, st)) {
            w.runs += sqlite3_stmt_status(st, SQLITE_STMTSTATUS_RUN, 1);
            w.steps += sqlite3_stmt_status(st, SQLITE_STMTSTATUS_VM_STEP, 1);
        }
        (void)sqlite3_db_status(db, SQLITE_DBSTATUS_CACHE_HIT, &now, &high, 1);
        w.pages += now;
        (void)sqlite3_db_status(db, SQLITE_DBSTATUS_CACHE_MISS, &now, &high, 1);
        w.pages += now;
    }
    return w;
}

enum door { INFO, FILES, CHUNKS, VERSIONS, EXPLAIN, SEARCH, LIST, DOORS };
static const char *const names[DOORS] = {"document", "files",  "chunks", "versions",
                                         "explain",  "search", "list"};

static Vs__SearchTextRequest *question(char *word, char **ids, Vs__Filter *filter)
{
    static Vs__SearchTextRequest text;
    vs__search_text_request__init(&text);
    vs__filter__init(filter);
    text.query = (ProtobufCBinaryData){.data = (uint8_t *)word, .len = strlen(word)};
    text.limit = 5;
    if (ids != NULL) {
        filter->documents = ids;
        filter->n_documents = 1;
        text.filter = filter;
    }
    return &text;
}

/* What comes back is told in a number: 0 is a refusal or nothing. */
static int ask(struct store *s, enum door door, const struct asker *who, char *id,
               const int64_t *as_of)
{
    struct error err;
    struct arena a;
    Vs__DocumentInfo info;
    Vs__Filter filter;
    char *ids[1] = {id};
    char word[] = "harbour";
    int got = 0;
    arena_init(&a, (size_t)16 << 20);
    switch (door) {
    case INFO:
        got = store_document(s, who, id, as_of, &a, &info, &err) == STATUS_OK;
        break;
    case FILES: {
        int fd[3] = {-1, -1, -1};
        got = store_document_files(s, who, id, as_of, &a, &info, &fd[0], &fd[1], &fd[2], &err) ==
              STATUS_OK;
        for (size_t i = 0; got && i < 3; i++) {
            if (fd[i] >= 0) {
                (void)close(fd[i]);
            }
        }
        break;
    }
    case CHUNKS: {
        Vs__Chunk **list = NULL;
        size_t n = 0;
        got = store_document_chunks(s, who, id, as_of, 0, 10, &a, &list, &n, &err) == STATUS_OK;
        break;
    }
    case VERSIONS: {
        Vs__ListVersionsRequest m = VS__LIST_VERSIONS_REQUEST__INIT;
        Vs__ListVersionsReply r;
        m.document = id;
        got = store_list_versions(s, who, &m, &a, &r, &err) == STATUS_OK;
        break;
    }
    case EXPLAIN: {
        Vs__ExplainRequest m = VS__EXPLAIN_REQUEST__INIT;
        Vs__ExplainReply r;
        m.text = question(word, NULL, &filter);
        m.document = id;
        OK(store_explain(s, who, &m, &a, &r, &err));
        got = r.has_known && r.known;
        break;
    }
    case SEARCH: {
        Vs__SearchTextReply r;
        OK(store_search_text(s, who, question(word, ids, &filter), &a, &r, &err));
        got = r.n_hits > 0;
        break;
    }
    case LIST: {
        Vs__ListReply r;
        (void)question(word, ids, &filter);
        OK(store_list(s, who, &filter, "", 1000, &a, &r, &err));
        got = r.n_documents > 0;
        break;
    }
    case DOORS:
        break;
    }
    arena_reset(&a);
    return got;
}

static struct work work_of(struct store *s, enum door door, const struct asker *who,
                           const char *document, const int64_t *as_of, int expected)
{
    char id[64];
    (void)snprintf(id, sizeof id, "%s", document);
    (void)look(s);
    assert_int_equal(ask(s, door, who, id, as_of), expected);
    return look(s);
}

static void refused_as_what_never_was(void **state)
{
    (void)state;
    static const char *const absent[] = {"d0000", "d0201x", "d0202", "dzzzz"};
    struct error err;
    char dir[64];
    struct store *s = NULL;
    temp_dir(dir);
    OK(store_open(dir, &s, &err));
    store_retain_versions(s, 86400000);
    for (int i = 1; i < DOCUMENTS; i++) {
        char id[16];
        char text[80];
        const char *texts[1] = {text};
        Vs__PutReply r;
        if (i == 202) {
            continue;
        }
        (void)snprintf(id, sizeof id, "d%04d", i);
        (void)snprintf(text, sizeof text, "The harbour keeps boat %d beside the quay.", i);
        struct draft d = {.document = id,
                          .readers = {i == HIDDEN  ? "board"
                                      : i % 2 == 0 ? "crew"
                                                   : NULL},
                          .sequence = (uint64_t)i,
                          .texts = texts,
                          .n = 1};
        OK(put_draft(s, &d, &r, &err));
    }
    const char *const groups[] = {"crew"};
    const struct caller crew = {.tenant = "t", .user = "u", .groups = groups, .n_groups = 1};
    const struct asker who = {.caller = &crew};
    int64_t now = clock_wall_ms();
    for (enum door door = 0; door < DOORS; door++) {
        for (int then = 0; then < (door <= CHUNKS ? 2 : 1); then++) {
            const int64_t *as_of = then ? &now : NULL;
            (void)work_of(s, door, &who, "d0200", as_of, 1); /* statements are made at first need */
            (void)work_of(s, door, &who, absent[0], as_of, 0);
            struct work hidden = work_of(s, door, &who, "d0201", as_of, 0);
            for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) {
                struct work none = work_of(s, door, &who, absent[i], as_of, 0);
                /* above the last id SQLite's min() has no row to look at: three steps less */
                bool above = strcmp(absent[i], "dzzzz") == 0;
                int less = hidden.steps - none.steps;
                if (none.runs != hidden.runs || less < 0 || less > (above ? 3 : 0) ||
                    none.pages != hidden.pages) {
                    fail_msg("%s%s: %d statements, %d steps, %d pages for what may not be read; "
                             "%d, %d, %d for %s, which never was",
                             names[door], then ? " as of a time" : "", hidden.runs, hidden.steps,
                             hidden.pages, none.runs, none.steps, none.pages, absent[i]);
                }
            }
        }
    }
    store_close(s);
    drop_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused_as_what_never_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
