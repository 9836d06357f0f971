#include "cli/audit_print.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "cli/term.h"

static const char *state_name(enum audit_text_state s)
{
    static const char *const names[] = {
        [AUDIT_TEXT_ABSENT] = "absent",
        [AUDIT_TEXT_SEALED] = "sealed",
        [AUDIT_TEXT_HERE] = "kept",
        [AUDIT_TEXT_BAD] = "unreadable",
    };
    return names[s];
}

json_t *audit_as_json(const struct audit_record *r, struct str line, sqlite3 *db,
                      const struct audit_box_key *key)
{
    uint8_t commitment[SHA256_BYTES];
    struct audit_payload p = {.state = AUDIT_TEXT_ABSENT};
    struct buf text;
    json_t *shown = NULL;
    bool has = audit_hash(r, "payload", commitment);
    buf_init(&text, AUDIT_TEXT_MAX + 4096);
    if (has && db != NULL && audit_payload_get(db, r->seq, key, &p, &text, NULL) == STATUS_OK &&
        p.state == AUDIT_TEXT_HERE) {
        shown = json_loadb(text.ptr == NULL ? "" : text.ptr, text.len, 0, NULL);
    }
    buf_deinit(&text);
    bool kept = !str_eq(audit_text(r, "kept"), STR("no"));
    return json_pack("{s:o, s:o, s:s}", "record", json_loadb(line.ptr, line.len, 0, NULL), "text",
                     shown == NULL ? json_null() : shown, "text_state",
                     !has    ? "none"
                     : !kept ? "not kept"
                             : state_name(p.state));
}

static void when(int64_t ms, char out[32])
{
    time_t t = (time_t)(ms / 1000);
    struct tm tm;
    if (gmtime_r(&t, &tm) == NULL || strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0) {
        out[0] = '\0';
    }
}

void audit_print_line(const struct audit_record *r)
{
    char at[32];
    when(r->at_wall_ms, at);
    (void)printf("%8" PRId64 "  %s  %-10.*s", r->seq, at, STR_ARG(r->type));
    for (size_t i = 5; i + 1 < r->n_fields; i++) {
        const struct audit_field *f = &r->fields[i];
        bool boring = str_eq(f->key, STR("payload")) || str_eq(f->key, STR("sig")) ||
                      str_eq(f->key, STR("was_head"));
        if (!boring) {
            (void)printf(" %.*s=%.*s", STR_ARG(f->key), STR_ARG(f->text));
        }
    }
    (void)printf("\n");
}

static void report_json(const struct audit_report *r, const char *head)
{
    json_t *list = json_array();
    for (size_t i = 0; i < r->n_findings; i++) {
        (void)json_array_append_new(list,
                                    json_pack("{s:I, s:s}", "seq", (json_int_t)r->findings[i].seq,
                                              "text", r->findings[i].text));
    }
    json_t *j =
        json_pack("{s:s, s:s, s:s, s:b, s:s, s:I, s:I, s:s}", "verdict", audit_verdict(r), "tenant",
                  r->tenant, "chain", r->chain, "key_given", r->pinned, "key", r->key, "records",
                  (json_int_t)r->records, "seq", (json_int_t)r->head_seq, "head", head);
    const struct {
        const char *name;
        int64_t n;
    } numbers[] = {
        {"at", r->head_at_wall_ms},
        {"opens", r->opens},
        {"closes", r->closes},
        {"acts", r->acts},
        {"refused", r->refused},
        {"interrupted", r->interrupted},
        {"unfinished", r->unfinished},
        {"erases", r->erases},
        {"checkpoints", r->checkpoints},
        {"signed_seq", r->signed_seq},
        {"anchor_beyond", r->older},
        {"texts_beyond", r->texts_beyond},
        {"texts_erased_there_again", r->back},
        {"anchored_seq", r->anchored_seq},
        {"texts", r->texts},
        {"texts_sealed", r->sealed},
        {"texts_erased", r->erased},
        {"torn_bytes", (int64_t)r->torn},
        {"more_findings", (int64_t)r->n_more},
    };
    for (size_t i = 0; j != NULL && i < sizeof numbers / sizeof numbers[0]; i++) {
        (void)json_object_set_new(j, numbers[i].name, json_integer((json_int_t)numbers[i].n));
    }
    if (j != NULL) {
        (void)json_object_set(j, "findings", list);
        (void)json_dumpf(j, stdout, 0);
        (void)printf("\n");
    }
    json_decref(list);
    json_decref(j);
}

void audit_print_report(const struct audit_report *r, bool json, bool anchored)
{
    char head[SHA256_HEX_CAP];
    char at[32];
    sha256_hex(r->head, head);
    when(r->head_at_wall_ms, at);
    if (json) {
        report_json(r, head);
        return;
    }
    (void)printf("%s: the audit of tenant %s: %" PRId64 " %s\n",
                 r->broken ? "BROKEN" : audit_verdict(r), r->tenant, r->records,
                 term_word((uint64_t)r->records, "record", "records"));
    if (r->older > 0) {
        (void)printf("  %s older than its anchor: it ends at record %" PRId64
                     ", and the anchor names record %" PRId64
                     ". A backup was restored, or the end was cut off: from the files alone "
                     "nobody can tell which.\n",
                     r->broken ? "It is also" : "What is there holds, and it is", r->head_seq,
                     r->older);
    }
    if (r->texts_beyond > 0) {
        (void)printf("  The chain ends at record %" PRId64
                     ", and payload.db has the text of record %" PRId64
                     ": records were removed, or an older chain was put beside it (or the two were "
                     "copied one after the other while serve wrote).\n",
                     r->head_seq, r->texts_beyond);
    }
    for (size_t i = 0; i < r->n_findings; i++) {
        (void)printf("  record %" PRId64 " %s\n", r->findings[i].seq, r->findings[i].text);
    }
    if (r->n_more > 0) {
        (void)printf("  and %zu %s more\n", r->n_more, term_word(r->n_more, "finding", "findings"));
    }
    (void)printf("  calls     %" PRId64 " opened, %" PRId64 " acts, %" PRId64 " closed, %" PRId64
                 " interrupted, %" PRId64 " not closed yet\n",
                 r->opens, r->acts, r->closes, r->interrupted, r->unfinished);
    if (r->refused > 0) {
        (void)printf("  refused   %" PRId64 " %s at the door\n", r->refused,
                     term_word((uint64_t)r->refused, "call", "calls"));
    }
    (void)printf("  texts     %" PRId64 " hold, %" PRId64 " sealed, %" PRId64 " erased\n", r->texts,
                 r->sealed, r->erased);
    if (r->back > 0) {
        (void)printf("  again     %" PRId64 " %s erased lie%s in payload.db again: an "
                     "older one was put back, or a crash cut an erasure short. Erase anew.\n",
                     r->back, term_word((uint64_t)r->back, "text that was", "texts that were"),
                     term_word((uint64_t)r->back, "s", ""));
    }
    (void)printf("  signed    up to record %" PRId64 " by %s%s\n", r->signed_seq, r->key,
                 r->pinned ? "" : " (the key that the chain itself names: compare it)");
    if (r->torn > 0) {
        (void)printf("  torn      the last record was never finished (%zu %s): a crash, no "
                     "breach\n",
                     r->torn, term_word(r->torn, "byte", "bytes"));
    }
    (void)printf("  head      %" PRId64 ":%s at %s\n", r->head_seq, head, at);
    if (!anchored) {
        (void)printf("  Whether records after this head were cut off cannot be told without an "
                     "anchor: give --head.\n");
    } else if (r->anchored_seq > 0) {
        (void)printf("  anchor    fits at record %" PRId64 "\n", r->anchored_seq);
    }
}
