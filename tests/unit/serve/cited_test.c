#include "serve/cited.h"

#include "tests/unit/test.h"

static const char text[] =
    "Title\n\nDer Bär schläft im\nWinter. The second page begins here. And ends.";

static void passage(Vs__Passage *p, Vs__Box boxes[2], Vs__Box *list[2])
{
    vs__passage__init(p);
    p->text.data = (uint8_t *)(uintptr_t)text;
    p->text.len = sizeof text - 1;
    p->has_page = true;
    p->page = 4;
    p->start = 1000;
    for (uint32_t i = 0; i < 2; i++) {
        vs__box__init(&boxes[i]);
        boxes[i].page = 4 + i;
        boxes[i].has_start = boxes[i].has_end = true;
        boxes[i].start = i == 0 ? 1000 : 1034; /* "The second" is code point 34 */
        boxes[i].end = i == 0 ? 1034 : 1100;
        list[i] = &boxes[i];
    }
    p->boxes = list;
    p->n_boxes = 2;
}

static void pages(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        uint32_t mark, page;
    } cases[] = {
        {"Der Bär schläft im Winter. [1]", 27, 4},
        {"The second page begins here.[1]", 28, 5},
        {"Der Bär schläft im Winter. [1] The second page begins here. [1]", 60, 5},
        {"Something else. [2]\n\nThe second page begins here. [1]", 50, 5},
        {"The second page begins here. [2][1]", 32, 5},
        {"The second page begins here. [2] [1]", 33, 5},
        {"In other words entirely. [1]", 25, 0},
        {"[1]", 0, 0},
        {"", 5, 0},
        {"short [1]", 6, 0},
    };
    Vs__Passage p;
    Vs__Box boxes[2];
    Vs__Box *list[2];
    passage(&p, boxes, list);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint32_t got = cited_page(&p, str_from(cases[i].answer), cases[i].mark);
        if (got != cases[i].page) {
            fail_msg("\"%s\": page %u, expected %u", cases[i].answer, got, cases[i].page);
        }
    }
    p.has_page = false;
    assert_int_equal(cited_page(&p, STR("The second page begins here. [1]"), 29), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(pages)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
