#include "ingest/sources/fetch.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "ingest/sources/sign.h"

#define CONNECT_MS 20000L
#define SLOW_BYTES 512L            /* a second; slower for idle_timeout is standing still */
#define LONGEST_MS (3600L * 1000L) /* of one transfer */
#define CREDENTIALS_MAX ((size_t)8192)
#define VALUE_MAX 1024
#define URL_MAX_BYTES ((size_t)32768)
#define DISCARDED_MAX ((uint64_t)65536) /* of a body that is no 2xx's */

struct fetcher {
    const struct source_settings *s;
    struct origin origin;
    char host[280];
    CURL *easy;
    const _Atomic bool *cancelled;
    struct buf proxy;
    char user[VALUE_MAX], password[VALUE_MAX], token[VALUE_MAX];
    char access_key[VALUE_MAX], secret_key[VALUE_MAX];
    uint64_t requests, bytes;

    /* of the request under way */
    const struct fetch_request *q;
    struct fetch_reply *reply;
    struct sha256 *sum;
    uint64_t discarded;
    struct error failed; /* of our own doing */
    char message[CURL_ERROR_SIZE];
};

enum status fetch_init(struct error *err)
{
    return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK
               ? STATUS_OK
               : error_set(err, STATUS_INTERNAL, "libcurl cannot be started");
}

/* ---- credentials ---- */

static bool take_value(char out[VALUE_MAX], struct str v)
{
    bool plain = v.len > 0 && v.len < VALUE_MAX && out[0] == '\0';
    for (size_t i = 0; i < v.len && plain; i++) {
        plain = (unsigned char)v.ptr[i] >= 0x20 && v.ptr[i] != 0x7f;
    }
    if (plain) {
        memcpy(out, v.ptr, v.len);
        out[v.len] = '\0';
    }
    return plain;
}

static enum status take_line(struct fetcher *f, struct str line, struct error *err)
{
    const struct {
        struct str name;
        char *value;
    } known[] = {{STR("user"), f->user},
                 {STR("password"), f->password},
                 {STR("token"), f->token},
                 {STR("access_key"), f->access_key},
                 {STR("secret_key"), f->secret_key}};
    const char *colon = memchr(line.ptr, ':', line.len);
    size_t len = colon == NULL ? 0 : (size_t)(colon - line.ptr);
    for (size_t i = 0; i < sizeof known / sizeof *known && colon != NULL; i++) {
        if (str_eq(listing_trim((struct str){line.ptr, len}), known[i].name) &&
            take_value(known[i].value,
                       listing_trim((struct str){colon + 1, line.len - len - 1}))) {
            return STATUS_OK;
        }
    }
    return error_set(err, STATUS_INVALID, /* the line itself is not shown: it may be a secret */
                     "%.200s: has a line that is not one of user, password, token, access_key and "
                     "secret_key with a value",
                     f->s->credentials_file);
}

/* A file that others can read is refused, not warned about. */
static enum status read_credentials(struct fetcher *f, struct error *err)
{
    struct buf text;
    struct stat st;
    const char *path = f->s->credentials_file;
    if (path[0] == '\0') {
        return STATUS_OK;
    }
    if (stat(path, &st) != 0) {
        return error_errno(err, errno, "credentials_file %.200s", path);
    }
    if (!S_ISREG(st.st_mode) || (st.st_mode & 077) != 0) {
        return error_set(err, STATUS_FORBIDDEN,
                         "credentials_file: others can read %.200s; run chmod 600 on it", path);
    }
    buf_init(&text, CREDENTIALS_MAX);
    enum status s = file_read(path, &text, err);
    for (size_t at = 0; at < text.len && s == STATUS_OK;) {
        const char *end = memchr(text.ptr + at, '\n', text.len - at);
        size_t len = end == NULL ? text.len - at : (size_t)(end - text.ptr) - at;
        struct str line = listing_trim((struct str){text.ptr + at, len});
        at += len + 1;
        s = line.len == 0 || line.ptr[0] == '#' ? STATUS_OK : take_line(f, line, err);
    }
    if (s == STATUS_OK && (f->access_key[0] == '\0') != (f->secret_key[0] == '\0')) {
        s = error_set(err, STATUS_INVALID, "%.200s: access_key and secret_key go together", path);
    }
    if (text.ptr != NULL) {
        explicit_bzero(text.ptr, text.cap);
    }
    buf_deinit(&text);
    return s;
}

/* ---- life ---- */

static enum status make_proxy(struct fetcher *f, const char *socket, struct error *err)
{
    buf_init(&f->proxy, 4096);
    buf_z(&f->proxy, "socks5h://localhost");
    url_encode(&f->proxy, str_from(socket), true);
    buf_char(&f->proxy, '\0');
    enum status s = buf_status(&f->proxy);
    return s == STATUS_OK ? s : error_set(err, s, "%.100s: too long for a socket's path", socket);
}

enum status fetcher_new(const struct source_settings *s, const char *socket,
                        const _Atomic bool *cancelled, struct fetcher **out, struct error *err)
{
    struct fetcher *f = calloc(1, sizeof *f);
    if (f == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    f->s = s;
    f->cancelled = cancelled;
    enum status st = make_proxy(f, socket, err);
    if (st == STATUS_OK) {
        st = origin_of_url(s->url, &f->origin, err);
    }
    if (st == STATUS_OK) {
        origin_host(&f->origin, f->host);
        st = read_credentials(f, err);
    }
    f->easy = st == STATUS_OK ? curl_easy_init() : NULL;
    if (st == STATUS_OK && f->easy == NULL) {
        st = error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    if (st != STATUS_OK) {
        fetcher_free(f);
        return st;
    }
    *out = f;
    return STATUS_OK;
}

void fetcher_free(struct fetcher *f)
{
    if (f == NULL) {
        return;
    }
    if (f->easy != NULL) {
        curl_easy_cleanup(f->easy);
    }
    buf_deinit(&f->proxy);
    explicit_bzero(f, sizeof *f);
    free(f);
}

const struct origin *fetcher_origin(const struct fetcher *f)
{
    return &f->origin;
}

void fetcher_totals(const struct fetcher *f, uint64_t *requests, uint64_t *bytes)
{
    *requests = f->requests;
    *bytes = f->bytes;
}

/* ---- what comes ---- */

static bool succeeded(struct fetcher *f)
{
    long status = 0;
    (void)curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
    return status >= 200 && status < 300;
}

static size_t on_body(char *p, size_t size, size_t n, void *data)
{
    struct fetcher *f = data;
    size_t len = size * n;
    if (!succeeded(f)) {
        f->discarded += len;
        return f->discarded > DISCARDED_MAX ? 0 : len;
    }
    if (len > f->q->max_bytes - f->reply->bytes) {
        (void)error_set(&f->failed, STATUS_TOO_LARGE, "it is larger than %llu MiB",
                        (unsigned long long)(f->q->max_bytes >> 20));
        return 0;
    }
    f->reply->bytes += len;
    if (f->q->text != NULL) {
        buf_append(f->q->text, p, len);
        return buf_status(f->q->text) == STATUS_OK ? len : 0;
    }
    sha256_add(f->sum, p, len);
    return file_write_all(f->q->fd, p, len, &f->failed) == STATUS_OK ? len : 0;
}

static bool header_value(struct str line, const char *name, char *out, size_t cap)
{
    size_t n = strlen(name);
    if (line.len <= n || line.ptr[n] != ':' || strncasecmp(line.ptr, name, n) != 0) {
        return false;
    }
    struct str v = listing_trim((struct str){line.ptr + n + 1, line.len - n - 1});
    if (v.len >= cap || memchr(v.ptr, '\0', v.len) != NULL) {
        return false; /* longer than any honest one: not told */
    }
    memcpy(out, v.ptr, v.len);
    out[v.len] = '\0';
    return true;
}

static size_t on_header(char *p, size_t size, size_t n, void *data)
{
    struct fetcher *f = data;
    struct str line = {p, size * n};
    struct fetch_reply *r = f->reply;
    char value[LISTING_VERSION_CAP - 8];
    if (str_starts(line, STR("HTTP/"))) { /* of an answer that comes after another one's head */
        r->version[0] = r->type[0] = '\0';
        r->modified_s = 0;
    } else if (header_value(line, "etag", value, sizeof value)) {
        (void)snprintf(r->version, sizeof r->version, "e%s", value);
    } else if (header_value(line, "last-modified", value, sizeof value)) {
        time_t t = curl_getdate(value, NULL);
        r->modified_s = t > 0 ? t : 0;
        if (r->version[0] != 'e') {
            (void)snprintf(r->version, sizeof r->version, "m%s", value);
        }
    } else if (header_value(line, "content-type", value, sizeof value)) {
        size_t len = strcspn(value, "; \t");
        len = len < sizeof r->type - 1 ? len : sizeof r->type - 1;
        for (size_t i = 0; i < len; i++) {
            char c = value[i];
            r->type[i] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
        }
        r->type[len] = '\0';
    }
    return line.len;
}

static int on_progress(void *data, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct fetcher *f = data;
    (void)a, (void)b, (void)c, (void)d;
    return *f->cancelled ? 1 : 0;
}

/* Extractors are started meanwhile; they get nothing of this along. */
static int on_socket(void *data, curl_socket_t fd, curlsocktype purpose)
{
    (void)data, (void)purpose;
    return fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 ? CURL_SOCKOPT_OK : CURL_SOCKOPT_ERROR;
}

/* ---- a request ---- */

static bool add(struct curl_slist **list, const char *line)
{
    struct curl_slist *more = curl_slist_append(*list, line);
    *list = more != NULL ? more : *list;
    return more != NULL;
}

static bool add_signature(struct fetcher *f, struct curl_slist **list)
{
    struct buf lines;
    const char *path = strstr(f->q->url, "://");
    path = path == NULL ? NULL : strchr(path + 3, '/');
    struct sign s = {.method = f->q->method,
                     .host = f->host,
                     .path = path == NULL ? "/" : path,
                     .query = f->q->query,
                     .region = f->s->region,
                     .service = "s3",
                     .access_key = f->access_key,
                     .secret_key = f->secret_key,
                     .token = f->token,
                     .now_s = clock_wall_ms() / 1000};
    buf_init(&lines, URL_MAX_BYTES);
    sign_lines(&s, &lines);
    bool ok = buf_status(&lines) == STATUS_OK;
    for (char *p = lines.ptr; ok && p != NULL && p < lines.ptr + lines.len;) {
        char *end = memchr(p, '\n', (size_t)(lines.ptr + lines.len - p));
        ok = end != NULL;
        if (ok) {
            *end = '\0';
            ok = add(list, p);
            p = end + 1;
        }
    }
    buf_deinit(&lines);
    return ok;
}

static bool make_headers(struct fetcher *f, struct curl_slist **list)
{
    char line[LISTING_VERSION_CAP + 32];
    const char *version = f->q->version;
    bool ok = add(list, "User-Agent: carrel") && add(list, "Accept: */*");
    if (version != NULL && version[0] == 'e') {
        (void)snprintf(line, sizeof line, "If-None-Match: %s", version + 1);
        ok = ok && add(list, line);
    } else if (version != NULL && version[0] == 'm') {
        (void)snprintf(line, sizeof line, "If-Modified-Since: %s", version + 1);
        ok = ok && add(list, line);
    }
    if (f->q->body != NULL) {
        ok = ok && add(list, "Content-Type: application/xml; charset=utf-8") &&
             add(list, "Depth: 1") && add(list, "Expect:");
    }
    return ok && (f->access_key[0] == '\0' || add_signature(f, list));
}

static bool set_options(struct fetcher *f, const char *url, struct curl_slist *headers)
{
    CURL *e = f->easy;
    bool ok = true;
    curl_easy_reset(e); /* connections stay */
#define SET(option, value) ok = ok && curl_easy_setopt(e, option, value) == CURLE_OK
    SET(CURLOPT_URL, url);
    SET(CURLOPT_PATH_AS_IS, 1L);
    SET(CURLOPT_PROTOCOLS_STR, f->origin.scheme);
    SET(CURLOPT_PROXY, f->proxy.ptr);
    SET(CURLOPT_NOPROXY, ""); /* whatever the environment says */
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_SOCKOPTFUNCTION, on_socket);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    if (f->s->ca_file[0] != '\0') {
        SET(CURLOPT_CAINFO, f->s->ca_file);
        SET(CURLOPT_CAPATH, NULL);
    }
    SET(CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)f->q->max_bytes); /* where it is told beforehand */
    SET(CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    SET(CURLOPT_TIMEOUT_MS, LONGEST_MS);
    SET(CURLOPT_LOW_SPEED_LIMIT, SLOW_BYTES);
    SET(CURLOPT_LOW_SPEED_TIME, (long)((f->s->idle_timeout_ms + 999) / 1000));
    SET(CURLOPT_CUSTOMREQUEST, f->q->method);
    if (f->q->body != NULL) {
        SET(CURLOPT_POSTFIELDS, f->q->body);
    }
    if (f->access_key[0] == '\0' && f->token[0] != '\0') {
        SET(CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
        SET(CURLOPT_XOAUTH2_BEARER, f->token);
    } else if (f->user[0] != '\0') {
        SET(CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        SET(CURLOPT_USERNAME, f->user);
        SET(CURLOPT_PASSWORD, f->password);
    }
    SET(CURLOPT_HTTPHEADER, headers);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, f);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, f);
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(CURLOPT_XFERINFODATA, f);
    SET(CURLOPT_ERRORBUFFER, f->message);
#undef SET
    return ok;
}

static enum status explain(struct fetcher *f, CURLcode code, struct error *err)
{
    const char *what = f->message[0] != '\0' ? f->message : curl_easy_strerror(code);
    if (*f->cancelled) {
        return error_set(err, STATUS_CANCELLED, "broken off");
    }
    if (f->failed.code != STATUS_OK) {
        *err = f->failed;
        return err->code;
    }
    switch ((int)code) {
    case CURLE_OUT_OF_MEMORY:
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    case CURLE_FILESIZE_EXCEEDED:
        return error_set(err, STATUS_TOO_LARGE, "it is larger than %llu MiB",
                         (unsigned long long)(f->q->max_bytes >> 20));
    case CURLE_OPERATION_TIMEDOUT:
        return error_set(err, STATUS_UNAVAILABLE, "%.100s stands still: %.200s", f->host, what);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        return error_set(err, STATUS_UNAVAILABLE, "%.100s: its certificate is not trusted: %.200s",
                         f->host, what);
    default:
        return error_set(err, STATUS_UNAVAILABLE, "%.100s cannot be reached: %.200s", f->host,
                         what);
    }
}

static void tell(const struct fetcher *f, const struct fetch_request *q, const struct error *err,
                 int64_t started)
{
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX_CAP];
    sha256_of(q->url, strlen(q->url), digest);
    sha256_hex(digest, hex);
    hex[16] = '\0';
    LOG_INFO("fetched", LOG_STR("source", f->s->name), LOG_STR("tenant", f->s->tenant),
             LOG_STR("host", f->host), LOG_STR("method", q->method), LOG_STR("path", hex),
             LOG_INT("http", f->reply->status), LOG_INT("bytes", f->reply->bytes),
             LOG_INT("dur_ms", clock_monotonic_ms() - started),
             LOG_STR("err", err->code == STATUS_OK ? "" : err->text), LOG_END);
}

enum status fetch_run(struct fetcher *f, const struct fetch_request *q, struct fetch_reply *out,
                      struct error *err)
{
    struct curl_slist *headers = NULL;
    struct buf url;
    int64_t started = clock_monotonic_ms();
    curl_off_t retry = 0;
    char *to = NULL;
    struct error said = {0};
    *out = (struct fetch_reply){0};
    f->q = q;
    f->reply = out;
    f->discarded = 0;
    f->failed = (struct error){.code = STATUS_OK};
    f->message[0] = '\0';
    f->sum = q->text == NULL ? sha256_new() : NULL;
    buf_init(&url, URL_MAX_BYTES);
    buf_z(&url, q->url);
    buf_z(&url, q->query[0] == '\0' ? "" : "?");
    buf_z(&url, q->query);
    buf_char(&url, '\0');
    if (q->text != NULL) {
        buf_reset(q->text);
    }
    bool ok = buf_status(&url) == STATUS_OK && (f->sum != NULL || q->text != NULL) &&
              make_headers(f, &headers) && set_options(f, url.ptr, headers);
    enum status s =
        ok ? STATUS_OK
           : error_set(&said, STATUS_INVALID, "a request cannot be made of that address");
    CURLcode code = ok ? curl_easy_perform(f->easy) : CURLE_OK;
    if (ok) {
        (void)curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &out->status);
        (void)curl_easy_getinfo(f->easy, CURLINFO_RETRY_AFTER, &retry);
        out->retry_after_s = retry > 86400 ? 86400 : retry < 0 ? 0 : (long)retry;
        (void)curl_easy_getinfo(f->easy, CURLINFO_REDIRECT_URL, &to);
        (void)snprintf(out->moved_to, sizeof out->moved_to, "%.1000s", to == NULL ? "" : to);
        bool page = code == CURLE_WRITE_ERROR && f->failed.code == STATUS_OK && !succeeded(f);
        s = code == CURLE_OK || page ? STATUS_OK : explain(f, code, &said);
    }
    if (f->sum != NULL) {
        sha256_end(f->sum, out->hash);
    }
    f->requests++;
    f->bytes += out->bytes;
    tell(f, q, &said, started);
    curl_slist_free_all(headers);
    (void)curl_easy_setopt(f->easy, CURLOPT_HTTPHEADER, NULL);
    buf_deinit(&url);
    if (s != STATUS_OK && err != NULL) {
        *err = said;
    }
    return s;
}
