#include "base/settings/places.h"
#include "base/settings/settings.h"

#include <stdlib.h>

#include "tests/unit/test.h"

static enum status parse(const char *text, struct arena *a, struct settings *s, struct error *err)
{
    arena_init(a, 1 << 20);
    *err = (struct error){0};
    return settings_parse("/home/x", str_from(text), "carrel.yaml", a, s, err);
}

static void test_defaults(void **state)
{
    (void)state;
    struct arena a;
    struct settings s;
    struct error err;

    assert_int_equal(parse("", &a, &s, &err), STATUS_OK);
    assert_string_equal(s.home, "/home/x");
    assert_string_equal(s.http.listen, "127.0.0.1");
    assert_int_equal(s.http.port, 8642);
    assert_int_equal(s.http.max_header_bytes, 32 * 1024);
    assert_int_equal(s.http.max_upload_bytes, 256LL * 1024 * 1024);
    assert_int_equal(s.http.header_timeout_ms, 10000);
    assert_int_equal(s.ingest.settle_ms, 300);
    assert_int_equal(s.extract.memory_mb, 768);
    assert_true(s.retrieve.lsa_weight > 0.099 && s.retrieve.lsa_weight < 0.101);
    assert_true(s.generate.refuse_below > 0.199 && s.generate.refuse_below < 0.201);
    assert_int_equal(s.generate.upstream.may_receive.n, 0);
    assert_string_equal(s.generate.upstream.url, "");
    assert_false(s.generate.upstream.allow_private_address);
    arena_reset(&a);
}

struct seen_places {
    size_t n, private;
};

static void see_place(void *data, const struct place *p)
{
    struct seen_places *seen = data;
    seen->n++;
    seen->private += p->allow_private ? 1 : 0;
}

static void test_places_outside(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t n, private; /* n 9: refused */
    } rows[] = {
        {"", 0, 0},
        {"webhooks:\n  allow: [https://hooks.example.org]\n", 1, 0},
        {"webhooks:\n  allow: [\"http://10.0.0.5:5678\"]\n", 1, 1},
        {"webhooks:\n  allow: [https://a.example]\n  allow_private: [\"http://n8n:5678\"]\n", 2, 1},
        {"webhooks:\n  allow: [\"http://n8n:5678\"]\n", 9, 0},
        {"webhooks:\n  allow: [http://8.8.8.8]\n", 9, 0},
        {"webhooks:\n  allow: [https://a.example/hook]\n", 9, 0},
        {"webhooks:\n  allow: [\"https://u:p@a.example\"]\n", 9, 0},
        {"webhooks:\n  allow: [ldaps://a.example]\n", 9, 0},
        {"webhooks:\n  allow: [a.example]\n", 9, 0},
        {"http:\n  trusted_proxies: [10.0.0.1, \"2001:db8::/32\"]\n", 0, 0},
        {"http:\n  trusted_proxies: [10.0.0.1/33]\n", 9, 0},
        {"http:\n  trusted_proxies: [proxy.example.org]\n", 9, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena a;
        struct settings s;
        struct error err;
        struct seen_places seen = {0};
        enum status st = parse(rows[i].text, &a, &s, &err);
        if (st == STATUS_OK) {
            settings_places(&s, see_place, &seen);
            assert_true(settings_reach_outside(&s) == (seen.n > 0));
        }
        if ((st == STATUS_OK ? seen.n : 9) != rows[i].n || seen.private != rows[i].private) {
            fail_msg("%s: %zu %zu", rows[i].text, seen.n, seen.private);
        }
        arena_reset(&a);
    }
}

static void test_values(void **state)
{
    (void)state;
    struct arena a;
    struct settings s;
    struct error err;
    const char *text = "log_level: debug\n"
                       "http:\n"
                       "  port: 0\n"
                       "  max_body_bytes: 8MiB\n"
                       "  header_timeout: 1500ms\n"
                       "rpc:\n"
                       "  # all commented out\n"
                       "ingest:\n"
                       "  watch_dir: /srv/in\n"
                       "generate:\n"
                       "  engine: upstream\n"
                       "  refuse_below: 0.5\n"
                       "  upstream:\n"
                       "    url: \"https://llm.example/v1\"\n"
                       "    model: m\n"
                       "    key_file: keys/up.key\n"
                       "    may_receive: [public, internal]\n"
                       "    total_timeout: 2m\n"
                       "    allow_private_address: true\n";

    assert_int_equal(parse(text, &a, &s, &err), STATUS_OK);
    assert_string_equal(s.log_level, "debug");
    assert_int_equal(s.http.port, 0);
    assert_int_equal(s.http.max_body_bytes, 8 * 1024 * 1024);
    assert_int_equal(s.http.header_timeout_ms, 1500);
    assert_string_equal(s.generate.engine, "upstream");
    assert_int_equal(s.generate.upstream.total_timeout_ms, 120000);
    assert_int_equal(s.generate.upstream.may_receive.n, 2);
    assert_string_equal(s.generate.upstream.may_receive.items[1], "internal");
    assert_true(s.generate.upstream.allow_private_address);
    assert_string_equal(s.generate.upstream.key_file, "/home/x/keys/up.key");
    assert_string_equal(s.ingest.watch_dir, "/srv/in");
    arena_reset(&a);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *says;
    } cases[] = {
        {"htp:\n  port: 1\n", "carrel.yaml:1: htp: there is no such setting"},
        {"http:\n  prot: 1\n", "carrel.yaml:2: http.prot: there is no such setting"},
        {"http:\n  port: 1\n  port: 2\n", "carrel.yaml:3: port: already there on line 2"},
        {"http:\n  port: 1\nhttp:\n  listen: ::1\n",
         "carrel.yaml:3: http: already there on line 1"},
        {"http:\n  port: 70000\n", "carrel.yaml:2: http.port: out of range"},
        {"http:\n  port: -1\n", "carrel.yaml:2: http.port: out of range"},
        {"http:\n  port: 010\n", "carrel.yaml:2: http.port: \"010\" is not a whole number"},
        {"http:\n  port: 0x10\n", "is not a whole number"},
        {"http:\n  port: 99999999999999999999\n", "is not a whole number"},
        {"http:\n  port: \"80\"\n", "without quotes"},
        {"http:\n  port: [80]\n", "must be one value"},
        {"http:\n  port:\n", "has no value"},
        {"http: 8642\n", "carrel.yaml:1: http: must hold settings of its own"},
        {"http:\n  max_body_bytes: 4MB\n", "KiB, MiB or GiB"},
        {"http:\n  header_timeout: 10\n", "with ms, s, m or h"},
        {"http:\n  allow_plain_http_beyond_localhost: yes\n", "write true or false"},
        {"http:\n  listen: 0.0.0.0\n",
         "carrel.yaml:2: http.listen: 0.0.0.0 is not this machine itself"},
        {"log_level: loud\n", "carrel.yaml:1: log_level: \"loud\" is not one of"},
        {"retrieve:\n  lsa_weight: nan\n", "is not a number"},
        {"retrieve:\n  lsa_weight: 1.5\n", "between 0 and 1"},
        {"generate:\n  engine: upstream\n", "carrel.yaml:2: generate.engine: upstream needs"},
        {"generate:\n  upstream:\n    may_receive: [secret]\n", "entry 1 is not one of"},
        {"generate:\n  upstream:\n    may_receive: public\n", "must be a list"},
        {"generate:\n  upstream:\n    url: ftp://x\n", "must start with https://"},
        {"a: &x 1\nb: *x\n", "carrel.yaml:1: anchors"},
        {"http: *x\n", "aliases"},
        {"http: !!map {}\n", "tags"},
        {"---\nlog_level: info\n---\nlog_level: info\n", "second document"},
        {"[[[[[[[[[[]]]]]]]]]]", "nested too deeply"},
        {"- a\n", "must be settings"},
        {"http:\n\tport: 1\n", "carrel.yaml:2:"},
        {"http: {\n", "carrel.yaml:2:"},
        {"http:\n  listen: \"a\\0b\"\n", "NUL"},
        {"log_level: \xff\n", "carrel.yaml:"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena a;
        struct settings s = {0};
        struct error err;
        enum status got = parse(cases[i].text, &a, &s, &err);
        if (got != STATUS_INVALID || strstr(err.text, cases[i].says) == NULL) {
            fail_msg("case %zu: status %s, text: %s (wanted: %s)", i, status_name(got), err.text,
                     cases[i].says);
        }
        assert_null(s.home); /* untouched on failure */
        arena_reset(&a);
    }
}

static void test_too_large(void **state)
{
    (void)state;
    struct arena a;
    struct settings s;
    struct error err = {0};
    size_t n = 300 * 1024;
    char *text = malloc(n);

    assert_non_null(text);
    memset(text, '#', n);
    arena_init(&a, 1 << 20);
    assert_int_equal(settings_parse("/h", (struct str){.ptr = text, .len = n}, "f", &a, &s, &err),
                     STATUS_TOO_LARGE);
    free(text);
    arena_reset(&a);
}

static void test_lists(void **state)
{
    (void)state;
    static const char good[] =
        "ingest:\n  quota: 1GiB\n"
        "tenants:\n  - name: law\n    quota: 2MiB\n  - {name: hr}\n"
        "chunk:\n  overlap_words: 10\n"
        "supervisor:\n  patience: 0s\n"
        "collections:\n  - name: deeds\n    chunk_target_words: 90\n    chunk_overlap_words: 0\n"
        "sources:\n"
        "  - name: wiki\n    url: https://wiki.example.org/docs/\n    include: [\"**/*.md\"]\n"
        "    credentials_file: keys/wiki\n"
        "  - name: scans\n    kind: s3\n    url: http://127.0.0.1:9000\n    bucket: b\n"
        "    folder: in/scans\n    allow_private_address: true\n    label: internal\n";
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"tenants:\n  - name: law\n  - name: law\n", "carrel.yaml:3: tenants: law is there twice"},
        {"tenants:\n  - quota: 1MiB\n", "carrel.yaml:2: tenants: name"},
        {"tenants:\n  - name: law\n    quote: 1\n",
         "carrel.yaml:3: tenants: quote: there is no such setting"},
        {"tenants: {}\n", "must be a list"},
        {"tenants:\n  - law\n", "each entry is a group of lines"},
        {"sources:\n  - name: a\n    url: ftp://x\n", "url: must start with https"},
        {"sources:\n  - name: a\n    url: https://u:p@x/\n", "url: may not hold a user"},
        {"sources:\n  - name: a\n    kind: s3\n    url: https://x\n", "bucket: must be named"},
        {"sources:\n  - name: a\n    url: https://x\n    folder: ../b\n", "folder: is a path"},
        {"sources:\n  - name: a\n    url: https://x\n    folder: b/.c\n", "folder: is a path"},
        {"sources:\n  - name: a\n    url: http://x\n    credentials_file: k\n",
         "cross the network"},
        {"sources:\n  - name: a\n    url: https://x\n    label: secret\n", "label: "},
        {"sources:\n  - name: a\n    kind: s3\n    kind: s3\n", "kind: is there twice"},
        {"chunk:\n  overlap_words: 200\n", "carrel.yaml:2: chunk.overlap_words: must be less"},
        {"supervisor:\n  patience: 2s\n", "carrel.yaml:2: supervisor.patience: must be at least"},
        {"collections:\n  - name: a/b\n", "is no collection's name"},
        {"collections:\n  - name: a\n    chunk_target_words: 10\n", "no less than 20 words"},
        {"collections:\n  - name: a\n    chunk_max_words: 100\n", "overlap must be less"},
        {"collections:\n  - name: a\n    chunk_overlap_words: 200\n", "overlap must be less"},
    };
    struct arena a;
    struct settings s;
    struct error err = {0};
    assert_int_equal(parse(good, &a, &s, &err), STATUS_OK);
    assert_int_equal(settings_quota(&s, "law"), 2 << 20);
    assert_int_equal(settings_quota(&s, "hr"), 0);
    assert_int_equal(settings_quota(&s, "main"), 1 << 30);
    struct chunk_sizes sizes;
    settings_chunk(&s, "deeds", &sizes);
    assert_int_equal(sizes.target_words, 90);
    assert_int_equal(sizes.max_words, 380);
    assert_int_equal(sizes.overlap_words, 0);
    settings_chunk(&s, "default", &sizes);
    assert_int_equal(sizes.target_words, 200);
    assert_int_equal(sizes.overlap_words, 10);
    assert_int_equal(s.n_sources, 2);
    assert_string_equal(s.sources[0].kind, "http-index");
    assert_string_equal(s.sources[0].folder, "wiki");
    assert_string_equal(s.sources[0].credentials_file, "/home/x/keys/wiki");
    assert_string_equal(s.sources[0].include.items[0], "**/*.md");
    assert_string_equal(s.sources[1].folder, "in/scans");
    assert_int_equal(s.sources[1].interval_ms, 900000);
    arena_reset(&a);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(parse(bad[i].text, &a, &s, &err), STATUS_INVALID);
        if (strstr(err.text, bad[i].says) == NULL) {
            fail_msg("%s\nsays: %s", bad[i].text, err.text);
        }
        arena_reset(&a);
    }
}

/* The default file, with its comments taken off, is what one gets without a file. */
static void test_default_file(void **state)
{
    (void)state;
    struct buf out;
    struct buf bare;
    struct arena a;
    struct settings s;
    struct error err;

    buf_init(&out, 1 << 20);
    buf_init(&bare, 1 << 20);
    settings_write_default(&out);
    assert_int_equal(buf_status(&out), STATUS_OK);
    assert_int_equal(parse(out.ptr, &a, &s, &err), STATUS_OK);
    arena_reset(&a);

    const char *p = out.ptr;
    while (*p != '\0') {
        size_t n = strcspn(p, "\n");
        size_t indent = strspn(p, " ");
        bool setting = p[indent] == '#' && p[indent + 1] != ' ';
        if (setting) {
            buf_append(&bare, p, indent);
            buf_append(&bare, p + indent + 1, n - indent - 1);
        } else {
            buf_append(&bare, p, n);
        }
        buf_char(&bare, '\n');
        p += n + (p[n] == '\n');
    }
    assert_int_equal(parse(bare.ptr, &a, &s, &err), STATUS_OK);
    assert_int_equal(s.http.port, 8642);
    assert_int_equal(s.chunk.max_words, 380);
    arena_reset(&a);
    buf_deinit(&out);
    buf_deinit(&bare);
}

static void test_reference_names_every_section(void **state)
{
    (void)state;
    struct buf out;

    buf_init(&out, 1 << 20);
    settings_write_reference(&out);
    assert_int_equal(buf_status(&out), STATUS_OK);
    assert_non_null(strstr(out.ptr, "| `http.port` | whole number, 0 to 65535 | `8642` |"));
    assert_non_null(
        strstr(out.ptr, "| `generate.upstream.may_receive` | list of `public`, `internal`"));
    assert_non_null(strstr(out.ptr, "| `http.max_body_bytes` | size, 1 KiB to 1 GiB | `4MiB` |"));
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),  cmocka_unit_test(test_places_outside),
        cmocka_unit_test(test_values),    cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_too_large), cmocka_unit_test(test_default_file),
        cmocka_unit_test(test_lists),     cmocka_unit_test(test_reference_names_every_section),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
