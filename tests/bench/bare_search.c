/* The bare calls a search cannot do without, made in-process: an FTS5 MATCH ranked by bm25() and a FAISS flat
 * search over the same chunks, then the texts of the best eight. The peer of tests/bench/search.mjs.
 *
 *   bare_search SECTIONS QUERIES     one section, one query a line; prints JSON with p50 and p99 in ms
 *
 * Two forms of the FTS5 query are timed: `all` words of the question joined by OR, as a plain user of FTS5
 * would; `rare`, without the words that stand in more than 5% of the sections, which is the cheapest query that
 * still finds the same passages. The vectors are random: a flat search takes the same time for any. */
#include <faiss/c_api/IndexFlat_c.h>
#include <faiss/c_api/Index_c.h>
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define DIMENSIONS 256
#define CANDIDATES 100
#define SHOWN 8

static void die(const char *what)
{
    (void)fprintf(stderr, "bare_search: %s\n", what);
    exit(1);
}

static void must(int rc, sqlite3 *db)
{
    if (rc != SQLITE_OK && rc != SQLITE_DONE && rc != SQLITE_ROW) {
        die(sqlite3_errmsg(db));
    }
}

static float random_unit(uint32_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 17;
    *s ^= *s << 5;
    return (float)*s / 4294967296.0F - 0.5F;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static sqlite3 *load(const char *path, int64_t *n)
{
    sqlite3 *db;
    must(sqlite3_open("", &db), db); /* a temporary file of its own */
    must(sqlite3_exec(db,
                      "PRAGMA journal_mode=OFF; PRAGMA cache_size=-65536;"
                      "CREATE TABLE chunk(id INTEGER PRIMARY KEY, text TEXT);"
                      "CREATE VIRTUAL TABLE fts USING fts5(text, content='', tokenize='porter unicode61');"
                      "CREATE VIRTUAL TABLE words USING fts5vocab(fts, row); BEGIN",
                      NULL, NULL, NULL),
         db);
    sqlite3_stmt *put;
    sqlite3_stmt *index;
    must(sqlite3_prepare_v2(db, "INSERT INTO chunk(text) VALUES(?1)", -1, &put, NULL), db);
    must(sqlite3_prepare_v2(db, "INSERT INTO fts(rowid, text) VALUES(?1, ?2)", -1, &index, NULL), db);
    FILE *f = fopen(path, "r");
    if (f == NULL) {
        die("cannot read the sections");
    }
    char *line = NULL;
    size_t cap = 0;
    for (ssize_t len; (len = getline(&line, &cap, f)) > 0;) {
        must(sqlite3_bind_text(put, 1, line, (int)len, SQLITE_STATIC), db);
        must(sqlite3_step(put), db);
        must(sqlite3_bind_int64(index, 1, sqlite3_last_insert_rowid(db)), db);
        must(sqlite3_bind_text(index, 2, line, (int)len, SQLITE_STATIC), db);
        must(sqlite3_step(index), db);
        (void)sqlite3_reset(put);
        (void)sqlite3_reset(index);
        (*n)++;
    }
    free(line);
    (void)fclose(f);
    must(sqlite3_finalize(put), db);
    must(sqlite3_finalize(index), db);
    must(sqlite3_exec(db, "INSERT INTO fts(fts) VALUES('optimize'); COMMIT", NULL, NULL, NULL), db);
    return db;
}

/* "a" OR "b": the words of the question, quoted; rare: only those below the given df. */
static void match_text(sqlite3_stmt *df, const char *question, int64_t max_df, char *out, size_t cap)
{
    size_t len = 0;
    out[0] = '\0';
    char copy[1024];
    (void)snprintf(copy, sizeof copy, "%s", question);
    char *save = NULL;
    for (char *w = strtok_r(copy, " ?.\n", &save); w != NULL; w = strtok_r(NULL, " ?.\n", &save)) {
        if (max_df > 0) {
            (void)sqlite3_reset(df);
            (void)sqlite3_bind_text(df, 1, w, -1, SQLITE_STATIC);
            if (sqlite3_step(df) == SQLITE_ROW && sqlite3_column_int64(df, 0) > max_df) {
                continue;
            }
        }
        int n = snprintf(out + len, cap - len, "%s\"%s\"", len == 0 ? "" : " OR ", w);
        if (n < 0 || (size_t)n >= cap - len) {
            die("question too long");
        }
        len += (size_t)n;
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        die("usage: bare_search SECTIONS QUERIES");
    }
    int64_t n = 0;
    sqlite3 *db = load(argv[1], &n);
    uint32_t seed = 2463534242U;
    FaissIndexFlatIP *flat = NULL;
    if (faiss_IndexFlatIP_new_with(&flat, DIMENSIONS) != 0) {
        die("faiss");
    }
    float *v = malloc(sizeof *v * DIMENSIONS * (size_t)n);
    if (v == NULL) {
        die("memory");
    }
    for (int64_t i = 0; i < n * DIMENSIONS; i++) {
        v[i] = random_unit(&seed);
    }
    if (faiss_Index_add((FaissIndex *)flat, n, v) != 0) {
        die("faiss add");
    }
    sqlite3_stmt *find;
    sqlite3_stmt *text;
    sqlite3_stmt *df;
    must(sqlite3_prepare_v2(db, "SELECT rowid FROM fts WHERE fts MATCH ?1 ORDER BY bm25(fts) LIMIT ?2", -1, &find, NULL), db);
    must(sqlite3_prepare_v2(db, "SELECT text FROM chunk WHERE id=?1", -1, &text, NULL), db);
    must(sqlite3_prepare_v2(db, "SELECT doc FROM words WHERE term=?1", -1, &df, NULL), db);
    FILE *f = fopen(argv[2], "r");
    if (f == NULL) {
        die("cannot read the queries");
    }
    static double took[2][20000];
    size_t count = 0;
    char *line = NULL;
    size_t cap = 0;
    size_t seen = 0;
    while (getline(&line, &cap, f) > 0 && count < 20000) {
        for (int form = 0; form < 2; form++) {
            char match[2048];
            float q[DIMENSIONS];
            for (int d = 0; d < DIMENSIONS; d++) {
                q[d] = random_unit(&seed);
            }
            int64_t start = clock_monotonic_us();
            match_text(df, line, form == 0 ? 0 : n / 20, match, sizeof match);
            must(sqlite3_bind_text(find, 1, match, -1, SQLITE_STATIC), db);
            must(sqlite3_bind_int(find, 2, CANDIDATES), db);
            int64_t ids[CANDIDATES];
            int hits = 0;
            while (hits < CANDIDATES && sqlite3_step(find) == SQLITE_ROW) {
                ids[hits++] = sqlite3_column_int64(find, 0);
            }
            (void)sqlite3_reset(find);
            float scores[CANDIDATES];
            idx_t labels[CANDIDATES];
            if (faiss_Index_search((FaissIndex *)flat, 1, q, CANDIDATES, scores, labels) != 0) {
                die("faiss search");
            }
            for (int i = 0; i < hits && i < SHOWN; i++) {
                (void)sqlite3_bind_int64(text, 1, ids[i]);
                if (sqlite3_step(text) == SQLITE_ROW) {
                    seen += (size_t)sqlite3_column_bytes(text, 0);
                }
                (void)sqlite3_reset(text);
            }
            took[form][count] = (double)(clock_monotonic_us() - start) / 1000.0;
        }
        count++;
    }
    free(line);
    (void)fclose(f);
    if (count == 0 || seen == 0) {
        die("no query found anything");
    }
    for (int form = 0; form < 2; form++) {
        qsort(took[form], count, sizeof took[form][0], by_value);
    }
    (void)printf("{\"sections\":%lld,\"queries\":%zu,\"all\":{\"p50\":%.3f,\"p99\":%.3f},"
                 "\"rare\":{\"p50\":%.3f,\"p99\":%.3f}}\n",
                 (long long)n, count, took[0][count / 2], took[0][count * 99 / 100], took[1][count / 2],
                 took[1][count * 99 / 100]);
    faiss_Index_free((FaissIndex *)flat);
    free(v);
    (void)sqlite3_finalize(find);
    (void)sqlite3_finalize(text);
    (void)sqlite3_finalize(df);
    (void)sqlite3_close(db);
    return 0;
}
