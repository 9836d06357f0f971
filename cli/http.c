#include "cli/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/home.h"

#define ANSWER_MAX ((size_t)256 * 1024 * 1024)
#define SETTINGS_ARENA_MAX ((size_t)4 * 1024 * 1024)

static enum status read_key(const struct options *o, struct http *out, struct error *err)
{
    char path[4200];
    struct buf b;
    const char *env = getenv("CARREL_KEY");

    if (o->key_file == NULL && env != NULL && env[0] != '\0') {
        int n = snprintf(out->key, sizeof(out->key), "%s", env);
        return n > 0 && (size_t)n < sizeof(out->key)
                   ? STATUS_OK
                   : error_set(err, STATUS_INVALID, "CARREL_KEY: is no key");
    }
    (void)snprintf(path, sizeof(path), "%s%s", o->key_file == NULL ? o->home : o->key_file,
                   o->key_file == NULL ? "/admin.key" : "");
    buf_init(&b, sizeof(out->key));
    enum status s = file_read(path, &b, err);
    size_t n = s == STATUS_OK && b.ptr != NULL ? strcspn(b.ptr, " \r\n") : 0;
    if (s == STATUS_OK && (n == 0 || n >= sizeof(out->key))) {
        s = error_set(err, STATUS_INVALID, "%.200s: holds no key", path);
    }
    if (s == STATUS_OK) {
        memcpy(out->key, b.ptr, n);
        out->key[n] = '\0';
    }
    if (b.ptr != NULL) {
        explicit_bzero(b.ptr, b.cap);
    }
    buf_deinit(&b);
    return s;
}

/* Our own certificate may be signed by nobody curl knows: it is trusted because the configuration
 * names it. */
static void find_certificate(const struct options *o, struct http *out)
{
    struct arena a;
    struct settings cfg;

    arena_init(&a, SETTINGS_ARENA_MAX);
    if (settings_load(o->home, &a, &cfg, NULL) == STATUS_OK &&
        strlen(cfg.http.tls_certificate) < sizeof(out->certificate)) {
        (void)snprintf(out->certificate, sizeof(out->certificate), "%s", cfg.http.tls_certificate);
    }
    arena_reset(&a);
}

enum status http_open(const struct options *o, struct http *out, struct error *err)
{
    char path[4200];
    json_t *ready = NULL;
    json_error_t why;

    *out = (struct http){0};
    if (!home_is_running(o->home)) {
        return error_set(err, STATUS_UNAVAILABLE,
                         "no appliance is running on %s (`carrel up` starts it)", o->home);
    }
    (void)snprintf(path, sizeof(path), "%s/run/ready.json", o->home);
    ready = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    const char *url = json_string_value(json_object_get(ready, "url"));
    enum status s = STATUS_OK;
    if (url == NULL || strlen(url) >= sizeof(out->url)) {
        s = error_set(err, STATUS_UNAVAILABLE,
                      "the appliance on %s is not ready: `carrel status` says why", o->home);
    } else {
        (void)snprintf(out->url, sizeof(out->url), "%s", url);
        find_certificate(o, out);
        s = read_key(o, out, err);
    }
    json_decref(ready);
    return s;
}

struct transfer {
    CURL *curl;
    struct buf text; /* the whole answer, or an error's */
    bool (*on_data)(void *data, const char *p, size_t n);
    void *data;
};

static size_t take(char *p, size_t size, size_t n, void *data)
{
    struct transfer *t = data;
    long status = 0;

    (void)curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    if (t->on_data != NULL && status < 300) {
        return t->on_data(t->data, p, size * n) ? size * n : 0;
    }
    buf_append(&t->text, p, size * n);
    return buf_status(&t->text) == STATUS_OK ? size * n : 0;
}

static enum status status_of_http(long code)
{
    for (int i = 0; i < STATUS_COUNT; i++) {
        if (i != STATUS_OK && status_http((enum status)i) == (int)code) {
            return (enum status)i;
        }
    }
    return STATUS_INTERNAL;
}

/* OpenAI's error shape. A part that is down answers 503: that is a failure, not "not running". */
static enum status refused(const struct transfer *t, long code, struct error *err)
{
    json_error_t why;
    json_t *j = json_loadb(buf_view(&t->text).ptr, t->text.len, 0, &why);
    const char *m = json_string_value(json_object_get(json_object_get(j, "error"), "message"));
    enum status s = status_of_http(code);

    s = error_set(err, s == STATUS_UNAVAILABLE || s == STATUS_NOT_FOUND ? STATUS_INTERNAL : s,
                  "%s (%ld)", m == NULL ? "the appliance refused" : m, code);
    json_decref(j);
    return s;
}

/* One request, whatever is done with its answer. *headers is freed by the caller after it. */
static enum status prepare(CURL *curl, const struct http *h, const char *method, const char *path,
                           const struct str *body, const char *type, long timeout_ms,
                           struct curl_slist **headers, struct error *err)
{
    char url[2304];
    char auth[300];
    char content[128];
    int n = snprintf(url, sizeof(url), "%s%s", h->url, path);

    if (n < 0 || (size_t)n >= sizeof(url)) {
        return error_set(err, STATUS_TOO_LARGE, "%.80s...: too long for a request", path);
    }
    /* without a key there is no such header */
    (void)snprintf(auth, sizeof(auth), "Authorization:%s%s", h->key[0] == '\0' ? "" : " Bearer ",
                   h->key);
    (void)snprintf(content, sizeof(content), "Content-Type: %s", type);
    *headers = curl_slist_append(*headers, auth);
    *headers = curl_slist_append(*headers, content);
    *headers = curl_slist_append(*headers, "Expect:");
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, *headers);
    (void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, 5000L);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, timeout_ms);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    if (h->certificate[0] != '\0') {
        (void)curl_easy_setopt(curl, CURLOPT_CAINFO, h->certificate);
    }
    if (body != NULL) {
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body->len);
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body->ptr);
    }
    (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    return STATUS_OK;
}

static enum status not_sent(CURLcode rc, const struct http *h, const char *path, struct error *err)
{
    return error_set(err, rc == CURLE_COULDNT_CONNECT ? STATUS_UNAVAILABLE : STATUS_IO, "%s%s: %s",
                     h->url, path, curl_easy_strerror(rc));
}

/* Sends it, and tells what became of it. */
static enum status run(const struct http *h, const char *path, struct transfer *t,
                       struct error *err)
{
    long code = 0;

    (void)curl_easy_setopt(t->curl, CURLOPT_WRITEFUNCTION, take);
    (void)curl_easy_setopt(t->curl, CURLOPT_WRITEDATA, t);
    CURLcode rc = curl_easy_perform(t->curl);
    (void)curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &code);
    if (code >= 300) { /* also where it was refused before all of it was sent */
        return refused(t, code, err);
    }
    if (rc != CURLE_OK && rc != CURLE_WRITE_ERROR) {
        return not_sent(rc, h, path, err);
    }
    return buf_status(&t->text) == STATUS_OK
               ? STATUS_OK
               : error_set(err, STATUS_TOO_LARGE, "the answer is larger than %zu bytes",
                           ANSWER_MAX);
}

static enum status perform(const struct http *h, const char *method, const char *path,
                           const json_t *body, struct transfer *t, struct error *err)
{
    struct curl_slist *headers = NULL;
    char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
    struct str sent = str_from(text == NULL ? "" : text);
    enum status s = STATUS_OK;

    t->curl = curl_easy_init();
    if (t->curl == NULL || (body != NULL && text == NULL)) {
        s = error_set(err, STATUS_INVALID, "the request could not be made (is the text UTF-8?)");
        goto out;
    }
    s = prepare(t->curl, h, method, path, text == NULL ? NULL : &sent, "application/json", 900000L,
                &headers, err);
    if (s != STATUS_OK) {
        goto out;
    }
    s = run(h, path, t, err);
out:
    curl_slist_free_all(headers);
    if (t->curl != NULL) {
        curl_easy_cleanup(t->curl);
    }
    free(text);
    return s;
}

static enum status parse_answer(const struct http *h, const char *path, const struct transfer *t,
                                json_t **out, struct error *err)
{
    json_error_t why;

    *out = json_loadb(buf_view(&t->text).ptr, t->text.len, 0, &why);
    return *out != NULL ? STATUS_OK
                        : error_set(err, STATUS_PROTOCOL, "%s%s: the answer is no JSON: %s", h->url,
                                    path, why.text);
}

static enum status answer_json(const struct http *h, const char *method, const char *path,
                               const json_t *body, json_t **out, struct error *err)
{
    struct transfer t = {.on_data = NULL};

    buf_init(&t.text, ANSWER_MAX);
    enum status s = perform(h, method, path, body, &t, err);
    if (s == STATUS_OK) {
        s = parse_answer(h, path, &t, out, err);
    }
    buf_deinit(&t.text);
    return s;
}

enum status http_json(const struct http *h, const char *path, const json_t *body, json_t **out,
                      struct error *err)
{
    return answer_json(h, body == NULL ? "GET" : "POST", path, body, out, err);
}

enum status http_delete(const struct http *h, const char *path, json_t **out, struct error *err)
{
    return answer_json(h, "DELETE", path, NULL, out, err);
}

enum status http_ask(const struct options *o, const char *path, const json_t *body, json_t **out,
                     struct error *err)
{
    struct http h;
    enum status s = http_open(o, &h, err);
    if (s == STATUS_OK) {
        s = http_json(&h, path, body, out, err);
    }
    explicit_bzero(h.key, sizeof(h.key));
    return s;
}

enum status http_ask_delete(const struct options *o, const char *path, json_t **out,
                            struct error *err)
{
    struct http h;
    enum status s = http_open(o, &h, err);
    if (s == STATUS_OK) {
        s = http_delete(&h, path, out, err);
    }
    explicit_bzero(h.key, sizeof(h.key));
    return s;
}

enum status http_stream(const struct http *h, const char *path, const json_t *body,
                        bool (*on_data)(void *data, const char *p, size_t n), void *data,
                        struct error *err)
{
    struct transfer t = {.on_data = on_data, .data = data};

    buf_init(&t.text, ANSWER_MAX);
    enum status s = perform(h, "POST", path, body, &t, err);
    buf_deinit(&t.text);
    return s;
}

static size_t give(char *p, size_t size, size_t n, void *data)
{
    const int *fd = data;
    ssize_t got;

    do {
        got = read(*fd, p, size * n);
    } while (got < 0 && errno == EINTR);
    return got < 0 ? CURL_READFUNC_ABORT : (size_t)got;
}

enum status http_upload(const struct http *h, const char *path, int fd, int64_t bytes, json_t **out,
                        struct error *err)
{
    struct transfer t = {.curl = curl_easy_init()};
    struct curl_slist *headers = NULL;

    if (t.curl == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    buf_init(&t.text, ANSWER_MAX);
    enum status s =
        prepare(t.curl, h, "POST", path, NULL, "application/octet-stream", 3600000L, &headers, err);
    if (s == STATUS_OK) {
        (void)curl_easy_setopt(t.curl, CURLOPT_POST, 1L);
        (void)curl_easy_setopt(t.curl, CURLOPT_READFUNCTION, give);
        (void)curl_easy_setopt(t.curl, CURLOPT_READDATA, &fd);
        (void)curl_easy_setopt(t.curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)bytes);
        s = run(h, path, &t, err);
    }
    if (s == STATUS_OK) {
        s = parse_answer(h, path, &t, out, err);
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(t.curl);
    buf_deinit(&t.text);
    return s;
}

static size_t take_raw(char *p, size_t size, size_t n, void *data)
{
    struct buf *out = data;

    buf_append(out, p, size * n);
    return buf_status(out) == STATUS_OK ? size * n : 0;
}

enum status http_raw(const struct http *h, const char *method, const char *path,
                     const struct str *body, const char *type, long *code, struct buf *out,
                     struct error *err)
{
    struct curl_slist *headers = NULL;
    CURL *curl = curl_easy_init();

    if (curl == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    enum status s = prepare(curl, h, method, path, body, type, 120000L, &headers, err);
    if (s == STATUS_OK) {
        (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_raw);
        (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, out);
        CURLcode rc = curl_easy_perform(curl);
        (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, code);
        s = rc == CURLE_OK ? STATUS_OK : not_sent(rc, h, path, err);
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return s;
}
