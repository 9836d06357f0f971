#include "ingest/access.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "ingest/queue.h"
#include "ingest/sources.h"

#define LOOK_EVERY_MS 500
#define PAGE_ROWS 256
#define RULES_ARENA ((size_t)4 << 20)
#define TEXT_MAX ((size_t)16384)
#define RETRY_FIRST_MS 1000
#define RETRY_MAX_MS 60000
#define RIGHTS_WAIT_MS                                                                             \
    1000 /* scans of many folders, one after the other, are followed by one look */

struct rule_set {
    struct arena arena;
    struct rules rules;
    unsigned uses;
};

struct access {
    struct rule_set *set; /* the last that was right; NULL: none yet */
    bool missing, wrong;
    char trouble[200];
    struct timespec changed; /* of the file that was read last */
    ino_t ino;
    off_t size;
    bool looked;
    int64_t due;
};

struct reapply {
    struct journal_op op;
    struct tenant *t;
    struct access_view view;
    int64_t cursor;
    uint64_t changed;
    int64_t at; /* cursor and count after the page; taken over when it is committed */
    uint64_t on_page;
    bool end;
    int64_t wait_ms; /* after the last failure; 0: the page before went well */
};

static void set_release(struct rule_set *set)
{
    if (set != NULL && --set->uses == 0) {
        arena_reset(&set->arena);
        free(set);
    }
}

static bool broken(const struct tenant *t)
{
    const struct access *x = t->in->access;
    return x->wrong || (x->missing && (t->had_rules || x->set != NULL));
}

struct access_view access_view_take(const struct tenant *t)
{
    struct access_view v = {.set = t->in->access->set,
                            .broken = broken(t),
                            .tenant = t->id,
                            .disk = t->disk,
                            .settings = t->in->settings};
    if (v.set != NULL) {
        v.set->uses++;
    }
    return v;
}

void access_view_release(struct access_view *v)
{
    set_release(v->set);
    v->set = NULL;
}

bool access_restricted(const struct tenant *t)
{
    const struct rule_set *set = t->in->access->set;
    return t->had_rules || broken(t) || (set != NULL && set->rules.n > 0) ||
           sources_have_labels(t->in->settings, t->id);
}

const char *access_trouble(const struct ingest *in)
{
    return in->access == NULL ? "" : in->access->trouble;
}

enum status access_share(const struct access_view *v, struct str path, struct arena *a,
                         struct share_readers *out, struct error *err)
{
    *out = (struct share_readers){.asked = false};
    if (v->broken || v->set == NULL || !v->set->rules.any_share) {
        return STATUS_OK;
    }
    enum status s = share_look(disk_root(v->disk), path, &v->set->rules, a, out, err);
    if (s == STATUS_OK && out->why[0] != '\0') {
        disk_note_closed(v->disk, out->why);
    }
    return s;
}

struct share_readers access_share_unseen(const struct access_view *v, enum status looked,
                                         const struct file_row *row)
{
    bool away = looked == STATUS_UNAVAILABLE || looked == STATUS_NOT_FOUND;
    if (!away && v->set != NULL && v->set->rules.any_share) {
        char shown[80];
        char why[160];
        path_show(file_row_real(row), shown, sizeof shown);
        (void)snprintf(why, sizeof why, "%s: nobody reads it: its folder cannot be looked into",
                       shown);
        disk_note_closed(v->disk, why);
    }
    return (struct share_readers){.asked = away && row->access != NULL, .everyone = true};
}

void access_scanned(struct tenant *t)
{
    const struct rule_set *set = t->in->access->set;
    if (set != NULL && set->rules.any_share && !t->rights_due) {
        t->rights_due = true;
        t->rights_ms = clock_monotonic_ms() + RIGHTS_WAIT_MS;
    }
}

/* What the rules say of a path, the share asked where they ask it. */
static void judge_path(const struct access_view *v, const struct rules *rules,
                       const struct share_readers *share, struct str path, const char *collection,
                       struct verdict *out)
{
    rules_judge(rules, v->tenant, path, collection, out);
    if (out->share) {
        rules_share(out, share->asked && share->everyone, share->names,
                    share->asked ? share->n : 0);
    }
}

void access_judge(const struct access_view *v, const struct disk_view *folders,
                  const struct share_readers *share, const struct file_row *row,
                  struct verdict *out)
{
    static const struct rules none = {0};
    const struct rules *rules = v->set == NULL ? &none : &v->set->rules;
    struct str real = file_row_real(row);
    struct verdict within;
    if (v->broken) {
        rules_closed(out);
        return;
    }
    judge_path(v, rules, share, real, row->collection, out);
    if (out->label[0] == '\0') {
        out->label = sources_label(v->settings, v->tenant, real);
    }
    disk_view_tighten(folders, real, out);
    for (size_t end = real.len; end < row->path.len;) { /* containers in it, then itself */
        const char *slash = memchr(row->path.ptr + end + 1, '/', row->path.len - end - 1);
        end = slash == NULL ? row->path.len : (size_t)(slash - row->path.ptr);
        judge_path(v, rules, share, (struct str){row->path.ptr, end}, row->collection, &within);
        rules_within(out, &within);
    }
}

/* ---- applying a change to what is stored ---- */

enum status access_judge_row(void *data, const struct file_row *row, struct arena *a,
                             const char **out, struct error *err)
{
    const struct access_view *v = data;
    struct verdict verdict;
    struct disk_view folders;
    struct buf text;
    struct share_readers share = {.asked = false};
    enum status looked = disk_look(v->disk, path_folder(file_row_real(row)), &folders, err);
    bool seen = looked == STATUS_OK;
    if (seen) {
        enum status s = access_share(v, file_row_real(row), a, &share, err);
        if (s != STATUS_OK) {
            disk_view_release(&folders);
            return s;
        }
    } else {
        share = access_share_unseen(v, looked, row);
    }
    access_judge(v, &folders, &share, row, &verdict);
    if (!seen && row->access != NULL) { /* gone or away: what its folders said goes on to hold */
        rules_narrow(&verdict, row->access, a);
    }
    buf_init(&text, TEXT_MAX);
    rules_write(&verdict, &text);
    *out = buf_view(&text).len == 0 ? "" : arena_strndup(a, buf_view(&text).ptr, text.len);
    bool ok = buf_status(&text) == STATUS_OK && *out != NULL;
    buf_deinit(&text);
    disk_view_release(&folders);
    return ok ? STATUS_OK : error_set(err, STATUS_NO_MEMORY, "out of memory");
}

static enum status run_page(struct journal *j, struct journal_op *op, struct error *err)
{
    struct reapply *r = container_of(op, struct reapply, op);
    r->at = r->cursor;
    return journal_reapply(j, &r->at, PAGE_ROWS, access_judge_row, &r->view, &r->on_page, &r->end,
                           err);
}

static void reapply_free(struct reapply *r)
{
    access_view_release(&r->view);
    free(r);
}

/* Goes on with the page that failed, each time after a longer wait. */
static void hold(struct reapply *r)
{
    struct tenant *t = r->t;
    r->wait_ms = r->wait_ms == 0 ? RETRY_FIRST_MS : 2 * r->wait_ms;
    r->wait_ms = r->wait_ms < RETRY_MAX_MS ? r->wait_ms : RETRY_MAX_MS;
    t->reapply_held = r;
    t->reapply_ms = clock_monotonic_ms() + r->wait_ms;
    t->reapplying = false;
}

void access_forget_tenant(struct tenant *t)
{
    if (t->reapply_held != NULL) {
        reapply_free(t->reapply_held);
        t->reapply_held = NULL;
    }
}

static void page_done(struct journal_op *op)
{
    struct reapply *r = container_of(op, struct reapply, op);
    struct tenant *t = r->t;
    bool go_on = !t->in->closing && !t->reapply_due; /* with newer rules from the beginning */
    if (op->err.code != STATUS_OK) {
        LOG_WARN("the rules of access could not be applied yet", LOG_STR("tenant", t->id),
                 LOG_STR("err", op->err.text), LOG_END);
        if (go_on) {
            hold(r);
            return;
        }
        t->reapply_due = true;
    } else {
        r->cursor = r->at;
        r->changed += r->on_page;
        r->wait_ms = 0;
        if (go_on && !r->end) {
            journal_submit(&t->journal, &r->op);
            return;
        }
    }
    if (r->changed > 0) {
        LOG_INFO("rules of access applied", LOG_STR("tenant", t->id),
                 LOG_INT("documents", r->changed), LOG_END);
        tenant_counts_stale(t);
        queue_changed(t->queue);
    }
    t->reapplying = false;
    reapply_free(r);
}

/* Whether there were rules outlives a restart: then a missing access.yaml closes. */
static enum status run_note(struct journal *j, struct journal_op *op, struct error *err)
{
    struct tenant *t = container_of(op, struct tenant, note_op);
    return journal_note_set(j, INGEST_NOTE_RULES, t->rules_writing ? "1" : "0", err);
}

static void note_done(struct journal_op *op)
{
    struct tenant *t = container_of(op, struct tenant, note_op);
    t->rules_noting = false;
    t->rules_noted = op->err.code == STATUS_OK ? t->rules_writing : t->rules_noted;
}

static void note(struct tenant *t)
{
    t->rules_noting = true;
    t->rules_writing = t->had_rules;
    t->note_op.run = run_note;
    t->note_op.done = note_done;
    journal_submit(&t->journal, &t->note_op);
}

void access_adopt(struct tenant *t)
{
    const struct rule_set *set = t->in->access->set;
    t->had_rules = t->had_rules || (set != NULL && set->rules.n > 0);
    if (t->had_rules != t->rules_noted || !t->had_rules) {
        note(t);
    }
}

static void reapply(struct tenant *t)
{
    struct reapply *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return; /* still due */
    }
    access_forget_tenant(t); /* by older rules */
    t->reapply_due = false;
    t->reapplying = true;
    disk_forget_refused(t->disk);
    r->t = t;
    r->view = access_view_take(t);
    r->op.run = run_page;
    r->op.done = page_done;
    journal_submit(&t->journal, &r->op);
}

/* ---- the file ---- */

static bool same_file(const struct access *x, const struct stat *st)
{
    return x->looked && !x->missing && x->changed.tv_sec == st->st_mtim.tv_sec &&
           x->changed.tv_nsec == st->st_mtim.tv_nsec && x->ino == st->st_ino &&
           x->size == st->st_size;
}

static void trouble(struct access *x, const char *text)
{
    if (strcmp(x->trouble, text) != 0) {
        (void)snprintf(x->trouble, sizeof x->trouble, "%.199s", text);
        if (text[0] != '\0') {
            LOG_ERROR("rules of access: what comes in is closed until this is mended",
                      LOG_STR("err", text), LOG_END);
        }
    }
}

static void read_file(struct ingest *in)
{
    struct access *x = in->access;
    struct error err = {0};
    struct rule_set *fresh = calloc(1, sizeof *fresh);
    if (fresh == NULL) {
        x->wrong = true;
        x->looked = false; /* again at the next look */
        return;
    }
    fresh->uses = 1;
    arena_init(&fresh->arena, RULES_ARENA);
    enum status s = rules_load(in->svc->home, &fresh->arena, &fresh->rules, &err);
    x->wrong = s != STATUS_OK;
    trouble(x, s == STATUS_OK ? "" : err.text);
    if (s != STATUS_OK) {
        set_release(fresh);
        return;
    }
    set_release(x->set);
    x->set = fresh;
    LOG_INFO("rules of access read", LOG_INT("rules", fresh->rules.n), LOG_END);
    list_for_each(it, &in->tenants)
    {
        struct tenant *t = list_entry(it, struct tenant, link);
        t->had_rules = t->had_rules || fresh->rules.n > 0;
        t->reapply_due = true;
    }
}

void access_look(struct ingest *in)
{
    struct access *x = in->access;
    char path[PATH_MAX];
    struct stat st;
    struct error err = {0};
    if (file_join(path, sizeof path, in->svc->home, RULES_FILE, &err) != STATUS_OK) {
        x->wrong = true;
        trouble(x, err.text);
        return;
    }
    if (stat(path, &st) != 0) {
        bool lost = x->set != NULL && x->set->rules.n > 0;
        x->missing = true;
        x->wrong = errno != ENOENT;
        x->looked = true;
        trouble(x, x->wrong ? "access.yaml cannot be looked at"
                   : lost   ? "access.yaml is gone: put it back, or write `access: []` into it"
                            : "");
        return;
    }
    if (same_file(x, &st)) {
        return;
    }
    x->looked = true;
    x->missing = false;
    x->changed = st.st_mtim;
    x->ino = st.st_ino;
    x->size = st.st_size;
    read_file(in);
}

enum status access_open(struct ingest *in, struct error *err)
{
    in->access = calloc(1, sizeof *in->access);
    if (in->access == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    access_look(in);
    return STATUS_OK;
}

void access_close(struct ingest *in)
{
    if (in->access != NULL) {
        set_release(in->access->set);
        free(in->access);
        in->access = NULL;
    }
}

void access_tick(struct ingest *in)
{
    int64_t now = clock_monotonic_ms();
    if (now >= in->access->due) {
        in->access->due = now + LOOK_EVERY_MS;
        access_look(in);
    }
    list_for_each(it, &in->tenants)
    {
        struct tenant *t = list_entry(it, struct tenant, link);
        if (t->had_rules != t->rules_noted && !t->rules_noting && !t->in->closing) {
            note(t);
        }
        if (t->reapplying || broken(t)) {
            continue;
        }
        if (t->rights_due && now >= t->rights_ms) {
            t->rights_due = false;
            t->reapply_due = true;
        }
        if (t->reapply_due) {
            reapply(t);
        } else if (t->reapply_held != NULL && now >= t->reapply_ms) {
            struct reapply *r = t->reapply_held;
            t->reapply_held = NULL;
            t->reapplying = true;
            journal_submit(&t->journal, &r->op);
        }
    }
}
