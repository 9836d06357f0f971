#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "generate/sentence.h"

/* parted: the sentences, joined by bars. */
static const struct {
    const char *text;
    const char *parted;
} rows[] = {
    {"", ""},
    {"  \n ", ""},
    {"One. Two! Three?", "One.|Two!|Three?"},
    {"One sentence without end", "One sentence without end"},
    {"Dr. Smith met Mr. Jones. They spoke.", "Dr. Smith met Mr. Jones.|They spoke."},
    {"J. R. Brown wrote it. It is long.", "J. R. Brown wrote it.|It is long."},
    {"It costs 3.50 euros. Cheap.", "It costs 3.50 euros.|Cheap."},
    {"Am 3. Mai kam er. Am 4. ging er.", "Am 3. Mai kam er.|Am 4. ging er."},
    {"It began in 1999. Then it grew.", "It began in 1999.|Then it grew."},
    {"He said \"Stop.\" She did.", "He said \"Stop.\"|She did."},
    {"Really?! Yes.", "Really?!|Yes."},
    {"Wait... Go.", "Wait...|Go."},
    {"See e.g. the list. Done.", "See e.g. the list.|Done."},
    {"A line\nthat goes on. Next.", "A line\nthat goes on.|Next."},
    {"Heading\n\nText here.", "Heading|Text here."},
    {"Items:\n- one\n- two", "Items:|- one|- two"},
    {"Steps\n1. Mix it well\n2. Bake", "Steps|1. Mix it well|2. Bake"},
    {"这是第一句。这是第二句！对吗？", "这是第一句。|这是第二句！|对吗？"},
    {"यह एक वाक्य है। यह दूसरा है।", "यह एक वाक्य है।|यह दूसरा है।"},
    {"هل هذا سؤال؟ نعم.", "هل هذا سؤال؟|نعم."},
    {"version 2.0.1 is out", "version 2.0.1 is out"},
    {"a.", "a."},
    {"...", "..."},
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf got;
        buf_init(&got, 4096);
        size_t at = 0;
        struct str s;
        for (int n = 0; sentence_next(str_from(rows[i].text), &at, &s); n++) {
            if (n > 0) {
                buf_char(&got, '|');
            }
            buf_str(&got, s);
        }
        if (strcmp(buf_view(&got).ptr, rows[i].parted) != 0) {
            fail_msg("\"%s\" gave \"%s\"", rows[i].text, buf_view(&got).ptr);
        }
        buf_deinit(&got);
    }
}

/* Any bytes at all: every sentence lies inside the text, and it comes to an end. */
static void test_any_bytes(void **state)
{
    (void)state;
    uint32_t seed = 1;
    char text[64];
    for (int round = 0; round < 20000; round++) {
        static const char bytes[] = ".!? \n\"1aA\xe3\x80\x82\xf0\xe0\xff-";
        for (size_t i = 0; i < sizeof text; i++) {
            seed = seed * 1664525U + 1013904223U;
            text[i] = bytes[(seed >> 16) % (sizeof bytes - 1)];
        }
        struct str all = {.ptr = text, .len = sizeof text}, s;
        size_t at = 0, before = 0;
        while (sentence_next(all, &at, &s)) {
            assert_true(at > before && at <= sizeof text);
            assert_true(s.ptr >= text && s.ptr + s.len <= text + sizeof text);
            before = at;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table), cmocka_unit_test(test_any_bytes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
