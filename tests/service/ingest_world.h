/* carrel-ingest as a process on real folders, with the parts around it played by the test, and what
 * can be asked of it. */
#ifndef CARREL_TESTS_SERVICE_INGEST_WORLD_H
#define CARREL_TESTS_SERVICE_INGEST_WORLD_H

#include "ingest/ingest_rpc.h"
#include "tests/service/ingest_store.h"

#define PATIENCE_MS 90000

struct world {
    uv_loop_t loop;
    uv_timer_t timer;
    struct one_service service;
    struct store store;
    struct rpc_server *vectorstore, *embed, *retrieve;
    struct rpc_client *serve;
    int closed;
    char watch[96];
};

struct answer {
    bool done;
    struct error err;
    size_t n;
    char id[64], state[32], error[512], doing[256];
    uint32_t chunks;
    char path[512];
    bool trashed, excluded;
    const char *wanted; /* path looked for in a list */
    struct buf png;
    float width;
};

/* cmocka's, with a world as state; the store is there, embed and retrieve are not. */
int setup(void **state);
int teardown(void **state);
/* One more part that the test plays. */
void listen_as(struct world *w, enum peer p, const struct rpc_handler *h, size_t n,
               struct rpc_server **out);
void start_ingest(struct world *w);
void kill_ingest(struct world *w);
/* A file of the watched folder, whole at once. */
void write_file(struct world *w, const char *name, const char *content);
/* Lets the loop run for so long. */
void spin(struct world *w, int64_t ms);

extern const struct rpc_callbacks answers;
extern const struct rpc_options patient;

/* ---- asking ingest: each waits for the answer ---- */

struct answer list_for(struct world *w, const char *path);
struct answer until_state(struct world *w, const char *path, const char *state);
/* What the store has at that path, once; NULL: nothing. */
const struct kept *stored(struct world *w, const char *path);
void assert_content(struct world *w, const char *path, const char *content);
struct answer upload(struct world *w, const char *path, const char *content, bool replace);
struct answer delete_document(struct world *w, char *id);

#endif
