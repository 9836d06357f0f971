#include "tests/unit/test.h"

#include "base/buf.h"
#include "base/text/text.h"

static struct text_analyzer *analyzer;

static int setup(void **state)
{
    (void)state;
    struct error err;
    return text_analyzer_new(&analyzer, &err) == STATUS_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    text_analyzer_free(analyzer);
    return 0;
}

struct seen {
    char norms[4096], stems[4096];
    uint32_t positions[256], starts[256], ends[256];
    bool functions[256], alone[256];
    size_t n, stop_after;
};

static bool on_token(const struct text_token *t, void *data)
{
    struct seen *s = data;
    size_t a = strlen(s->norms), b = strlen(s->stems);
    (void)snprintf(s->norms + a, sizeof(s->norms) - a, "%s%.*s", a == 0 ? "" : " ",
                   STR_ARG(t->norm));
    (void)snprintf(s->stems + b, sizeof(s->stems) - b, "%s%.*s", b == 0 ? "" : " ",
                   STR_ARG(t->stem));
    if (s->n < 256) {
        s->positions[s->n] = t->position;
        s->starts[s->n] = t->start;
        s->ends[s->n] = t->end;
        s->functions[s->n] = t->function_word;
        s->alone[s->n] = t->alone;
    }
    s->n++;
    return s->stop_after == 0 || s->n < s->stop_after;
}

static struct seen cut(const char *text, const char *language)
{
    struct seen s = {.n = 0};
    text_analyze(analyzer, str_from(text), language, on_token, &s);
    return s;
}

static void test_norms(void **state)
{
    (void)state;
    static const struct {
        const char *text, *language, *norms;
    } cases[] = {
        {"", "en", ""},
        {" \t\n.,;", "en", ""},
        {"Hello, WORLD!", "", "hello world"},
        {"AB-1234/7 x_y", "en", "ab 1234 7 ab1234-7 x y"},
        {"don't l'État", "fr", "don t l etat"},
        {"Ｆｕｌｌ　ｗｉｄｔｈ ①", "", "full width 1"},
        {"ﬁnal ﬂow", "en", "final flow"},
        {"cafe\xCC\x81 café", "fr", "cafe cafe"}, /* decomposed and composed are one */
        {"Straße STRASSE", "de", "strasse strasse"},
        {"Ørsted Łódź Æsop", "", "orsted lodz aesop"},
        {"exten\xC2\xADsion", "en", "extension"}, /* soft hyphen */
        {"5½ m²", "en", "5 m2"},
        /* combining marks stay inside: Hindi words are not cut at their vowel signs */
        {"हिन्दी पुस्तकें", "hi", "हिन्दि पुस्तकें"},
        {"क़लम क्\xE2\x80\x8Dष", "hi", "कलम क्ष"}, /* nukta and joiner */
        {"चाँद १२", "hi", "चांद 12"},
        {"كِتَابٌ كتـــاب", "ar", "كتاب كتاب"}, /* vowel signs, tatweel */
        {"أحمد إلى مدرسة مسؤول ٢٠", "ar", "احمد الي مدرسه مسوول 20"},
        {"Ёлка ёж", "ru", "елка еж"},
        {"Σίσυφος ΣΊΣΥΦΟΣ", "el", "σίσυφοσ σίσυφοσ"},
        {"IŞIK İzmir", "tr", "isik izmir"},
        {"Tiếng Việt", "", "tieng viet"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct seen s = cut(cases[i].text, cases[i].language);
        assert_string_equal(s.norms, cases[i].norms);
    }
}

/* Codes are there in parts and whole, and the whole is the same however it is separated. */
static void test_codes(void **state)
{
    (void)state;
    static const struct {
        const char *text, *norms;
    } cases[] = {
        {"ISO 9001:2015", "iso 9001 2015 9001-2015"},
        {"§ 12(3)", "12 3 12-3"},
        {"§ 12(3)(b) ff.", "12 3 b 12-3b ff"},
        {"v2.1.0, v2", "v2 1 0 v2-1-0 v2"},
        {"AB1234/7", "ab1234 7 ab1234-7"},
        {"AB-1234 AB1234", "ab 1234 ab1234 ab1234"},
        {"Ann.Lee@example.com.", "ann lee example com annleeexamplecom"},
        {"1,234.50 or 1.234,50", "1 234 50 1-234-50 or 1 234 50 1-234-50"},
        {"2024-05-31 12:30", "2024 05 31 2024-05-31 12 30 12-30"},
        {"3, 4; 5 - 6", "3 4 5 6"},
        {"AB\xE2\x80\x91"
         "12",
         "ab 12 ab12"}, /* the hyphen that does not break */
        {"DE89 3704 0044 0532 0130 00 bank",
         "de89 3704 0044 0532 0130 00 de89370400440532013000 bank"},
        {"DE89370400440532013000", "de89370400440532013000"},
        {"GB82 WEST 1234 5698 7654 32", "gb82 west 1234 5698 7654 32 gb82west12345698765432"},
        {"NO93 8601 1117 947 from then on", "no93 8601 1117 947 no9386011117947 from then on"},
        {"DE88 3704 0044 0532 0130 00", "de88 3704 0044 0532 0130 00"}, /* wrong check digits */
        {"f(x) and/or http://www.example.com/a", "f x and or http www example com a"},
        {"co-operation a-b-c-d", "co operation cooperation a b c d"},
        {"5½-3", "5 3"},
        {"1-", "1"},
        {"-1-", "1"},
        {"1--2", "1 2"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct seen s = cut(cases[i].text, "en");
        assert_string_equal(s.norms, cases[i].norms);
    }
    struct seen s = cut("see AB-1234/7", "en");
    assert_int_equal(s.n, 5);
    assert_int_equal(s.starts[4], 4); /* from its first part to its last */
    assert_int_equal(s.ends[4], 13);
    assert_int_equal(s.positions[4], 3);
    assert_string_equal(cut("co-operations cooperations", "en").stems, "co oper cooper cooper");
    char much[600];
    memset(much, '1', sizeof much);
    for (size_t i = 1; i < sizeof much; i += 2) {
        much[i] = '-';
    }
    much[sizeof much - 1] = '\0';
    assert_int_equal(cut(much, "en").n, 300); /* too long to be a code */
}

static void test_stems(void **state)
{
    (void)state;
    static const struct {
        const char *language, *text, *stems;
    } cases[] = {
        {"", "running houses", "running houses"},
        {"en", "running houses generally", "run hous general"},
        {"de", "Häuser Kündigungsfristen", "haus kundigungsfrist"},
        {"fr", "continuellement chevaux", "continuel cheval"},
        {"es", "habitaciones rápidamente", "habit rapid"},
        {"it", "abbandonata città", "abbandon citt"},
        {"pt", "quilômetros", "quilometr"},
        {"nl", "lichamelijkheden", "licham"},
        {"sv", "jaktkarlens", "jaktkarl"},
        {"ru", "важнейшими книгами", "важн книг"},
        {"hi", "पुस्तकें", "पुस्तक"},
        {"en-GB", "houses", "hous"},
        {"ru", "houses", "hous"}, /* ASCII words among other letters are taken for English */
        {"xx", "houses", "houses"},
        {NULL, "houses", "houses"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct seen s = cut(cases[i].text, cases[i].language);
        assert_string_equal(s.stems, cases[i].stems);
    }
}

static void test_dense_scripts(void **state)
{
    (void)state;
    struct seen s = cut("东京都 x 京", "zh");
    assert_string_equal(s.norms, "东 东京 京 京都 都 x 京");
    assert_int_equal(s.positions[1], 0); /* a bigram stands where its first character does */
    assert_int_equal(s.positions[2], 1);
    assert_int_equal(s.positions[4], 2);
    assert_int_equal(s.positions[5], 3);
    assert_int_equal(s.starts[3], 3);
    assert_int_equal(s.ends[3], 9);
    assert_false(s.alone[0]);
    assert_false(s.alone[4]);
    assert_true(s.alone[6]);
    s = cut("ｶﾞｽ", "ja"); /* half-width kana with its voice mark */
    assert_string_equal(s.norms, "ガ ガス ス");
    s = cut("が", "ja");
    assert_string_equal(s.norms, "が");
    s = cut("か\xE3\x82\x99", "ja"); /* decomposed */
    assert_string_equal(s.norms, "が");
    s = cut("한국", "ko");
    assert_string_equal(s.norms, "한 한국 국");
    s = cut("\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB",
            "ko"); /* conjoining jamo of the same syllable */
    assert_string_equal(s.norms, "한");
    s = cut("ไทยแลนด์", "th"); /* no spaces: characters with their marks, and pairs */
    assert_string_equal(s.norms, "ไ ไท ท ทย ย ยแ แ แล ล ลน น นด์ ด์");
    s = cut("ລາວ", "lo");
    assert_string_equal(s.norms, "ລ ລາ າ າວ ວ");
    s = cut("ខ្មែរ", "km");
    assert_string_equal(s.norms, "ខ្ ខ្មែ មែ មែរ រ");
    s = cut("NFL联盟2", "zh");
    assert_string_equal(s.norms, "nfl 联 联盟 盟 2");
}

static void test_offsets(void **state)
{
    (void)state;
    struct seen s = cut("  Größe: 12", "de");
    assert_int_equal(s.n, 2);
    assert_int_equal(s.starts[0], 2);
    assert_int_equal(s.ends[0], 9);
    assert_int_equal(s.starts[1], 11);
    assert_int_equal(s.positions[1], 1);
    s.n = 0;
    s.stop_after = 1;
    text_analyze(analyzer, STR("one two three"), "en", on_token, &s);
    assert_int_equal(s.n, 1);
}

static void test_function_words(void **state)
{
    (void)state;
    struct seen s = cut("What is the notice period", "en");
    assert_true(s.functions[0] && s.functions[1] && s.functions[2]);
    assert_false(s.functions[3] || s.functions[4]);
    s = cut("Où est la gare", "fr");
    assert_true(s.functions[0] && s.functions[1] && s.functions[2]);
    assert_false(s.functions[3]);
    s = cut("的", "zh");
    assert_true(s.functions[0]);
    s = cut("the", "");
    assert_false(s.functions[0]);
}

static void test_bad_bytes(void **state)
{
    (void)state;
    /* stray continuation, overlong, surrogate, beyond the last, cut short: separators all */
    struct seen s = cut("a\x80"
                        "b\xC0\xAF"
                        "c\xED\xA0\x80"
                        "d\xF4\x90\x80\x80"
                        "e\xE4\xB8",
                        "en");
    assert_string_equal(s.norms, "a b c d e");
    static const char zero[] = "a\0b";
    s = (struct seen){.n = 0};
    text_analyze(analyzer, (struct str){zero, 3}, "en", on_token, &s);
    assert_string_equal(s.norms, "a b");
    for (uint32_t seed = 1; seed < 2000; seed++) { /* anything at all: sanitizers watch */
        char noise[64];
        uint32_t x = seed * 2654435761U;
        for (size_t i = 0; i < sizeof(noise); i++) {
            x = x * 1664525U + 1013904223U;
            noise[i] = (char)(x >> 24);
        }
        s = (struct seen){.n = 0};
        text_analyze(analyzer, (struct str){noise, sizeof(noise)}, seed % 2 == 0 ? "tr" : "hi",
                     on_token, &s);
    }
}

static bool bounded(const struct text_token *t, void *data)
{
    (*(size_t *)data)++;
    assert_true(t->norm.len <= 512 && t->stem.len <= 512);
    return true;
}

static void test_huge_words(void **state)
{
    (void)state;
    size_t len = 1 << 20, n = 0;
    char *text = malloc(len);
    assert_non_null(text);
    memset(text, 'x', len);
    text_analyze(analyzer, (struct str){text, len}, "en", bounded, &n);
    assert_int_equal(n, 1);
    for (size_t i = 0; i + 3 <= len; i += 3) {
        memcpy(text + i, "\xEF\xB7\xBA", 3); /* one letter that becomes eighteen */
    }
    n = 0;
    text_analyze(analyzer, (struct str){text, len / 3 * 3}, "ar", bounded, &n);
    assert_int_equal(n, 1);
    memcpy(text, "e", 1);
    for (size_t i = 1; i + 2 <= len; i += 2) {
        memcpy(text + i, "\xCC\x81", 2); /* a letter with half a million accents */
    }
    n = 0;
    text_analyze(analyzer, (struct str){text, (len - 1) / 2 * 2 + 1}, "fr", bounded, &n);
    assert_int_equal(n, 1);
    for (size_t i = 0; i + 3 <= len; i += 3) {
        memcpy(text + i, i % 2 == 0 ? "\xE5\xAD\x97" : "\xE6\xBC\xA2", 3);
    }
    n = 0;
    text_analyze(analyzer, (struct str){text, len / 3 * 3}, "zh", bounded, &n);
    assert_int_equal(n, len / 3 * 2 - 1);
    free(text);
}

static void test_cache_overflows(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 120000; i++) { /* more spellings than the cache holds */
        char word[32], expected[32];
        (void)snprintf(word, sizeof(word), "Größe%uing houses", i);
        (void)snprintf(expected, sizeof(expected), "grosse%uing", i);
        struct seen s = {.n = 0};
        text_analyze(analyzer, str_from(word), "", on_token, &s);
        assert_int_equal(s.n, 2);
        assert_true(strncmp(s.norms, expected, strlen(expected)) == 0);
    }
    struct seen s = cut("running houses", "en");
    assert_string_equal(s.stems, "run hous");
}

static void test_same_spelling_two_languages(void **state)
{
    (void)state;
    assert_string_equal(cut("nation", "en").stems, "nation");
    assert_string_equal(cut("habitaciones", "es").stems, "habit");
    assert_string_equal(cut("habitaciones", "").stems, "habitaciones");
    assert_string_equal(cut("habitaciones", "es").stems, "habit");
}

static void test_detection(void **state)
{
    (void)state;
    static const struct {
        const char *language, *text;
    } cases[] = {
        {"", ""},
        {"", "12345 67"},
        {"", "Xylograph QZ-17"},
        {"en", "What is the notice period for tenants?"},
        {"de", "Wie lange ist die Kündigungsfrist für Mieter?"},
        {"fr", "Quel est le délai de préavis pour les locataires ?"},
        {"es", "¿Cuál es el plazo de preaviso para los inquilinos?"},
        {"it", "Qual è il periodo di preavviso per gli inquilini?"},
        {"pt", "Qual é o prazo de aviso prévio para os inquilinos em uma casa?"},
        {"nl", "Wat is de opzegtermijn voor huurders van een huis?"},
        {"sv", "Hur lång är uppsägningstiden för hyresgäster och vad gäller?"},
        {"fi", "Mikä on irtisanomisaika ja kuka siitä päättää?"},
        {"pl", "Jaki jest okres wypowiedzenia dla najemców i kto go ustala?"},
        {"tr", "Kiracılar için ihbar süresi ne kadar ve nasıl bildirilir?"},
        {"ro", "Care este perioada de preaviz pentru chiriași și cum se face?"},
        {"hu", "Mennyi a felmondási idő, és hogyan kell ezt közölni?"},
        {"ru", "Каков срок уведомления для арендаторов и что это такое?"},
        {"uk", "Який термін попередження для орендарів і що це таке?"},
        {"el", "Ποια είναι η προθεσμία;"},
        {"ar", "ما هي فترة الإشعار للمستأجرين في هذا العقد؟"},
        {"fa", "این قرارداد برای چه کسی است و چگونه تمام "
               "می‌شود؟"},
        {"he", "מהי תקופת ההודעה?"},
        {"hi", "किरायेदारों के लिए नोटिस की अवधि क्या है?"},
        {"zh", "租户的通知期是多久？"},
        {"ja", "テナントの通知期間はどのくらいですか。"},
        {"ko", "세입자의 통지 기간은 얼마입니까?"},
        {"th", "ระยะเวลาแจ้งล่วงหน้า"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_string_equal(text_detect_language(analyzer, str_from(cases[i].text)),
                            cases[i].language);
    }
    assert_true(text_language_known("de"));
    assert_true(text_language_known("pt-BR"));
    assert_true(text_language_known("nb"));
    assert_false(text_language_known(""));
    assert_false(text_language_known("english"));
    assert_false(text_language_known(NULL));
}

struct grams {
    uint64_t items[64];
    size_t n;
};

static void on_gram(uint64_t gram, void *data)
{
    struct grams *g = data;
    assert_true(g->n < COUNT_OF(g->items));
    g->items[g->n++] = gram;
}

static struct grams grams_of(const char *norm)
{
    struct text_token t = {.kind = TEXT_WORD, .norm = str_from(norm)};
    struct grams g = {.n = 0};
    text_grams(&t, on_gram, &g);
    return g;
}

static void test_grams(void **state)
{
    (void)state;
    assert_int_equal(grams_of("a").n, 1);  /* _a_ */
    assert_int_equal(grams_of("ab").n, 1); /* _ab_ */
    assert_int_equal(grams_of("abc").n, 2);
    assert_int_equal(grams_of("книга").n, 4); /* characters, not bytes */
    struct grams x = grams_of("contract"), y = grams_of("contracts");
    size_t common = 0;
    for (size_t i = 0; i < x.n; i++) {
        for (size_t k = 0; k < y.n; k++) {
            common += x.items[i] == y.items[k];
        }
    }
    assert_int_equal(x.n, 7);
    assert_int_equal(y.n, 8);
    assert_int_equal(common, 6);
}

static void test_measures(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        bool valid;
    } cases[] = {
        {"", 0, true},
        {"plain", 5, true},
        {"ä字😀", 9, true},
        {"a\0b", 3, false},
        {"\xC0\x80", 2, false},
        {"\xED\xA0\x80", 3, false},
        {"\xF4\x90\x80\x80", 4, false},
        {"\xE4\xB8", 2, false},
        {"abcdefgh\xFFijkl", 13, false},
        {"abcdefghijklmnopä", 18, true},
        {"\x80", 1, false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(text_utf8_valid((struct str){cases[i].bytes, cases[i].len}),
                         cases[i].valid);
    }
    assert_int_equal(text_code_points(STR("ä字😀x")), 4);
    assert_int_equal(text_byte_offset(STR("ä字😀x"), 0), 0);
    assert_int_equal(text_byte_offset(STR("ä字😀x"), 1), 2);
    assert_int_equal(text_byte_offset(STR("ä字😀x"), 3), 9);
    assert_int_equal(text_byte_offset(STR("ä字😀x"), 4), 10);
    assert_int_equal(text_byte_offset(STR("ä字😀x"), 99), 10);
}

static void letters_are_folded(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"", ""},
        {"Leave? 100% of_it", "leave? 100% of_it"},
        {"Gr\xC3\xBC\xC3\x9F"
         "e, \xC3\x89T\xC3\x89",
         "grusse, ete"},
        {"E\xCC\x81t\xC3\xA9", "ete"}, /* a combining accent */
        {"\xD0\x9C\xD0\x9E\xD0\xA1\xD0\x9A", "\xD0\xBC\xD0\xBE\xD1\x81\xD0\xBA"}, /* MOSK */
        {"\xCE\x91\xCE\x98\xCE\x97", "\xCE\xB1\xCE\xB8\xCE\xB7"},                 /* Greek */
        {"\xEF\xBC\xA1\xEF\xBC\x91", "a1"},                                       /* full width */
        {"a\xFF\xC3", "a"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf out;
        buf_init(&out, 4096);
        text_fold(str_from(rows[i][0]), &out);
        buf_char(&out, '\0');
        assert_string_equal(rows[i][1], out.ptr);
        buf_deinit(&out);
    }
    char many[1000];
    struct buf out;
    memset(many, 'A', sizeof many);
    buf_init(&out, 4096);
    text_fold((struct str){many, sizeof many}, &out);
    assert_int_equal(sizeof many, out.len);
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(letters_are_folded),
        cmocka_unit_test(test_norms),
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_stems),
        cmocka_unit_test(test_dense_scripts),
        cmocka_unit_test(test_offsets),
        cmocka_unit_test(test_function_words),
        cmocka_unit_test(test_bad_bytes),
        cmocka_unit_test(test_huge_words),
        cmocka_unit_test(test_cache_overflows),
        cmocka_unit_test(test_same_spelling_two_languages),
        cmocka_unit_test(test_detection),
        cmocka_unit_test(test_grams),
        cmocka_unit_test(test_measures),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
