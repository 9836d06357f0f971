/* Rules of access: patterns, what a document gets, and what a mistake says. */
#include "tests/unit/test.h"

#include "base/glob.h"
#include "base/settings/rules.h"

static struct arena a;

static void patterns(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *path;
        bool match;
    } cases[] = {
        {"hr/**", "hr/a.md", true},
        {"hr/**", "hr/x/y/a.md", true},
        {"hr/**", "hr", false},
        {"hr/**", "hrx/a.md", false},
        {"hr/", "hr/x/a.md", true},
        {"hr/", "other/hr/a.md", false},
        {"hr/*", "hr/a.md", true},
        {"hr/*", "hr/x/a.md", false},
        {"**", "anything/at/all", true},
        {"**/secret.*", "secret.txt", true},
        {"**/secret.*", "a/b/secret.txt", true},
        {"**/secret.*", "a/notsecret.txt", false},
        {"a/**/z", "a/z", true},
        {"a/**/z", "a/b/c/z", true},
        {"a/**/z", "a/bz", false},
        {"?.md", "a.md", true},
        {"?.md", "/.md", false},
        {"*", "", true},
        {"", "", true},
        {"", "a", false},
        {"**/**/**/**/*a*a*a*a*a*a*b",
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/aaaaaaaaaaaaaaaaaaac", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (glob_match(cases[i].pattern, str_from(cases[i].path), 0) != cases[i].match) {
            fail_msg("\"%s\" against \"%s\"", cases[i].pattern, cases[i].path);
        }
    }
}

static const char *judged(const struct rules *r, const char *tenant, const char *path,
                          const char *collection, char *out, size_t cap)
{
    struct verdict v;
    struct buf b;
    rules_judge(r, tenant, str_from(path), collection, &v);
    buf_init(&b, 4096);
    rules_write(&v, &b);
    struct str s = buf_view(&b);
    (void)snprintf(out, cap, "%.*s", (int)s.len, s.len == 0 ? "" : s.ptr);
    buf_deinit(&b);
    return out;
}

static void verdicts(void **state)
{
    (void)state;
    static const char yaml[] = "access:\n"
                               "  - path: hr/open/**\n"
                               "    readers: [everyone]\n"
                               "    tags: [handbook]\n"
                               "  - path: hr/**\n"
                               "    readers: [hr, board]\n"
                               "    label: confidential\n"
                               "    tags: [personnel]\n"
                               "  - collection: minutes\n"
                               "    tenant: north\n"
                               "    readers: [nobody]\n"
                               "  - path: '**'\n"
                               "    label: internal\n"
                               "  - path: dated/**\n"
                               "    date: path\n"
                               "  - path: dated/**\n"
                               "    date: 2001-02-03\n";
    struct rules r;
    struct error err = {0};
    char out[256];
    assert_int_equal(rules_parse(str_from(yaml), "access.yaml", &a, &r, &err), STATUS_OK);
    assert_string_equal(judged(&r, "main", "hr/pay.md", "hr", out, sizeof out),
                        "hr,board|confidential|personnel|");
    assert_string_equal(judged(&r, "main", "hr/open/a.md", "hr", out, sizeof out),
                        "|confidential|handbook,personnel|");
    assert_string_equal(judged(&r, "north", "minutes/a.md", "minutes", out, sizeof out),
                        "nobody|internal||");
    assert_string_equal(judged(&r, "main", "minutes/a.md", "minutes", out, sizeof out),
                        "|internal||");
    assert_string_equal(judged(&r, "main", "dated/2024-02-29 report.md", "dated", out, sizeof out),
                        "|internal||1709164800000");
    assert_string_equal(judged(&r, "main", "dated/2023-02-29.md", "dated", out, sizeof out),
                        "|internal||981158400000");
    assert_string_equal(judged(&(struct rules){0}, "main", "x", "default", out, sizeof out), "");

    struct verdict closed;
    static const char *const groups[] = {"hr", "board"};
    rules_closed(&closed);
    assert_false(rules_readable(&closed, groups, 2));
    struct verdict open;
    rules_judge(&r, "main", STR("hr/open/a.md"), "hr", &open);
    assert_true(rules_readable(&open, NULL, 0));
    assert_false(rules_group_valid(STR("nobody")));
    assert_false(rules_group_valid(STR("a b")));
}

static void mistakes(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *says;
    } cases[] = {
        {"", "access.yaml:1: is empty"},
        {"acess: []\n", "access.yaml:1: must be `access:`"},
        {"access: {}\n", "access.yaml:1: must be `access:`"},
        {"access:\n  - hr\n", "access.yaml:2: a rule is"},
        {"access:\n  - path: hr/**\n", "access.yaml:2: a rule gives readers"},
        {"access:\n  - readers: [hr]\n", "access.yaml:2: a rule names a path"},
        {"access:\n  - path: /hr\n    label: public\n", "access.yaml:2: path: starts below"},
        {"access:\n  - path: hr\n    label: secret\n", "access.yaml:3: label: must be public"},
        {"access:\n  - path: hr\n    readers: hr\n", "access.yaml:3: readers: must be a list"},
        {"access:\n  - path: hr\n    readers: []\n", "access.yaml:3: readers: must be a list"},
        {"access:\n  - path: hr\n    readers: [hr, everyone]\n",
         "access.yaml:3: readers: everyone"},
        {"access:\n  - path: hr\n    reader: [hr]\n", "access.yaml:3: a rule has path"},
        {"access:\n  - path: hr\n    path: x\n    label: public\n",
         "access.yaml:3: this rule says"},
        {"access:\n  - path: hr\n    date: soon\n", "access.yaml:3: date: must be"},
        {"access:\n  - path: hr\n    tags: [a b]\n", "access.yaml:3: tags: must be"},
        {"access: [\n", "access.yaml:"},
        {"access: &x []\n", "access.yaml:1: anchors"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rules r = {0};
        struct error err = {0};
        if (rules_parse(str_from(cases[i].yaml), "access.yaml", &a, &r, &err) == STATUS_OK ||
            strncmp(err.text, cases[i].says, strlen(cases[i].says)) != 0) {
            fail_msg("%s: said \"%s\", not \"%s\"", cases[i].yaml, err.text, cases[i].says);
        }
    }
    struct rules r = {0};
    struct error err = {0};
    assert_int_equal(rules_parse(STR("access: []\n"), "access.yaml", &a, &r, &err), STATUS_OK);
    assert_int_equal(r.n, 0);
}

/* What a folder said goes on to hold where it cannot be asked. */
static void narrowed(void **state)
{
    (void)state;
    static const struct {
        const char *rules, *written, *is;
    } cases[] = {
        {"{path: '**', readers: [hr, board]}", "hr,sales|||", "hr|||"},
        {"{path: '**', readers: [board]}", "hr|||", "nobody|||"},
        {"{path: '**', readers: [everyone]}", "hr,sales|||", "hr,sales|||"},
        {"{path: '**', readers: [hr]}", "", "hr|||"},
        {"{path: '**', readers: [hr], label: internal}", "hr|confidential||", "hr|confidential||"},
        {"{path: '**', readers: [hr], label: restricted}", "hr|internal||", "hr|restricted||"},
        {"{path: '**', readers: [hr], label: public}", "hr|||", "hr|||"},
        {"{path: '**', tags: [a]}", "nobody||b,a|5000", "nobody||a,b|5000"},
        {"{path: '**', tags: [a]}", "x|confidential|", "x||a|"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct arena texts;
        struct rules r = {0};
        struct verdict v;
        struct buf b;
        char yaml[160];
        struct error err = {0};
        arena_init(&texts, 1 << 20);
        buf_init(&b, 4096);
        (void)snprintf(yaml, sizeof yaml, "access:\n  - %s\n", cases[i].rules);
        assert_int_equal(rules_parse(str_from(yaml), "access.yaml", &texts, &r, &err), STATUS_OK);
        rules_judge(&r, "main", STR("a.md"), "default", &v);
        rules_narrow(&v, cases[i].written, &texts);
        rules_write(&v, &b);
        buf_char(&b, '\0');
        assert_string_equal(b.ptr, cases[i].is);
        buf_deinit(&b);
        arena_reset(&texts);
    }
}

static enum status parsed(const char *yaml, struct rules *r, struct error *err)
{
    return rules_parse(str_from(yaml), "access.yaml", &a, r, err);
}

/* The rule that says who reads says whether the share is asked, and the share only takes away. */
static void shares(void **state)
{
    (void)state;
    struct rules r;
    struct error err;
    struct verdict v;
    char got[256];
    static const char *const names[] = {"hr", "board"};
    assert_int_equal(parsed("access:\n"
                            "  - {path: open/**, readers: [everyone]}\n"
                            "  - {path: few/**, readers: [hr, it], rights: share}\n"
                            "  - {path: '**', rights: share}\n"
                            "groups:\n"
                            "  - {name: hr, gid: 1005}\n"
                            "  - {name: hr, sid: S-1-5-21-1-2-3-1105}\n"
                            "  - {name: anna, uid: 7}\n"
                            "  - {name: hr, nfs: hr@example.org}\n",
                            &r, &err),
                     STATUS_OK);
    assert_true(r.any_share);
    assert_int_equal(r.n_groups, 4);
    assert_int_equal(r.groups[0].by, KNOWN_BY_GID);
    assert_int_equal(r.groups[0].id, 1005);
    assert_string_equal(r.groups[1].text, "S-1-5-21-1-2-3-1105");
    static const struct {
        const char *path;
        bool share, everyone;
        const char *then;
    } cases[] = {{"open/a", false, false, ""},
                 {"few/a", true, false, "hr|||"},
                 {"few/a", true, true, "hr,it|||"},
                 {"other/a", true, false, "hr,board|||"},
                 {"other/a", true, true, ""}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf b;
        rules_judge(&r, "main", str_from(cases[i].path), "x", &v);
        assert_int_equal(v.share, cases[i].share);
        if (v.share) {
            rules_share(&v, cases[i].everyone, names, 2);
        }
        buf_init(&b, 256);
        rules_write(&v, &b);
        (void)snprintf(got, sizeof got, "%.*s", STR_ARG(buf_view(&b)));
        buf_deinit(&b);
        assert_string_equal(got, cases[i].then);
    }
    rules_judge(&r, "main", STR("few/a"), "x", &v);
    rules_share(&v, false, names + 1, 1); /* the share says board, the rule hr and it */
    assert_int_equal(v.n_readers, 1);
    assert_string_equal(v.readers[0], RULES_NOBODY);
    static const char *const wrong[] = {
        "access:\n  - {path: x, rights: mine}\n",
        "access: []\ngroups:\n  - {name: hr}\n",
        "access: []\ngroups:\n  - {name: hr, gid: -1}\n",
        "access: []\ngroups:\n  - {name: hr, gid: 99999999999}\n",
        "access: []\ngroups:\n  - {name: everyone, gid: 5}\n",
        "access: []\ngroups:\n  - {name: hr, sid: hr}\n",
        "access: []\ngroups:\n  - {name: hr, gid: 5, uid: 5}\n",
        "access: []\ngroups: {}\n",
        "access: []\nother: []\n",
        "access: []\naccess: []\n",
        "groups: []\n",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        if (parsed(wrong[i], &r, &err) != STATUS_INVALID) {
            fail_msg("%s was taken", wrong[i]);
        }
        assert_non_null(strstr(err.text, "access.yaml:"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares),   cmocka_unit_test(narrowed), cmocka_unit_test(patterns),
        cmocka_unit_test(verdicts), cmocka_unit_test(mistakes),
    };
    arena_init(&a, 1 << 20);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_reset(&a);
    return failed;
}
