#include "serve/audit/turn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "serve/audit/erase.h"

void audit_turn_init(struct audit_turn *t)
{
    buf_init(&t->lines, (size_t)16 << 20);
    buf_init(&t->anchors, (size_t)64 * 1024);
}

void audit_turn_deinit(struct audit_turn *t)
{
    buf_deinit(&t->lines);
    buf_deinit(&t->anchors);
}

/* ---- records, and other work ---- */

static enum status add_items(struct audit_turn *t, struct audit_item *items, struct error *err)
{
    enum status s = chain_ready(t->chain, t->policy, err);
    for (struct audit_item *i = items; i != NULL && s == STATUS_OK; i = i->next) {
        struct audit_matter m = {
            .type = i->type,
            .fields = buf_view(&i->fields),
            .text = i->text.len == 0 ? (struct str){NULL, 0} : buf_view(&i->text),
            .documents = i->documents.ptr,
            .n_documents = i->n_documents,
        };
        s = chain_add(t->chain, t->policy, &m, clock_wall_ms(), err);
    }
    return s;
}

/* In one group: they stand or fall together. */
static void write_records(struct audit_turn *t)
{
    struct error err = {.code = STATUS_OK};
    enum status s = STATUS_OK;
    uint64_t n = 0;
    for (struct audit_job *j = t->jobs; j != NULL && s == STATUS_OK; j = j->next) {
        if (j->items != NULL) {
            s = add_items(t, j->items, &err);
            n++;
        }
    }
    if (s == STATUS_OK && n > 0) {
        s = chain_commit(t->chain, &err);
    }
    if (s != STATUS_OK) {
        t->failed = true;
        t->err = err;
        chain_close(t->chain); /* read anew before the next attempt */
    } else {
        t->records += n;
        t->wrote = n > 0;
    }
    for (struct audit_job *j = t->jobs; j != NULL; j = j->next) {
        if (j->items != NULL) {
            audit_item_free(j->items);
            j->items = NULL;
            j->err = err;
            j->err.code = s;
        }
    }
}

static void do_work(struct audit_turn *t, struct audit_job *j)
{
    struct chain *c = t->chain;
    enum status s = STATUS_OK;
    if (c != NULL) {
        s = chain_ready(c, t->policy, &j->err);
        s = s == STATUS_OK ? chain_commit(c, &j->err) : s; /* its beginning */
    }
    j->err.code = s == STATUS_OK ? j->work(t->a, c, j->data, &j->err) : s;
}

/* ---- care ---- */

static void write_anchor(struct audit_turn *t)
{
    if (t->anchor[0] == '\0' || t->anchors.len == 0) {
        return;
    }
    int fd = open(t->anchor, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    enum status s = fd < 0 ? error_errno(&t->anchor_err, errno, "%s", t->anchor)
                           : file_write_all(fd, t->anchors.ptr, t->anchors.len, &t->anchor_err);
    if (s == STATUS_OK && fdatasync(fd) != 0) {
        s = error_errno(&t->anchor_err, errno, "%s", t->anchor);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    t->anchored = s == STATUS_OK;
    t->anchor_err.code = s;
}

static void care(struct audit_turn *t)
{
    struct audit_policy p = *t->policy;
    struct chain *c = t->chain;
    struct error err;
    bool last = t->kind == AUDIT_TURN_LAST;
    p.checkpoint_ms = last ? 0 : p.checkpoint_ms;
    if (!c->ready) {
        return;
    }
    if (chain_settle(c, last, &err) != STATUS_OK) {
        LOG_ERROR("the audit's file cannot be synced", LOG_STR("tenant", c->tenant),
                  LOG_STR("err", err.text), LOG_END);
        return;
    }
    if (chain_checkpoint(c, &p, &t->anchors, &err) != STATUS_OK) {
        LOG_ERROR("the audit's head cannot be signed", LOG_STR("tenant", c->tenant),
                  LOG_STR("err", err.text), LOG_END);
    } else if (t->anchors.len > 0 && t->export != NULL) {
        audit_export_head(t->export, buf_view(&t->anchors), &t->lines);
    }
    if (c->ready && audit_expire_due(c, &p, &err) != STATUS_OK) {
        LOG_ERROR("the audit's old texts cannot be erased", LOG_STR("tenant", c->tenant),
                  LOG_STR("err", err.text), LOG_END);
    }
    audit_policy_enter(&p); /* the file is all tenants' */
    write_anchor(t);
    audit_policy_leave(&p);
}

bool audit_care_due(const struct chain *c, const struct audit_policy *p)
{
    return c->ready && (chain_due(c, p) || audit_expire_is_due(c, p));
}

/* ---- all of it ---- */

static void take_lines(void *data, const char *tenant, struct str lines)
{
    struct audit_turn *t = data;
    audit_export_take(t->export, tenant, lines, &t->lines);
}

void audit_turn_take(struct audit_turn *t)
{
    struct chain *c = t->chain;
    if (c != NULL && strcmp(c->tenant, t->tenant) != 0) {
        chain_close(c);
        (void)snprintf(c->tenant, sizeof c->tenant, "%s", t->tenant);
    }
    if (c != NULL && t->export != NULL) {
        c->on_commit = take_lines;
        c->commit_data = t;
    }
    if (t->kind == AUDIT_TURN_GROUP) {
        if (c != NULL) {
            write_records(t);
        }
        for (struct audit_job *j = t->jobs; j != NULL; j = j->next) {
            if (j->work != NULL) {
                do_work(t, j);
            }
        }
    } else {
        care(t);
    }
    if (c == NULL || t->kind != AUDIT_TURN_GROUP) { /* nobody's answer waits here */
        t->asked_signer = true;
        t->not_signed = !audit_signer_listens(t->policy);
    }
    if (t->kind == AUDIT_TURN_LAST) {
        chain_close(c);
    }
}
