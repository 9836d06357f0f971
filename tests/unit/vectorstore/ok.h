/* A call that must succeed, and says why when it does not; `err` is in scope. */
#ifndef CARREL_TESTS_STORE_OK_H
#define CARREL_TESTS_STORE_OK_H

#include "base/status.h"
#include "tests/unit/test.h"

#define OK(call)                                                                                   \
    do {                                                                                           \
        enum status ok_status = (call);                                                            \
        if (ok_status != STATUS_OK) {                                                              \
            print_error("%s: %s: %s\n", #call, status_name(ok_status), err.text);                  \
        }                                                                                          \
        assert_int_equal(ok_status, STATUS_OK);                                                    \
    } while (0)

#endif
