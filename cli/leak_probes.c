/* The doors, one row each. A new way out of the appliance gets its row here. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/leaktest.h"

#define BODY_MAX ((size_t)16 << 20)
#define BUSY_TRIES 60

static const struct probe {
    const char *name, *method, *path, *body; /* {word}, {id}, {answer} are put in */
    bool hidden; /* must be refused, word for word as what does not exist is */
} probes[] = {
    {"search", "POST", "/api/search", "{\"query\":\"{word}\"}", false},
    {"search, bm25", "POST", "/api/search", "{\"query\":\"{word}\",\"mode\":\"bm25\"}", false},
    {"search, text", "POST", "/api/search", "{\"query\":\"{word}\",\"mode\":\"text\"}", false},
    {"search, dense", "POST", "/api/search", "{\"query\":\"{word}\",\"mode\":\"dense\"}", false},
    {"search, by file name", "POST", "/api/search", "{\"query\":\"file:carrel-leaktest\"}", false},
    {"search, misspelt", "POST", "/api/search", "{\"query\":\"{word}x\"}", false},
    {"search, by id", "POST", "/api/search", "{\"query\":\"{word}\",\"documents\":[\"{id}\"]}",
     false},
    {"explain", "POST", "/api/explain", "{\"query\":\"{word}\",\"document\":\"{id}\"}", false},
    {"chat", "POST", "/v1/chat/completions",
     "{\"model\":\"carrel\",\"messages\":[{\"role\":\"user\",\"content\":\"What is {word}?\"}]}",
     false},
    {"chat, streaming", "POST", "/v1/chat/completions",
     "{\"model\":\"carrel\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"What is "
     "{word}?\"}]}",
     false},
    {"responses", "POST", "/v1/responses",
     "{\"model\":\"carrel\",\"store\":false,\"input\":\"What is "
     "{word}?\",\"include\":[\"file_search_call.results\"]}",
     false},
    {"responses, streaming", "POST", "/v1/responses",
     "{\"model\":\"carrel\",\"store\":false,\"stream\":true,\"input\":\"What is {word}?\"}", false},
    {"messages", "POST", "/v1/messages",
     "{\"model\":\"carrel\",\"max_tokens\":200,\"messages\":[{\"role\":\"user\",\"content\":\"What "
     "is {word}?\"}]}",
     false},
    {"ollama chat", "POST", "/api/chat",
     "{\"model\":\"carrel\",\"stream\":false,\"messages\":[{\"role\":\"user\",\"content\":\"What "
     "is {word}?\"}]}",
     false},
    {"ollama generate", "POST", "/api/generate",
     "{\"model\":\"carrel\",\"stream\":false,\"prompt\":\"What is {word}?\"}", false},
    {"mcp search", "POST", "/mcp",
     "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/"
     "call\",\"params\":{\"name\":\"search\",\"arguments\":{\"query\":\"{word}\"}}}",
     false},
    {"mcp ask", "POST", "/mcp",
     "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/"
     "call\",\"params\":{\"name\":\"ask\",\"arguments\":{\"question\":\"What is {word}?\"}}}",
     false},
    {"mcp collections", "POST", "/mcp",
     "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/"
     "call\",\"params\":{\"name\":\"list_collections\"}}",
     false},
    {"documents", "GET", "/api/documents", NULL, false},
    {"documents, by author", "GET", "/api/documents?author={word}", NULL, false},
    {"search, by author", "POST", "/api/search",
     "{\"query\":\"canary file\",\"authors\":[\"{word}\"]}", false},
    {"facets", "GET", "/api/facets", NULL, false},
    {"facets, by author", "GET", "/api/facets?author={word}", NULL, false},
    {"progress", "GET", "/api/progress", NULL, false},
    {"models", "GET", "/v1/models", NULL, false},
    {"keys", "GET", "/api/keys", NULL, false},
    {"sources", "GET", "/api/sources", NULL, false},
    {"erasures", "GET", "/api/erasures", NULL, false},
    {"status", "GET", "/api/status", NULL, false},
    {"metrics", "GET", "/metrics", NULL, false},
    {"document", "GET", "/api/documents/{id}", NULL, true},
    {"text", "GET", "/api/documents/{id}/text", NULL, true},
    {"original", "GET", "/api/documents/{id}/original", NULL, true},
    {"page picture", "GET", "/api/documents/{id}/pages/1.png", NULL, true},
    {"versions", "GET", "/api/documents/{id}/versions", NULL, true},
    {"delete", "DELETE", "/api/documents/{id}", NULL, true},
    {"answer", "GET", "/api/answers/{answer}", NULL, true},
};
#define PROBES_N (sizeof(probes) / sizeof(probes[0]))

bool leak_may_read(const struct leak_reader *r, const struct canary *c)
{
    return strcmp(r->tenant, c->tenant) == 0 && rules_readable(&c->verdict, r->groups, r->n_groups);
}

static void fill(const char *from, const struct canary *c, const char *id, const char *answer,
                 struct buf *out)
{
    while (*from != '\0') {
        const char *what = NULL;
        size_t len = 0;
        if (strncmp(from, "{word}", 6) == 0) {
            what = c->asked;
            len = 6;
        } else if (strncmp(from, "{id}", 4) == 0) {
            what = id;
            len = 4;
        } else if (strncmp(from, "{answer}", 8) == 0) {
            what = answer;
            len = 8;
        }
        if (what != NULL) {
            buf_append(out, what, strlen(what));
            from += len;
        } else {
            buf_append(out, from++, 1);
        }
    }
    buf_append(out, "", 1); /* ends in NUL */
}

/* One request; waits while the key has used up its minute. */
static enum status ask(const struct probe *p, const struct canary *c, const struct leak_reader *r,
                       const char *id, const char *answer, long *code, struct buf *out,
                       struct error *err)
{
    struct buf path;
    struct buf body;
    enum status s = STATUS_OK;

    buf_init(&path, 4096);
    buf_init(&body, 65536);
    fill(p->path, c, id, answer, &path);
    fill(p->body == NULL ? "" : p->body, c, id, answer, &body);
    if (buf_status(&path) != STATUS_OK || buf_status(&body) != STATUS_OK) {
        s = error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    *code = 429;
    for (int i = 0; s == STATUS_OK && *code == 429 && i < BUSY_TRIES; i++) {
        if (i > 0) {
            (void)nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
        }
        buf_deinit(out);
        buf_init(out, BODY_MAX);
        struct str text = {body.ptr, body.len - 1};
        s = http_raw(&r->http, p->method, path.ptr, p->body == NULL ? NULL : &text,
                     "application/json", code, out, err);
    }
    buf_append(out, "", 1);
    buf_deinit(&path);
    buf_deinit(&body);
    return s == STATUS_OK ? buf_status(out) : s;
}

static void other_id(const char *id, char out[64])
{
    size_t n = strlen(id);

    (void)snprintf(out, 64, "%s", id);
    if (n > 0) {
        out[n - 1] = id[n - 1] == '0' ? '1' : '0';
    }
}

/* Are they the same but for the ids asked for? */
static bool alike(const char *a, const char *a_id, const char *b, const char *b_id)
{
    size_t na = strlen(a_id);
    size_t nb = strlen(b_id);

    while (*a != '\0' && *b != '\0') {
        if (na > 0 && nb > 0 && strncmp(a, a_id, na) == 0 && strncmp(b, b_id, nb) == 0) {
            a += na;
            b += nb;
        } else if (*a++ != *b++) {
            return false;
        }
    }
    return *a == *b;
}

static void leaked(struct leaktest *t, const struct probe *p, const struct canary *c,
                   const struct leak_reader *r, const char *how)
{
    char text[1200];
    char groups[200] = "no group";

    for (size_t i = 0, at = 0; i < r->n_groups; i++) {
        int n = snprintf(groups + at, sizeof(groups) - at, "%s%s", i > 0 ? "," : "", r->groups[i]);
        at += n > 0 && (size_t)n < sizeof(groups) - at ? (size_t)n : 0;
    }
    t->n_leaks++;
    (void)snprintf(text, sizeof(text), "%s: %s%s%s%s %s %s of tenant %s", p->name,
                   r->tenant[0] == '\0' ? "somebody without a key" : "a key of tenant ", r->tenant,
                   r->tenant[0] == '\0' ? "" : " in ", r->tenant[0] == '\0' ? "" : groups, how,
                   c->path, c->tenant);
    if (json_array_size(t->leaks) < LEAK_FOUND) {
        (void)json_array_append_new(t->leaks, json_string(text));
    }
}

enum outcome { SILENT, LEAKED, UNTRIED };

static void count(struct leaktest *t, const char *name, enum outcome what)
{
    static const char *const keys[] = {"probes", "leaks", "untried"};
    json_t *row = json_object_get(t->paths, name);

    if (row == NULL) {
        row = json_pack("{s:i, s:i, s:i}", "probes", 0, "leaks", 0, "untried", 0);
        (void)json_object_set_new(t->paths, name, row);
    }
    const bool adds[] = {what != UNTRIED, what == LEAKED, what == UNTRIED};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        json_int_t n = json_integer_value(json_object_get(row, keys[i]));
        (void)json_object_set_new(row, keys[i], json_integer(n + (json_int_t)adds[i]));
    }
    t->n_probes += what != UNTRIED;
    t->n_untried += what == UNTRIED;
}

/* Did nobody look whether it may be told? The appliance is busy, or a part of it is down. */
static bool no_answer(long code)
{
    return code == 429 || code >= 500;
}

static void not_tried(struct leaktest *t, const char *name, long code)
{
    char text[160];

    (void)snprintf(text, sizeof(text), "%s was not tried each time: the appliance answered %ld",
                   name, code);
    leak_note(t, text);
}

static enum status one(struct leaktest *t, const struct probe *p, const struct canary *c,
                       const struct leak_reader *r, struct error *err)
{
    char id[64];
    char answer[64];
    long code = 0;
    long absent_code = 0;
    struct buf got;
    struct buf absent;
    const char *how = NULL;
    bool untried = false;

    buf_init(&got, BODY_MAX);
    buf_init(&absent, BODY_MAX);
    enum status s = ask(p, c, r, c->id, c->answer, &code, &got, err);
    if (s == STATUS_OK && p->hidden) {
        other_id(c->id, id);
        other_id(c->answer, answer);
        s = ask(p, c, r, id, answer, &absent_code, &absent, err);
    }
    if (s == STATUS_OK) {
        bool id_asked =
            strstr(p->path, "{id}") != NULL || (p->body != NULL && strstr(p->body, "{id}") != NULL);
        if (strstr(got.ptr, c->told) != NULL) {
            how = "was told words of";
        } else if (strstr(got.ptr, c->name) != NULL) {
            how = "was told the name of";
        } else if (!id_asked && strstr(got.ptr, c->id) != NULL) {
            how = "was told the id of";
        } else if (no_answer(code) || no_answer(absent_code)) {
            not_tried(t, p->name, no_answer(code) ? code : absent_code);
            untried = true;
        } else if (p->hidden && code < 400) {
            how = "may do that with";
        } else if (p->hidden &&
                   (code != absent_code ||
                    !alike(got.ptr, strstr(p->path, "{answer}") != NULL ? c->answer : c->id,
                           absent.ptr, strstr(p->path, "{answer}") != NULL ? answer : id))) {
            how = "can tell from the refusal that there is";
        }
        count(t, p->name, untried ? UNTRIED : how != NULL ? LEAKED : SILENT);
        if (how != NULL) {
            leaked(t, p, c, r, how);
        }
    }
    buf_deinit(&got);
    buf_deinit(&absent);
    return s;
}

enum status leak_probe(struct leaktest *t, const struct canary *c, const struct leak_reader *r,
                       struct error *err)
{
    enum status s = STATUS_OK;

    for (size_t i = 0; i < PROBES_N && s == STATUS_OK; i++) {
        if (strstr(probes[i].path, "{answer}") == NULL || c->answer[0] != '\0') {
            s = one(t, &probes[i], c, r, err);
        }
    }
    return s;
}

enum status leak_probe_answer(struct leaktest *t, const struct canary *c,
                              const struct leak_reader *r, struct error *err)
{
    enum status s = STATUS_OK;

    for (size_t i = 0; i < PROBES_N && s == STATUS_OK && c->answer[0] != '\0'; i++) {
        if (strstr(probes[i].path, "{answer}") != NULL) {
            s = one(t, &probes[i], c, r, err);
        }
    }
    return s;
}

enum status leak_control(struct leaktest *t, struct canary *c, const struct leak_reader *r,
                         struct error *err)
{
    static const struct probe search = {"control", "POST", "/api/search", "{\"query\":\"{word}\"}",
                                        false};
    static const struct probe chat = {
        "control", "POST", "/v1/chat/completions",
        "{\"model\":\"carrel\",\"messages\":[{\"role\":\"user\",\"content\":\"What is {word}?\"}]}",
        false};
    struct buf got;
    long code = 0;

    buf_init(&got, BODY_MAX);
    enum status s = ask(&search, c, r, c->id, "", &code, &got, err);
    if (s == STATUS_OK && strstr(got.ptr, c->told) == NULL) {
        t->n_leaks++; /* not a leak, but no proof either */
        char text[900];
        (void)snprintf(text, sizeof(text),
                       "control: a key that may read %s of tenant %s does not find it: the other "
                       "probes prove nothing",
                       c->path, c->tenant);
        (void)json_array_append_new(t->leaks, json_string(text));
    }
    if (s == STATUS_OK) {
        s = ask(&chat, c, r, c->id, "", &code, &got, err);
    }
    if (s == STATUS_OK) {
        json_error_t why;
        json_t *j = json_loads(got.ptr, 0, &why);
        const char *id =
            json_string_value(json_object_get(json_object_get(j, "carrel"), "answer_id"));
        (void)snprintf(c->answer, sizeof(c->answer), "%s", id == NULL ? "" : id);
        json_decref(j);
    }
    if (s == STATUS_OK && c->answer[0] == '\0') {
        char text[900];
        (void)snprintf(text, sizeof(text),
                       "nobody was given an answer (%ld) from %s of tenant %s: records of answers "
                       "were not tried with it",
                       code, c->path, c->tenant);
        leak_note(t, text);
    }
    buf_deinit(&got);
    return s;
}
