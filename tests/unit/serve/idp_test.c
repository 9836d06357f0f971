/* From a provider's groups to a role and to groups of documents. */
#include "serve/idp.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/test.h"

static const char *const ward[] = {"ward"};
static const char *const both[] = {"ward", "x-ray"};
static struct directory_group_settings lines[] = {
    {"staff", "reader", {ward, 1}},
    {"boss", "admin", {NULL, 0}},
    {"x-ray", "none", {both, 2}},
    {"cn=it,dc=example", "auditor", {NULL, 0}},
};

static enum status judge(const char *default_role, bool any_case, struct idp_verdict *v,
                         const char *first, const char *second)
{
    struct settings s = {.directory_groups = lines, .n_directory_groups = COUNT_OF(lines)};
    struct idp_group in[] = {{.name = str_from(first)}, {.shorter = str_from(second)}};
    return idp_judge(&s, default_role, in, 2, any_case, v, NULL);
}

static void roles(void **state)
{
    (void)state;
    struct idp_verdict v;
    assert_int_equal(judge("none", false, &v, "staff", NULL), STATUS_OK);
    assert_int_equal(v.role, ROLE_READER);
    assert_int_equal(v.n_groups, 1);
    /* the first line that gives a role, wherever his groups stand */
    assert_int_equal(judge("none", false, &v, "boss", "staff"), STATUS_OK);
    assert_int_equal(v.role, ROLE_READER);
    assert_int_equal(judge("none", false, &v, "x-ray", "boss"), STATUS_OK);
    assert_int_equal(v.role, ROLE_ADMIN);
    assert_int_equal(v.n_groups, 2);
    /* groups of all lines, each once */
    assert_int_equal(judge("none", false, &v, "x-ray", "staff"), STATUS_OK);
    assert_int_equal(v.n_groups, 2);
    assert_true(str_eq(v.groups[0], STR("ward")));
    assert_int_equal(judge("none", false, &v, "x-ray", NULL), STATUS_FORBIDDEN);
    assert_int_equal(judge("auditor", false, &v, "x-ray", NULL), STATUS_OK);
    assert_int_equal(v.role, ROLE_AUDITOR);
    assert_int_equal(judge("none", false, &v, NULL, NULL), STATUS_FORBIDDEN);
    assert_int_equal(judge("none", false, &v, "", ""), STATUS_FORBIDDEN);
    assert_int_equal(judge("none", false, &v, "Staff", "staff2"), STATUS_FORBIDDEN);
    assert_int_equal(judge("none", true, &v, "STAFF", NULL), STATUS_OK);
    assert_int_equal(judge("none", true, &v, "CN=it,DC=example", NULL), STATUS_OK);
    assert_int_equal(v.role, ROLE_AUDITOR);
}

static void too_many(void **state)
{
    (void)state;
    char names[GROUPS_MAX + 1][8];
    const char *items[GROUPS_MAX + 1];
    for (size_t i = 0; i <= GROUPS_MAX; i++) {
        (void)snprintf(names[i], sizeof names[i], "g%zu", i);
        items[i] = names[i];
    }
    struct directory_group_settings one = {"all", "reader", {items, GROUPS_MAX}};
    struct settings s = {.directory_groups = &one, .n_directory_groups = 1};
    struct idp_group in = {.name = STR("all")};
    struct idp_verdict v;
    assert_int_equal(idp_judge(&s, "none", &in, 1, false, &v, NULL), STATUS_OK);
    one.groups.n++;
    assert_int_equal(idp_judge(&s, "none", &in, 1, false, &v, NULL), STATUS_TOO_LARGE);
}

static void secrets(void **state)
{
    (void)state;
    char home[64];
    char path[128];
    char link[128];
    char out[16];
    test_folder(home);
    (void)snprintf(path, sizeof path, "%s/secret", home);
    (void)snprintf(link, sizeof link, "%s/link", home);
    static const struct {
        const char *text;
        mode_t mode;
        const char *secret; /* NULL: refused */
    } cases[] = {
        {"s3cret\n", 0600, "s3cret"}, {"s3cret", 0400, "s3cret"}, {"a b\r\n", 0600, "a b"},
        {"s3cret\n", 0640, NULL},     {"s3cret\n", 0604, NULL},   {"", 0600, NULL},
        {"\n", 0600, NULL},           {"a\nb\n", 0600, NULL},     {"0123456789abcdef", 0600, NULL},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        assert_true(fputs(cases[i].text, f) >= 0);
        assert_int_equal(fclose(f), 0);
        assert_int_equal(chmod(path, cases[i].mode), 0);
        enum status s = idp_secret(path, out, sizeof out, NULL);
        assert_int_equal(s == STATUS_OK, cases[i].secret != NULL);
        assert_string_equal(out, cases[i].secret == NULL ? "" : cases[i].secret);
        assert_int_equal(remove(path), 0);
    }
    assert_int_equal(symlink("/etc/hostname", link), 0);
    assert_int_not_equal(idp_secret(link, out, sizeof out, NULL), STATUS_OK);
    assert_int_equal(idp_secret(home, out, sizeof out, NULL), STATUS_INVALID);
    assert_int_equal(idp_secret("", out, sizeof out, NULL), STATUS_OK);
    test_folder_remove(home);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(roles), cmocka_unit_test(too_many),
                                       cmocka_unit_test(secrets)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
