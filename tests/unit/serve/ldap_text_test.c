/* What somebody typed, as part of a filter or of a name. */
#include "serve/ldap_text.h"

#include "tests/unit/test.h"

static void fills(const char *template, struct str u, const char *d, ldap_escape_fn escape,
                  const char *want)
{
    struct buf b;
    buf_init(&b, 200);
    enum status s = ldap_fill(template, u, d, escape, &b, NULL);
    if (want == NULL) {
        assert_int_not_equal(s, STATUS_OK);
    } else {
        assert_int_equal(s, STATUS_OK);
        assert_string_equal(buf_view(&b).ptr, want);
    }
    buf_deinit(&b);
}

static void filters(void **state)
{
    (void)state;
    /* RFC 4515 section 4 */
    fills("(o=%u)", STR("Parens R Us (for all your parenthetical needs)"), NULL, ldap_escape_filter,
          "(o=Parens R Us \\28for all your parenthetical needs\\29)");
    fills("(cn=*%u*)", STR("*"), NULL, ldap_escape_filter, "(cn=*\\2a*)");
    fills("(filename=%u)", STR("C:\\MyFile"), NULL, ldap_escape_filter, "(filename=C:\\5cMyFile)");
    fills("(sn=%u)", STR("Lu\xc4\x8di\xc4\x87"), NULL, ldap_escape_filter,
          "(sn=Lu\\c4\\8di\\c4\\87)");
    fills("(bin=%u)", ((struct str){"\0\0\0\4", 4}), NULL, ldap_escape_filter,
          "(bin=\\00\\00\\00\\04)");
    fills("(uid=%u)", STR("x)(|(uid=*"), NULL, ldap_escape_filter,
          "(uid=x\\29\\28\\7c\\28uid\\3d\\2a)");
    /* what was put in is not looked through again */
    fills("(&(a=%u)(b=%d)(c=100%%))", STR("%d"), "%u", ldap_escape_filter,
          "(&(a=%d)(b=%u)(c=100%))");
    fills("(a=%x)", STR("u"), NULL, ldap_escape_filter, NULL);
    fills("(a=%", STR("u"), NULL, ldap_escape_filter, NULL);
    fills("(a=%d)", STR("u"), NULL, ldap_escape_filter, NULL);
    char many[300];
    memset(many, '*', sizeof many);
    fills("(a=%u)", (struct str){many, sizeof many}, NULL, ldap_escape_filter, NULL);
}

static void names(void **state)
{
    (void)state;
    /* RFC 4514 section 2.4 */
    fills("cn=%u,dc=x", STR("James \"Jim\" Smith, III"), NULL, ldap_escape_dn,
          "cn=James \\22Jim\\22 Smith\\2C III,dc=x");
    fills("uid=%u", STR(" #a+b;c<d>e=f\\ "), NULL, ldap_escape_dn,
          "uid=\\20\\23a\\2Bb\\3Bc\\3Cd\\3Ee\\3Df\\5C\\20");
    fills("uid=%u,ou=people", STR("ada,ou=admins"), NULL, ldap_escape_dn,
          "uid=ada\\2Cou\\3Dadmins,ou=people");
    fills("uid=%u", ((struct str){"a\0b\r", 4}), NULL, ldap_escape_dn, "uid=a\\00b\\0D");
}

static void users(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "Ada Lovelace", "*", "a(b)", "\xc3\xa4"};
    static const char *const bad[] = {"", " a", "a ", "a\nb", "a\x7f", "a\tb"};
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        assert_true(ldap_user_ok(str_from(good[i])));
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_false(ldap_user_ok(str_from(bad[i])));
    }
    char many[129];
    memset(many, 'x', sizeof many);
    assert_true(ldap_user_ok((struct str){many, 128}));
    assert_false(ldap_user_ok((struct str){many, 129}));
    assert_false(ldap_user_ok((struct str){"a\0b", 3}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(filters), cmocka_unit_test(names),
                                       cmocka_unit_test(users)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
