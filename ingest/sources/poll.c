#include "ingest/sources/poll.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "ingest/sources/poll_internal.h"
#include "ingest/tree.h"

#define RETRY_FIRST_MS ((int64_t)60000)
#define RETRY_MAX_MS ((int64_t)3600000)
#define PAGE_BYTES ((size_t)16 << 20)
#define FEW_FILES 10 /* of so few any number may go at once */

/* ---- the folder ---- */

static enum status read_marker(const struct polling *p, char out[80], struct error *err)
{
    int fd = openat(p->folder, SOURCE_MARKER, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    out[0] = '\0';
    if (fd < 0) {
        return errno == ENOENT ? STATUS_OK : error_errno(err, errno, "%s", SOURCE_MARKER);
    }
    ssize_t n = read(fd, out, 79);
    enum status s = n >= 0 ? STATUS_OK : error_errno(err, errno, "%s", SOURCE_MARKER);
    out[n > 0 ? n : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
    (void)close(fd);
    return s;
}

static enum status write_marker(const struct polling *p, struct error *err)
{
    char text[80];
    int n = snprintf(text, sizeof text, "%.64s\n", p->s->name);
    int fd = openat(p->folder, SOURCE_MARKER, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                    0644);
    if (fd < 0) {
        return error_errno(err, errno, "%s", SOURCE_MARKER);
    }
    enum status s = file_write_all(fd, text, (size_t)n, err);
    (void)close(fd);
    return s;
}

static enum status has_files(const struct polling *p, bool *out, struct error *err)
{
    int fd = openat(p->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (d == NULL) {
        enum status s = error_errno(err, errno, "the source's folder");
        if (fd >= 0) {
            (void)close(fd);
        }
        return s;
    }
    *out = false;
    for (const struct dirent *e = readdir(d); e != NULL && !*out; e = readdir(d)) {
        *out = e->d_name[0] != '.';
    }
    (void)closedir(d);
    return STATUS_OK;
}

/* Opens the folder, which is made where it is missing. One with files of its own is not taken: they
 * are somebody's. A new one knows nothing: all is fetched. */
static enum status open_folder(struct polling *p, struct error *err)
{
    char below[256];
    char name[256];
    char marker[80];
    bool full = false;
    int root = open(p->j->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) {
        return error_set(err, STATUS_UNAVAILABLE, "the tenant's watched folder is missing");
    }
    (void)snprintf(below, sizeof below, "%.200s/x", p->s->folder);
    enum status s = tree_open_parent(root, str_from(below), true, &p->folder, name, err);
    (void)close(root);
    if (s == STATUS_OK) {
        s = read_marker(p, marker, err);
    }
    if (s != STATUS_OK || strcmp(marker, p->s->name) == 0) {
        return s;
    }
    if (marker[0] != '\0') {
        return error_set(err, STATUS_CONFLICT, "the folder %.80s is that of the source %.64s",
                         p->s->folder, marker);
    }
    s = has_files(p, &full, err);
    if (s == STATUS_OK && full) {
        s = error_set(
            err, STATUS_CONFLICT,
            "the folder %.80s has files of its own: name another as `folder`, or empty it",
            p->s->folder);
    }
    if (s == STATUS_OK) {
        s = source_state_forget(p->state, err);
    }
    return s == STATUS_OK ? write_marker(p, err) : s;
}

/* ---- where keys count from ---- */

static enum status find_origin(struct polling *p, struct error *err)
{
    p->origin = *fetcher_origin(p->fetcher);
    size_t len = strlen(p->origin.path);
    if (strcmp(p->s->kind, "s3") == 0) {
        const char *slash = strrchr(p->s->prefix, '/');
        int cut = slash == NULL ? 0 : (int)(slash - p->s->prefix) + 1;
        int n = snprintf(p->origin.path + len, sizeof p->origin.path - len, "%s/%.*s", p->s->bucket,
                         cut, p->s->prefix);
        return n > 0 && (size_t)n < sizeof p->origin.path - len
                   ? STATUS_OK
                   : error_set(err, STATUS_INVALID, "its prefix is too long");
    }
    if (strcmp(p->s->kind, "http-index") == 0 && p->s->url[strlen(p->s->url) - 1] != '/' &&
        len > 1) {
        p->origin.path[len - 1] = '\0'; /* a page or a list: what is beside it */
        char *slash = strrchr(p->origin.path, '/');
        slash[1] = '\0';
    }
    return STATUS_OK;
}

/* ---- a poll ---- */

/* A page about maintenance, a mistyped prefix and a listing cut off where no length was told look
 * like files that have gone: all of them, or most. */
static bool far_fewer(const struct polling *p, const struct source_counts *before)
{
    return p->listed == 0 ? before->files > 0
                          : before->files >= FEW_FILES && p->listed < before->files / 2;
}

static enum status poll_all(struct polling *p, struct error *err)
{
    struct source_counts before;
    struct error listing = {0};
    enum status s = source_state_count(p->state, &before, err);
    if (s != STATUS_OK) {
        return s;
    }
    p->j->progress.listing = true;
    enum status listed = poll_list(p, &listing);
    p->j->progress.listing = false;
    bool fewer = listed == STATUS_OK && far_fewer(p, &before);
    p->doubtful = fewer && !p->j->poll.empty;
    p->j->poll.empty = fewer;
    if (listed == STATUS_OK && !p->doubtful) {
        s = poll_delete(p, err);
    }
    /* what a broken listing has told of is right all the same; without an answer nothing will be */
    if (s == STATUS_OK && (listed == STATUS_OK || p->listed > 0) && listed != STATUS_CANCELLED &&
        p->retry_after_s == 0) {
        s = poll_fetch(p, err);
    }
    if (listed != STATUS_OK) {
        *err = listing;
        return listed;
    }
    if (s == STATUS_OK && p->doubtful && p->listed == 0) {
        s = error_set(err, STATUS_UNAVAILABLE,
                      "it lists no file any more: what is here is kept until it says so again");
    } else if (s == STATUS_OK && p->doubtful) {
        s = error_set(err, STATUS_UNAVAILABLE,
                      "it lists %llu files where there were %llu: what is here is kept until it "
                      "says so again",
                      (unsigned long long)p->listed, (unsigned long long)before.files);
    }
    return s;
}

static enum status open_all(struct polling *p, struct error *err)
{
    char socket[4096];
    enum status s = file_join(socket, sizeof socket, p->j->home, SOURCES_SOCKET, err);
    if (s == STATUS_OK) {
        s = fetcher_new(p->s, socket, &p->j->cancelled, &p->fetcher, err);
    }
    if (s == STATUS_OK) {
        s = find_origin(p, err);
    }
    return s == STATUS_OK ? open_folder(p, err) : s;
}

/* When the next one is due: after a failure soon, then ever later. What is to be told again is
 * told by a look in its own time, not by the same fault a minute later. */
static void set_due(const struct polling *p, struct source_poll *poll, enum status s)
{
    int64_t wait = p->s->interval_ms;
    if (s != STATUS_OK && !p->doubtful) {
        int64_t most = wait > RETRY_MAX_MS ? wait : RETRY_MAX_MS;
        wait = wait < RETRY_FIRST_MS ? wait : RETRY_FIRST_MS;
        for (uint32_t i = 1; i < poll->failures && wait < most; i++) {
            wait *= 2;
        }
        wait = wait < most ? wait : most;
    }
    if (s != STATUS_OK && wait < p->retry_after_s * 1000) {
        wait = p->retry_after_s * 1000;
    }
    poll->due_ms = poll->ended_ms + wait;
}

static void finish(struct polling *p, enum status s)
{
    struct source_job *j = p->j;
    struct error ignored = {0};
    j->err.code = s;
    j->poll.ended_ms = clock_wall_ms();
    j->poll.failures = s == STATUS_OK ? 0 : j->poll.failures + 1;
    j->poll.ok_ms = s == STATUS_OK ? j->poll.ended_ms : j->poll.ok_ms;
    set_due(p, &j->poll, s);
    if (p->fetcher != NULL) {
        fetcher_totals(p->fetcher, &j->requests, &j->bytes);
    }
    if (source_state_set_poll(p->state, &j->poll, s == STATUS_OK ? "" : j->err.text, &ignored) !=
            STATUS_OK &&
        s == STATUS_OK) {
        j->err = ignored;
    }
    LOG_INFO("source looked at", LOG_STR("source", j->source->name),
             LOG_STR("tenant", j->source->tenant), LOG_INT("listed", p->listed),
             LOG_INT("fetched", j->progress.fetched), LOG_INT("deleted", j->progress.deleted),
             LOG_INT("requests", j->requests), LOG_INT("bytes", j->bytes),
             LOG_INT("dur_ms", j->poll.ended_ms - j->poll.started_ms),
             LOG_STR("err", s == STATUS_OK ? "" : j->err.text), LOG_END);
}

void source_poll_run(struct source_job *j)
{
    char path[4096];
    struct polling p = {.j = j, .s = j->source, .folder = -1};
    struct error ignored = {0};
    j->ran = false;
    j->err = (struct error){.code = STATUS_OK};
    j->passed_over = j->requests = j->bytes = 0;
    list_init(&p.folders);
    buf_init(&p.page, PAGE_BYTES);
    buf_init(&p.key, (size_t)3 * LISTING_KEY_MAX);
    int n = snprintf(path, sizeof path, "%s/tenants/%s/sources.db", j->home, j->source->tenant);
    enum status s = n > 0 && (size_t)n < sizeof path
                        ? source_state_open(path, j->source->name, &p.state, &j->err)
                        : error_set(&j->err, STATUS_TOO_LARGE, "%.100s: path too long", j->home);
    if (s == STATUS_OK) {
        s = source_state_poll(p.state, &j->poll, &j->err);
    }
    int64_t now = clock_wall_ms();
    bool anew =
        j->first && (j->poll.failures > 0 || j->poll.ended_ms + j->source->interval_ms <= now);
    bool due =
        j->forced || anew || j->poll.due_ms <= now ||
        j->poll.due_ms > now + RETRY_MAX_MS + 2 * j->source->interval_ms; /* a clock set back */
    if (s == STATUS_OK && due) {
        j->ran = true;
        j->poll.number++;
        j->poll.started_ms = now;
        j->progress.number = j->poll.number;
        s = open_all(&p, &j->err);
        s = s == STATUS_OK ? poll_all(&p, &j->err) : s;
        finish(&p, s);
    } else if (s != STATUS_OK) {
        j->err.code = s;
        j->poll.due_ms = now + RETRY_FIRST_MS;
    }
    if (p.state != NULL && source_state_count(p.state, &j->counts, &ignored) != STATUS_OK) {
        j->counts = (struct source_counts){0};
    }
    source_state_close(p.state);
    fetcher_free(p.fetcher);
    if (p.folder >= 0) {
        (void)close(p.folder);
    }
    while (!list_empty(&p.folders)) {
        struct list *it = p.folders.next;
        list_remove(it);
        free(it); /* the link comes first */
    }
    buf_deinit(&p.page);
    buf_deinit(&p.key);
}
