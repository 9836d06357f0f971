#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/audit/verify.h"
#include "base/file.h"

/* A chain made by hand: nothing here is the writer's. */
struct made {
    char dir[64], folder[128], payload[128];
    struct buf lines[3]; /* segments */
    size_t n_segments;
    int64_t seq;
    uint8_t head[SHA256_BYTES];
    uint8_t heads[256][SHA256_BYTES];
    struct sign_key key;
    sqlite3 *db;
};

static const char chain_id[] = "abcdefghjkmnpqrstvwxyz0123";

static void add(struct made *m, const char *type, struct buf *fields)
{
    m->seq++;
    audit_line(&m->lines[m->n_segments - 1], m->seq, 1000 + m->seq, m->head, type, buf_view(fields),
               m->head);
    memcpy(m->heads[m->seq], m->head, SHA256_BYTES);
    buf_deinit(fields);
}

static struct buf fields(void)
{
    struct buf f;
    buf_init(&f, 4096);
    return f;
}

static void add_call(struct made *m, const char *type, const char *call, const char *text,
                     const uint8_t *seal_to)
{
    struct buf f = fields();
    audit_field_z(&f, "call", call);
    if (text != NULL) {
        uint8_t salt[AUDIT_SALT_BYTES], c[SHA256_BYTES];
        char hex[SHA256_HEX_CAP];
        memset(salt, 7, sizeof salt);
        audit_commitment(salt, str_from(text), c);
        sha256_hex(c, hex);
        audit_field_z(&f, "kept", seal_to == NULL ? "yes" : "sealed");
        audit_field_z(&f, "payload", hex);
        assert_int_equal(
            audit_payload_put(m->db, m->seq + 1, 5, salt, str_from(text), seal_to, NULL, 0, NULL),
            STATUS_OK);
    }
    add(m, type, &f);
}

static void add_checkpoint(struct made *m, int64_t was)
{
    struct buf f = fields(), st = fields();
    uint8_t sig[SIGN_BYTES];
    char hex[2 * SIGN_BYTES + 1];
    const uint8_t *was_head = was > 0 ? m->heads[was - 1] : m->head;
    hex_encode(m->key.public, SIGN_PUBLIC_BYTES, hex);
    audit_field_z(&f, "key", hex);
    if (was > 0) {
        sha256_hex(was_head, hex);
        audit_field_int(&f, "was_seq", was);
        audit_field_z(&f, "was_head", hex);
    }
    audit_statement(&st, chain_id, m->seq + 1, 1001 + m->seq, m->head, was, was_head);
    sign_message(&m->key, st.ptr, st.len, sig);
    hex_encode(sig, sizeof sig, hex);
    audit_field_z(&f, "sig", hex);
    add(m, "checkpoint", &f);
    buf_deinit(&st);
}

static void begin(struct made *m)
{
    struct buf f = fields();
    char hex[2 * SIGN_PUBLIC_BYTES + 1];
    memset(m, 0, sizeof *m);
    (void)snprintf(m->dir, sizeof m->dir, "/tmp/carrel-audit-XXXXXX");
    assert_non_null(mkdtemp(m->dir));
    (void)snprintf(m->folder, sizeof m->folder, "%s/audit", m->dir);
    (void)snprintf(m->payload, sizeof m->payload, "%s/payload.db", m->dir);
    assert_int_equal(file_mkdirs(m->folder, 0700, NULL), STATUS_OK);
    assert_int_equal(sign_key_open(m->dir, &m->key, NULL), STATUS_OK);
    assert_int_equal(audit_payload_open(m->payload, DB_CREATE, &m->db, NULL), STATUS_OK);
    for (size_t i = 0; i < 3; i++) {
        buf_init(&m->lines[i], 1 << 20);
    }
    m->n_segments = 1;
    hex_encode(m->key.public, SIGN_PUBLIC_BYTES, hex);
    audit_field_z(&f, "chain", chain_id);
    audit_field_z(&f, "tenant", "main");
    audit_field_z(&f, "key", hex);
    add(m, "begin", &f);
}

/* 1 begin, 2 open, 3 close, 4 checkpoint | 5 act, 6 close, 7 checkpoint | 8 open, 9 close */
static void usual(struct made *m)
{
    begin(m);
    add_call(m, "open", "one", "{\"question\":\"who\"}", NULL);
    add_call(m, "close", "one", "{\"answer\":\"me\"}", NULL);
    add_checkpoint(m, 0);
    m->n_segments = 2;
    add_call(m, "act", "two", "{\"user\":\"u\"}", NULL);
    add_call(m, "close", "two", NULL, NULL);
    add_checkpoint(m, 4);
    m->n_segments = 3;
    add_call(m, "open", "three", NULL, NULL);
    add_call(m, "close", "three", NULL, NULL);
}

static void write_segment(struct made *m, unsigned number, struct str bytes)
{
    char path[200];
    (void)snprintf(path, sizeof path, "%s/" AUDIT_SEGMENT_FORMAT, m->folder, number);
    assert_int_equal(file_write_atomic(path, bytes.ptr, bytes.len, 0600, NULL), STATUS_OK);
}

static void check_with(struct made *m, struct audit_verify_options *o, struct audit_report *r)
{
    struct error err = {.code = STATUS_OK};
    o->folder = m->folder;
    o->payload = m->payload;
    if (audit_verify(o, r, &err) != STATUS_OK) {
        fail_msg("%s", err.text);
    }
}

static void check(struct made *m, struct audit_report *r)
{
    struct audit_verify_options o = {0};
    for (size_t i = 0; i < m->n_segments; i++) {
        write_segment(m, (unsigned)i + 1, buf_view(&m->lines[i]));
    }
    check_with(m, &o, r);
}

static void end(struct made *m)
{
    db_close(m->db);
    for (size_t i = 0; i < 3; i++) {
        buf_deinit(&m->lines[i]);
    }
    assert_int_equal(file_remove_tree(m->dir, NULL), STATUS_OK);
}

static bool says(const struct audit_report *r, const char *what)
{
    for (size_t i = 0; i < r->n_findings; i++) {
        if (strstr(r->findings[i].text, what) != NULL) {
            return true;
        }
    }
    return false;
}

static void test_whole(void **state)
{
    (void)state;
    struct made m;
    struct audit_report r;
    usual(&m);
    check(&m, &r);
    assert_false(r.broken);
    assert_int_equal(r.records, 9);
    assert_int_equal(r.opens, 2);
    assert_int_equal(r.acts, 1);
    assert_int_equal(r.closes, 3);
    assert_int_equal(r.texts, 3);
    assert_int_equal(r.signed_seq, 7);
    assert_int_equal(r.interrupted + r.unfinished, 0);
    end(&m);
}

static void test_segment_gone(void **state)
{
    (void)state;
    for (unsigned gone = 1; gone <= 3; gone++) {
        struct made m;
        struct audit_report r;
        char path[200];
        usual(&m);
        check(&m, &r);
        (void)snprintf(path, sizeof path, "%s/" AUDIT_SEGMENT_FORMAT, m.folder, gone);
        assert_int_equal(unlink(path), 0);
        struct audit_verify_options o = {0};
        check_with(&m, &o, &r);
        assert_true(gone == 3 ? !r.broken : r.broken); /* the end: only an anchor can tell */
        struct audit_anchor a = {.seq = 9};
        memcpy(a.hash, m.heads[9], sizeof a.hash);
        o.anchors = &a;
        o.n_anchors = 1;
        check_with(&m, &o, &r);
        assert_int_equal(r.broken, gone < 3);
        assert_int_equal(r.older, gone == 3 ? 9 : 0);
        assert_string_equal(audit_verdict(&r), gone == 3 ? "older" : "broken");
        end(&m);
    }
}

/* One file has the heads of every tenant: another's say nothing of this chain, and one of a chain
 * that is no longer there says that. */
static void test_anchors_of_several(void **state)
{
    static const char *const tenants[] = {"other", "main", "main"};
    static const char *const chains[] = {"zzzzzzzzzzzzzzzzzzzzzzzzzz", chain_id,
                                         "zzzzzzzzzzzzzzzzzzzzzzzzzz"};
    struct audit_anchor list[3];
    struct audit_report r;
    struct made m;
    (void)state;
    usual(&m);
    check(&m, &r);
    for (size_t i = 0; i < 3; i++) {
        struct buf line = fields();
        char hex[SHA256_HEX_CAP];
        sha256_hex(m.heads[i == 1 ? 4 : 5], hex);
        buf_printf(&line, "{\"tenant\":\"%s\",\"chain\":\"%s\",\"seq\":4,\"head\":\"%s\",\"at\":5}",
                   tenants[i], chains[i], hex);
        assert_true(audit_anchor_read(buf_view(&line), &list[i]));
        buf_deinit(&line);
    }
    struct audit_verify_options o = {.anchors = list, .n_anchors = 2};
    check_with(&m, &o, &r);
    assert_false(r.broken);
    assert_int_equal(r.anchored_seq, 4);
    list[0].seq = 4000;
    check_with(&m, &o, &r);
    assert_string_equal(audit_verdict(&r), "whole");
    o.n_anchors = 3;
    check_with(&m, &o, &r);
    assert_true(r.broken);
    end(&m);
}

/* A checkpoint of somebody who has no key but made one, and says so in the chain: whoever knows the
 * appliance's key sees it; who does not is told to compare. */
static void test_forged_key(void **state)
{
    (void)state;
    struct made m;
    struct audit_report r;
    struct sign_key real;
    usual(&m);
    real = m.key;
    unsigned char seed[crypto_sign_SEEDBYTES] = {7};
    assert_int_equal(crypto_sign_seed_keypair(m.key.public, m.key.secret, seed), 0);
    add_call(&m, "open", "late", NULL, NULL);
    add_checkpoint(&m, 0);
    check(&m, &r); /* the chain names the real one only */
    assert_true(says(&r, "signed by another key"));
    struct audit_verify_options o = {.keys = real.public, .n_keys = 1};
    check_with(&m, &o, &r);
    assert_true(r.broken);
    assert_true(says(&r, "signed by another key"));
    m.key = real;
    end(&m);
}

/* Everything from record 5 on written anew, by somebody without the key: the signature that is left
 * out is missed by the next one, for the signer remembers it. */
static void test_rewritten(void **state)
{
    (void)state;
    struct made m;
    struct audit_report r;
    begin(&m);
    add_call(&m, "open", "one", NULL, NULL);
    add_call(&m, "close", "one", NULL, NULL);
    m.heads[60][0] = 1; /* what had been signed as record 7 */
    uint8_t kept[SHA256_BYTES];
    memcpy(kept, m.heads[6], sizeof kept);
    m.heads[6][0] ^= 0xff;
    add_call(&m, "open", "two", NULL, NULL);
    add_call(&m, "close", "two", NULL, NULL);
    add_call(&m, "open", "three", NULL, NULL);
    add_call(&m, "close", "three", NULL, NULL);
    m.heads[6][0] ^= 0xff;
    add_checkpoint(&m, 7);
    check(&m, &r);
    assert_true(r.broken);
    assert_true(says(&r, "rewritten"));
    end(&m);
}

static void test_set_back(void **state)
{
    (void)state;
    struct made m;
    struct audit_report r;
    begin(&m);
    add_call(&m, "open", "one", NULL, NULL);
    add_call(&m, "close", "one", NULL, NULL);
    add_checkpoint(&m, 40);
    check(&m, &r);
    assert_true(says(&r, "set back"));
    end(&m);
}

/* A checkpoint was signed and could not be written, and the chain began again many times before
 * the next one could. */
static void test_many_starts(void **state)
{
    (void)state;
    struct made m;
    struct audit_report r;
    begin(&m);
    add_checkpoint(&m, 0);
    for (int i = 0; i < 100; i++) {
        struct buf f = fields();
        audit_field_int(&f, "torn", 0);
        add(&m, "start", &f);
    }
    add_checkpoint(&m, 3);
    add_checkpoint(&m, m.seq);
    check(&m, &r);
    assert_false(r.broken);
    add_checkpoint(&m, 50); /* of before the last one */
    check(&m, &r);
    assert_true(says(&r, "rewritten"));
    end(&m);
}

static void test_texts(void **state)
{
    (void)state;
    struct made m;
    struct audit_report r;
    usual(&m);
    check(&m, &r);
    assert_int_equal(db_exec(m.db, "UPDATE payload SET text=x'7b7d' WHERE seq=2", NULL), STATUS_OK);
    check(&m, &r);
    assert_true(says(&r, "not the one it was written with"));
    assert_int_equal(db_exec(m.db, "DELETE FROM payload WHERE seq=2", NULL), STATUS_OK);
    check(&m, &r);
    assert_true(says(&r, "no record says that it was erased"));
    struct buf f = fields();
    audit_field_z(&f, "why", "erasure");
    audit_field_z(&f, "rows", "1-2,8");
    add(&m, "erase", &f);
    check(&m, &r);
    assert_false(r.broken);
    assert_int_equal(r.erased, 1);
    end(&m);
}

static void test_sealed(void **state)
{
    (void)state;
    struct made m;
    struct audit_report r;
    struct audit_box_key key, other;
    struct audit_payload p;
    struct buf text;
    begin(&m);
    audit_box_new(&key);
    audit_box_new(&other);
    add_call(&m, "open", "one", "{\"question\":\"hidden-words\"}", key.public);
    add_call(&m, "close", "one", NULL, NULL);
    check(&m, &r);
    assert_false(r.broken);
    assert_int_equal(r.sealed, 1);
    struct audit_verify_options o = {.open = &key};
    check_with(&m, &o, &r);
    assert_int_equal(r.texts, 1);
    o.open = &other;
    check_with(&m, &o, &r);
    assert_true(r.broken);
    buf_init(&text, 4096);
    assert_int_equal(audit_payload_get(m.db, 2, &key, &p, &text, NULL), STATUS_OK);
    assert_string_equal(text.ptr, "{\"question\":\"hidden-words\"}");
    buf_deinit(&text);
    end(&m);
}

static void test_unfinished(void **state)
{
    (void)state;
    struct made m;
    struct audit_report r;
    begin(&m);
    add_call(&m, "open", "one", NULL, NULL);
    struct buf f = fields();
    audit_field_int(&f, "torn", 0);
    add(&m, "start", &f);
    add_call(&m, "open", "two", NULL, NULL);
    check(&m, &r);
    assert_false(r.broken);
    assert_int_equal(r.interrupted, 1);
    assert_int_equal(r.unfinished, 1);
    buf_z(&m.lines[0], "{\"v\":1,\"se");
    check(&m, &r);
    assert_false(r.broken);
    assert_int_equal(r.torn, 10);
    end(&m);
}

/* One content has one form: whatever else reads as the same JSON is refused. */
static void test_forms(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "{}",
        "{\"v\":1}",
        "[1]",
        "{\"v\":1,\"seq\":01,\"at\":1,\"prev\":\"00\",\"type\":\"x\",\"hash\":\"\"}",
        "{ \"v\":1,\"seq\":1,\"at\":1,\"prev\":\"\",\"type\":\"x\",\"hash\":\"\"}",
    };
    struct audit_record r;
    struct buf b, f = fields();
    uint8_t zero[SHA256_BYTES] = {0}, hash[SHA256_BYTES];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(audit_read(str_from(bad[i]), &r, NULL), STATUS_CORRUPT);
    }
    buf_init(&b, 4096);
    audit_field_z(&f, "what", "a \"quote\\ and \xc3\xa4");
    audit_field_int(&f, "n", INT64_MIN);
    audit_line(&b, 1, 2, zero, "open", buf_view(&f), hash);
    struct str line = {b.ptr, b.len - 1};
    assert_int_equal(audit_read(line, &r, NULL), STATUS_OK);
    assert_true(str_eq(audit_text(&r, "what"), STR("a _quote_ and __")));
    assert_true(audit_number(&r, "n") == INT64_MIN);
    for (size_t i = 0; i < line.len; i++) { /* every byte counts */
        b.ptr[i] ^= 1;
        assert_int_equal(audit_read(line, &r, NULL), STATUS_CORRUPT);
        b.ptr[i] ^= 1;
    }
    struct str rest = STR("3,7-12");
    int64_t from, to;
    assert_true(audit_range(&rest, &from, &to) && from == 3 && to == 3);
    assert_true(audit_range(&rest, &from, &to) && from == 7 && to == 12);
    assert_false(audit_range(&rest, &from, &to));
    rest = STR("3,");
    assert_false(audit_range(&rest, &from, &to));
    buf_deinit(&b);
    buf_deinit(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_anchors_of_several),
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_segment_gone),
        cmocka_unit_test(test_forged_key),
        cmocka_unit_test(test_rewritten),
        cmocka_unit_test(test_set_back),
        cmocka_unit_test(test_many_starts),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_sealed),
        cmocka_unit_test(test_unfinished),
        cmocka_unit_test(test_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
