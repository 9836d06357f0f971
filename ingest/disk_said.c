/* What folders say of themselves, read when it has changed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ingest/disk_internal.h"
#include "ingest/paths.h"

#define SAID_ARENA ((size_t)2 << 20)
#define SAID_KEPT 10000 /* folders that say something; more are read each time */
#define FOLDER_FILE_MAX 65536

void disk_said_release(struct disk_said *s)
{
    if (s != NULL && --s->uses == 0) {
        arena_reset(&s->arena);
        free(s);
    }
}

/* What cannot be looked at is not taken for missing: it may say that few may read. */
static enum status stamp_at(int folder, const char *name, struct file_stamp *out, struct error *err)
{
    struct stat st;
    *out = (struct file_stamp){0};
    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return errno == ENOENT ? STATUS_OK : error_errno(err, errno, "%s", name);
    }
    if (S_ISREG(st.st_mode)) {
        *out = file_stamp_of(&st);
    }
    return STATUS_OK;
}

/* The file's text; *stamp becomes that of what was read. */
static enum status read_at(int folder, const char *name, struct file_stamp *stamp, struct buf *text,
                           struct error *err)
{
    struct stat st;
    int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) != 0) {
        enum status s = error_errno(err, errno, "%s", name);
        if (fd >= 0) {
            (void)close(fd);
        }
        return s;
    }
    *stamp = file_stamp_of(&st);
    enum status s =
        S_ISREG(st.st_mode) && st.st_size <= FOLDER_FILE_MAX
            ? STATUS_OK
            : error_set(err, STATUS_TOO_LARGE, "%s: larger than %d bytes", name, FOLDER_FILE_MAX);
    while (s == STATUS_OK) {
        char *room = buf_reserve(text, 4096);
        ssize_t n = room == NULL ? -1 : read(fd, room, 4096);
        if (n < 0) {
            s = room == NULL ? error_set(err, STATUS_TOO_LARGE, "%s: too large", name)
                             : error_errno(err, errno, "%s", name);
        } else if (n == 0) {
            break;
        } else {
            text->len += (size_t)n;
        }
    }
    (void)close(fd);
    return s;
}

static void said_wrong(struct disk_said *s, struct str folder, const struct error *err)
{
    char shown[100];
    path_show(folder, shown, sizeof shown);
    (void)snprintf(s->wrong, sizeof s->wrong, "%s%s%.*s", shown, folder.len > 0 ? "/" : "",
                   (int)(sizeof s->wrong - sizeof shown - 2), err->text);
}

/* A file that is being written anew is empty for a moment: it must not open what it closed. */
static enum status empty_closes(const struct buf *text, struct error *err)
{
    return text->len > 0 ? STATUS_OK
                         : error_set(err, STATUS_INVALID,
                                     RULES_FOLDER_FILE ": is empty: delete it, or write what it is "
                                                       "to say");
}

/* Not under the lock: a share that hangs may keep it for long. */
static struct disk_said *said_read(int fd, struct str folder, const struct file_stamp *ignore,
                                   const struct file_stamp *rule)
{
    struct disk_said *s = calloc(1, sizeof *s + folder.len);
    struct error err = {0};
    struct buf text;
    if (s == NULL) {
        return NULL;
    }
    s->uses = 1;
    s->len = folder.len;
    memcpy(s->path, folder.ptr, folder.len);
    s->ignore_stamp = *ignore;
    s->rule_stamp = *rule;
    arena_init(&s->arena, SAID_ARENA);
    buf_init(&text, (size_t)2 * FOLDER_FILE_MAX);
    if (ignore->ino != 0 &&
        (read_at(fd, IGNORE_FILE, &s->ignore_stamp, &text, &err) != STATUS_OK ||
         ignore_parse(buf_view(&text), &s->arena, &s->ignore, &err) != STATUS_OK)) {
        said_wrong(s, folder, &err);
    }
    text.len = 0;
    if (rule->ino != 0 &&
        (read_at(fd, RULES_FOLDER_FILE, &s->rule_stamp, &text, &err) != STATUS_OK ||
         empty_closes(&text, &err) != STATUS_OK ||
         rules_parse_folder(buf_view(&text), RULES_FOLDER_FILE, &s->arena, &s->rule, &err) !=
             STATUS_OK)) {
        s->closed = true;
        said_wrong(s, folder, &err);
    }
    buf_deinit(&text);
    return s;
}

/* What is kept of the folder, NULL: nothing; *known: it is what the files with these stamps say. */
static struct disk_said *kept_of(struct disk *d, struct str folder, const struct file_stamp *ignore,
                                 const struct file_stamp *rule, bool *known)
{
    uv_mutex_lock(&d->lock);
    struct disk_said *s = map_get(&d->said, folder);
    *known = s == NULL ? ignore->ino == 0 && rule->ino == 0
                       : file_stamp_equal(&s->ignore_stamp, ignore) &&
                             file_stamp_equal(&s->rule_stamp, rule);
    if (s != NULL && *known) {
        s->uses++;
    }
    uv_mutex_unlock(&d->lock);
    return *known ? s : NULL;
}

/* What was read takes the place of what was kept. fresh: NULL, nothing is said any more. */
static void keep(struct disk *d, struct str folder, struct disk_said *fresh)
{
    static const struct file_stamp none = {0};
    uv_mutex_lock(&d->lock);
    struct disk_said *was = map_remove(&d->said, folder);
    if (!file_stamp_equal(was == NULL ? &none : &was->rule_stamp,
                          fresh == NULL ? &none : &fresh->rule_stamp)) {
        d->rules_changed = true;
    }
    disk_said_release(was);
    if (fresh != NULL && d->said.len < SAID_KEPT &&
        map_put(&d->said, folder, fresh, NULL) == STATUS_OK) {
        fresh->uses++;
    }
    uv_mutex_unlock(&d->lock);
}

enum status disk_said_of(struct disk *d, int fd, struct str folder, struct disk_said **out,
                         struct error *err)
{
    struct file_stamp ignore, rule;
    bool known = false;
    enum status status = stamp_at(fd, IGNORE_FILE, &ignore, err);
    if (status == STATUS_OK) {
        status = stamp_at(fd, RULES_FOLDER_FILE, &rule, err);
    }
    *out = NULL;
    if (status != STATUS_OK) {
        return status;
    }
    *out = kept_of(d, folder, &ignore, &rule, &known);
    if (known) {
        return STATUS_OK;
    }
    bool says = ignore.ino != 0 || rule.ino != 0;
    struct disk_said *fresh = says ? said_read(fd, folder, &ignore, &rule) : NULL;
    if (says && fresh == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    keep(d, folder, fresh);
    *out = fresh;
    return STATUS_OK;
}

void disk_view_release(struct disk_view *v)
{
    if (v->n > 0) {
        uv_mutex_lock(&v->disk->lock);
        for (size_t i = 0; i < v->n; i++) {
            disk_said_release(v->said[i]);
        }
        uv_mutex_unlock(&v->disk->lock);
    }
    v->n = 0;
}

/* The folder that is nearest to the path and says something of it counts. */
static bool judged(const struct disk_view *v, struct str path, bool folder, uint64_t size)
{
    for (size_t i = v->n; i-- > 0;) {
        const struct disk_said *s = v->said[i];
        size_t skip = s->len == 0 ? 0 : s->len + 1;
        if (path.len <= skip) {
            continue; /* of the path itself or of what is below it */
        }
        enum ignored j =
            ignore_judge(&s->ignore, (struct str){path.ptr + skip, path.len - skip}, folder, size);
        if (j != IGNORE_UNSAID) {
            return j == IGNORE_YES;
        }
    }
    return false;
}

bool disk_view_ignores(const struct disk_view *v, struct str path, bool folder, uint64_t size)
{
    for (size_t i = 0; v->n > 0 && i < path.len; i++) {
        if (path.ptr[i] == '/' && judged(v, (struct str){path.ptr, i}, true, 0)) {
            return true;
        }
    }
    return v->n > 0 && judged(v, path, folder, size);
}

void disk_view_tighten(const struct disk_view *v, struct str path, struct verdict *verdict)
{
    char refused[160];
    for (size_t i = 0; i < v->n; i++) {
        struct disk_said *s = v->said[i];
        if (s->closed) {
            rules_closed(verdict);
            return;
        }
        rules_tighten(&s->rule.rule, path, verdict, refused, sizeof refused);
        if (refused[0] != '\0') {
            char shown[60];
            path_show((struct str){s->path, s->len}, shown, sizeof shown);
            uv_mutex_lock(&v->disk->lock);
            (void)snprintf(s->refused, sizeof s->refused, "%s%s%s: %.120s", shown,
                           s->len > 0 ? "/" : "", RULES_FOLDER_FILE, refused);
            uv_mutex_unlock(&v->disk->lock);
        }
    }
}

const char *disk_view_language(const struct disk_view *v)
{
    for (size_t i = v->n; i-- > 0;) {
        if (v->said[i]->rule.language != NULL) {
            return v->said[i]->rule.language;
        }
    }
    return NULL;
}

size_t disk_trouble(struct disk *d, char *first, size_t cap)
{
    size_t n = 0;
    size_t pos = 0;
    void *value;
    struct str folder;
    uv_mutex_lock(&d->lock);
    while (map_next(&d->said, &pos, &folder, &value)) {
        const struct disk_said *s = value;
        const char *text = s->wrong[0] != '\0' ? s->wrong : s->refused;
        if (text[0] != '\0' && n++ == 0 && cap > 0) {
            (void)snprintf(first, cap, "%s", text);
        }
    }
    if (d->n_closed > 0 && n == 0 && cap > 0) {
        (void)snprintf(first, cap, "%s", d->closed);
    }
    n += d->n_closed;
    uv_mutex_unlock(&d->lock);
    return n;
}

void disk_note_closed(struct disk *d, const char *why)
{
    uv_mutex_lock(&d->lock);
    if (d->n_closed++ == 0) {
        (void)snprintf(d->closed, sizeof d->closed, "%s", why);
    }
    uv_mutex_unlock(&d->lock);
}

void disk_forget_refused(struct disk *d)
{
    size_t pos = 0;
    void *value;
    struct str folder;
    uv_mutex_lock(&d->lock);
    while (map_next(&d->said, &pos, &folder, &value)) {
        ((struct disk_said *)value)->refused[0] = '\0';
    }
    d->n_closed = 0;
    uv_mutex_unlock(&d->lock);
}

bool disk_take_rules_changed(struct disk *d)
{
    uv_mutex_lock(&d->lock);
    bool changed = d->rules_changed;
    d->rules_changed = false;
    uv_mutex_unlock(&d->lock);
    return changed;
}
