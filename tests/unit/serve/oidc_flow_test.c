/* What a browser is sent away with, what it brings back, and what a provider says of itself. */
#include "serve/oidc_flow.h"

#include "serve/http/url.h"
#include "tests/unit/test.h"

#define ISSUER "https://id.example/realm"
static const char *const hosts[] = {"https://keys.example"};
static const struct settings settings = {
    .oidc = {.issuer = ISSUER,
             .client_id = "a b",
             .redirect_uri = "https://carrel.example/api/oidc/callback",
             .scopes = "openid profile",
             .hosts = {hosts, 1}},
};
static const uint8_t key[OIDC_SEAL_KEY_BYTES] = {1};
static const uint8_t other_key[OIDC_SEAL_KEY_BYTES] = {2};

static void sealed(void **state)
{
    (void)state;
    struct oidc_flow f;
    struct oidc_flow back;
    char text[OIDC_COOKIE_CAP];
    oidc_flow_new(STR("/#documents"), 1000, &f);
    oidc_flow_seal(&f, key, text);
    struct str s = str_from(text);
    assert_true(oidc_flow_open(s, key, 1000, &back));
    assert_memory_equal(&f, &back, sizeof f);
    assert_true(oidc_flow_open(s, key, 999 + OIDC_FLOW_MS, &back));
    assert_false(oidc_flow_open(s, key, 1000 + OIDC_FLOW_MS, &back));
    assert_false(oidc_flow_open(s, other_key, 1000, &back));
    for (size_t i = 0; i < s.len; i += 7) {
        char c = text[i];
        text[i] = c == 'A' ? 'B' : 'A';
        assert_false(oidc_flow_open(s, key, 1000, &back));
        text[i] = c;
        assert_false(oidc_flow_open((struct str){text, i}, key, 1000, &back));
    }
    assert_false(oidc_flow_open((struct str){0}, key, 1000, &back));
    struct oidc_flow g;
    oidc_flow_new(STR("/"), 1000, &g);
    assert_string_not_equal(f.state, g.state);
    assert_string_not_equal(f.nonce, g.nonce);
    assert_string_not_equal(f.verifier, g.verifier);
}

static void returns(void **state)
{
    (void)state;
    static const struct {
        const char *asked, *got;
    } cases[] = {
        {"/", "/"},
        {"/#ask?x=1&y=%20", "/#ask?x=1&y=%20"},
        {"", "/"},
        {"//evil.example", "/"},
        {"/\\evil.example", "/"},
        {"https://evil.example", "/"},
        {"javascript:alert(1)", "/"},
        {"/a\r\nb", "/"},
        {"/\t/evil.example", "/"},
        {"/a b", "/"},
        {"/\xc3\xa4", "/"},
        {"/a:b", "/"},
        {"/a@b", "/"},
    };
    struct oidc_flow f;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        oidc_flow_new(str_from(cases[i].asked), 0, &f);
        assert_string_equal(f.return_to, cases[i].got);
    }
    char longer[OIDC_RETURN_CAP + 1];
    memset(longer, '/', sizeof longer);
    memset(longer + 1, 'a', sizeof longer - 1);
    oidc_flow_new((struct str){longer, OIDC_RETURN_CAP}, 0, &f);
    assert_string_equal(f.return_to, "/");
    oidc_flow_new((struct str){longer, OIDC_RETURN_CAP - 1}, 0, &f);
    assert_int_equal(strlen(f.return_to), OIDC_RETURN_CAP - 1);
    oidc_flow_new((struct str){0}, 0, &f);
    assert_string_equal(f.return_to, "/");
}

static void sent_away(void **state)
{
    (void)state;
    /* RFC 7636 appendix B */
    struct oidc_flow f = {
        .state = "s&t", .nonce = "n", .verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"};
    struct oidc_metadata m = {.authorization = ISSUER "/auth"};
    struct buf b;
    struct buf line;
    buf_init(&b, 4096);
    buf_init(&line, 4096);
    oidc_authorization_url(&m, &settings, &f, &b);
    assert_string_equal(
        buf_view(&b).ptr,
        ISSUER "/auth?response_type=code&client_id=a%20b&redirect_uri=https%3A%2F%2Fcarrel.example"
               "%2Fapi%2Foidc%2Fcallback&scope=openid%20profile&state=s%26t&nonce=n&code_challenge="
               "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256");
    buf_reset(&b);
    oidc_token_form(&m, &settings, "p:/ä", STR("c+d"), &f, &b, &line);
    assert_null(strstr(buf_view(&b).ptr, "client_id"));
    assert_non_null(strstr(buf_view(&b).ptr, "&code=c%2Bd&"));
    /* a%20b:p%3A%2F%C3%A4 */
    assert_string_equal(buf_view(&line).ptr, "Authorization: Basic YSUyMGI6cCUzQSUyRiVDMyVBNA==");
    buf_reset(&b);
    buf_reset(&line);
    m.post_secret = true;
    oidc_token_form(&m, &settings, "p", STR("c"), &f, &b, &line);
    assert_int_equal(line.len, 0);
    assert_non_null(strstr(buf_view(&b).ptr, "&client_id=a%20b&client_secret=p"));
    buf_deinit(&b);
    buf_deinit(&line);
}

static enum oidc_came_back came(const char *query, bool says_issuer)
{
    struct oidc_flow f = {.state = "abc"};
    struct oidc_metadata m = {.says_issuer = says_issuer};
    struct arena a;
    struct str code;
    arena_init(&a, 65536);
    enum oidc_came_back r = oidc_read_callback(str_from(query), &m, ISSUER, &f, &a, &code);
    if (r == OIDC_CODE) {
        assert_true(str_eq(code, STR("x y")));
    }
    arena_reset(&a);
    return r;
}

static void came_back(void **state)
{
    (void)state;
    assert_int_equal(came("code=x+y&state=abc", false), OIDC_CODE);
    assert_int_equal(came("state=abc&code=x%20y&iss=https%3A%2F%2Fid.example%2Frealm", true),
                     OIDC_CODE);
    assert_int_equal(came("code=x+y&state=abc", true), OIDC_STRANGE);
    assert_int_equal(came("code=x+y&state=abc&iss=https%3A%2F%2Fid.example", false), OIDC_STRANGE);
    assert_int_equal(came("code=x+y&state=abd", false), OIDC_STRANGE);
    assert_int_equal(came("code=x+y&state=ab", false), OIDC_STRANGE);
    assert_int_equal(came("code=x+y", false), OIDC_STRANGE);
    assert_int_equal(came("", false), OIDC_STRANGE);
    assert_int_equal(came("state=abc", false), OIDC_STRANGE);
    assert_int_equal(came("state=abc&code=", false), OIDC_STRANGE);
    assert_int_equal(came("state=abc&code=%zz", false), OIDC_STRANGE);
    assert_int_equal(came("state=abc&error=access_denied", false), OIDC_REFUSED);
    assert_int_equal(came("state=abc&error=access_denied&code=x", false), OIDC_REFUSED);
}

#define DOC(issuer, auth, token, jwks, more)                                                       \
    "{\"issuer\":\"" issuer "\",\"authorization_endpoint\":\"" auth                                \
    "\",\"token_endpoint\":\"" token "\",\"jwks_uri\":\"" jwks "\"" more "}"

static void metadata(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
    } cases[] = {
        {DOC(ISSUER, ISSUER "/a", ISSUER "/t", "https://keys.example/k", ""), true},
        {DOC(ISSUER, "https://login.example/a", ISSUER "/t", ISSUER "/k", ""), true},
        {DOC(ISSUER "/", ISSUER "/a", ISSUER "/t", ISSUER "/k", ""), false},
        {DOC("https://evil.example", ISSUER "/a", ISSUER "/t", ISSUER "/k", ""), false},
        /* what we call must be where the administrator said */
        {DOC(ISSUER, ISSUER "/a", "https://evil.example/t", ISSUER "/k", ""), false},
        {DOC(ISSUER, ISSUER "/a", ISSUER "/t", "https://id.example:8443/k", ""), false},
        {DOC(ISSUER, ISSUER "/a", ISSUER "/t", "http://id.example/k", ""), false},
        {DOC(ISSUER, ISSUER "/a", ISSUER "/t", "https://u@id.example/k", ""), false},
        {DOC(ISSUER, ISSUER "/a", ISSUER "/t", "file:///etc/passwd", ""), false},
        {DOC(ISSUER, ISSUER "/a", ISSUER "/t", "", ""), false},
        {DOC(ISSUER, ISSUER "/a", ISSUER "/t", ISSUER "/k",
             ",\"userinfo_endpoint\":\"http://169.254.169.254/\""),
         false},
        {DOC(ISSUER, "http://id.example/a", ISSUER "/t", ISSUER "/k", ""), false},
        {DOC(ISSUER, "javascript:alert(1)", ISSUER "/t", ISSUER "/k", ""), false},
        {DOC(ISSUER, "https://id.example/a#b", ISSUER "/t", ISSUER "/k", ""), false},
        {DOC(ISSUER, "https://id.example/a\\r\\nX: y", ISSUER "/t", ISSUER "/k", ""), false},
        {DOC(ISSUER, ISSUER "/a", ISSUER "/t", ISSUER "/k",
             ",\"end_session_endpoint\":\"javascript:alert(1)\""),
         false},
        {DOC(ISSUER, ISSUER "/a", ISSUER "/t", ISSUER "/k",
             ",\"code_challenge_methods_supported\":[\"plain\"]"),
         false},
        {DOC(ISSUER, ISSUER "/a", ISSUER "/t", ISSUER "/k",
             ",\"code_challenge_methods_supported\":[\"plain\",\"S256\"]"),
         true},
        {"{}", false},
        {"[]", false},
        {"", false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct oidc_metadata m;
        struct error err = {0};
        if ((oidc_read_metadata(str_from(cases[i].text), &settings, &m, &err) == STATUS_OK) !=
            cases[i].ok) {
            fail_msg("%s: %s", cases[i].text, err.text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sealed), cmocka_unit_test(returns),
                                       cmocka_unit_test(sent_away), cmocka_unit_test(came_back),
                                       cmocka_unit_test(metadata)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
