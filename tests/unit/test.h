/* What every unit test includes: cmocka in the order it wants, and a temporary folder. */
#ifndef CARREL_TESTS_UNIT_TEST_H
#define CARREL_TESTS_UNIT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

/* A new folder under the system's temporary one; out must hold 64 bytes. */
static inline void test_folder(char out[64])
{
    (void)snprintf(out, 64, "/tmp/carrel-unit-XXXXXX");
    assert_non_null(mkdtemp(out));
}

/* rm -r, for folders made by test_folder. */
static inline void test_folder_remove(const char *dir)
{
    char cmd[128];
    (void)snprintf(cmd, sizeof cmd, "rm -rf -- '%s'", dir);
    assert_int_equal(system(cmd), 0);
}

#endif
