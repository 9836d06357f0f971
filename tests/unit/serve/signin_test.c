/* Passwords, one-time codes, QR codes. */
#include "serve/password.h"
#include "serve/qr.h"
#include "serve/totp.h"
#include "tests/unit/test.h"

static void passwords(void **state)
{
    (void)state;
    char hash[PASSWORD_HASH_CAP];
    char other[PASSWORD_HASH_CAP];
    assert_int_equal(password_hash(STR("quiet river stones"), hash, NULL), STATUS_OK);
    assert_int_equal(password_hash(STR("quiet river stones"), other, NULL), STATUS_OK);
    assert_string_not_equal(hash, other); /* salted */
    assert_non_null(strstr(hash, "$argon2id$v=19$m=65536,t=2,p=1$"));
    assert_true(password_check(hash, STR("quiet river stones")));
    assert_false(password_check(hash, STR("quiet river stoned")));
    assert_false(password_check(hash, STR("")));
    assert_false(password_check("", STR("")));
    assert_false(password_check("", STR("quiet river stones")));
    char made[PASSWORD_NEW_CAP];
    password_new(made);
    assert_int_equal(strlen(made), 23);
    assert_null(password_problem(str_from(made), STR("anna")));
}

static void rules(void **state)
{
    (void)state;
    static const struct {
        const char *password;
        bool good;
    } cases[] = {
        {"quiet river stones", true},
        {"x7Kq!mW2pZ", true},
        {"\xc3\xa4\xc3\xb6\xc3\xbc zw\xc3\xb6lf Boxk\xc3\xa4mpfer", true},
        {"x7Kq!mW2p", false},                                /* nine */
        {"\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f\xc3\xa4", false}, /* five characters, ten bytes */
        {"aaaaaaaaaaaaaaaa", false},
        {"abababababab", false},
        {"abcdefghijklmnop", false},
        {"zyxwvutsrqponm", false},
        {"my name is Hannah!", false},
        {"PASSWORD1234", false},
        {"not text \xff\xfe here", false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *problem = password_problem(str_from(cases[i].password), STR("hannah"));
        assert_true((problem == NULL) == cases[i].good);
    }
}

/* RFC 6238, appendix B, SHA-1; the last six of its eight digits. */
static void codes(void **state)
{
    (void)state;
    static const struct {
        int64_t at;
        uint32_t code;
    } cases[] = {{59, 287082},       {1111111109, 81804},  {1111111111, 50471},
                 {1234567890, 5924}, {2000000000, 279037}, {20000000000, 353130}};
    const uint8_t *secret = (const uint8_t *)"12345678901234567890";
    int64_t step = 0;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(totp_code(secret, cases[i].at / 30), cases[i].code);
    }
    assert_true(totp_check(secret, STR("287082"), 59, 0, &step));
    assert_int_equal(step, 1);
    assert_false(totp_check(secret, STR("287082"), 59, 1, &step)); /* that one was taken */
    assert_true(totp_check(secret, STR("287082"), 89, 0, &step));  /* a step late */
    assert_false(totp_check(secret, STR("287082"), 120, 0, &step));
    static const char *const bad[] = {"", "28708", "2870820", "28708a", "-87082"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_false(totp_check(secret, str_from(bad[i]), 59, 0, &step));
    }
    char text[TOTP_TEXT_CAP];
    totp_text(secret, text);
    assert_string_equal(text, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    struct buf uri;
    buf_init(&uri, 1024);
    totp_uri(secret, STR("J\xc3\xb6rg & Co"), &uri);
    assert_string_equal(buf_view(&uri).ptr, "otpauth://totp/Carrel:J%C3%B6rg%20%26%20Co?secret="
                                            "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Carrel");
    buf_deinit(&uri);
}

static uint64_t sum_of(const uint8_t *dark, unsigned side)
{
    uint64_t h = 1469598103934665603U;
    for (unsigned i = 0; i < side * side; i++) {
        h = (h ^ dark[i]) * 1099511628211U;
    }
    return h;
}

/* The sums are of codes that a reader (jsQR) has read; a change of one module shows. */
static void qr(void **state)
{
    (void)state;
    static const struct {
        size_t len;
        unsigned side;
        uint64_t sum;
    } cases[] = {{1, 21, 11350555816105193697U},  {14, 21, 4211750797061594993U},
                 {15, 25, 13856242443055779353U}, {26, 25, 897878266364548887U},
                 {42, 29, 14764837103466472472U}, {62, 33, 7165203007793249378U},
                 {84, 37, 12076941946519625987U}, {106, 41, 11887751347876898228U},
                 {122, 45, 9625879814438715433U}, {152, 49, 502992060980761537U},
                 {180, 53, 4673118222265084300U}, {213, 57, 7894708745145597339U}};
    char text[QR_BYTES_MAX + 1];
    uint8_t dark[QR_SIDE_MAX * QR_SIDE_MAX];
    unsigned side;
    struct error err;
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = (char)('!' + i * 7 % 90);
    }
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(qr_modules((struct str){text, cases[i].len}, dark, &side, &err),
                         STATUS_OK);
        assert_int_equal(side, cases[i].side);
        assert_int_equal(sum_of(dark, side), cases[i].sum);
    }
    assert_int_equal(qr_modules((struct str){text, sizeof text}, dark, &side, &err),
                     STATUS_TOO_LARGE);
    struct buf svg;
    buf_init(&svg, 65536);
    assert_int_equal(qr_svg(STR("a"), &svg, &err), STATUS_OK);
    assert_true(svg.len > 500);
    buf_deinit(&svg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(passwords), cmocka_unit_test(rules),
                                       cmocka_unit_test(codes), cmocka_unit_test(qr)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
