#include "cli/eval_wait.h"

#include <unistd.h>

#include "cli/json_field.h"
#include "cli/term.h"

#define POLL_US 300000

enum status eval_wait(const struct http *h, json_t **answer, struct error *err)
{
    enum status s = STATUS_OK;

    while (s == STATUS_OK && json_is_true(json_object_get(*answer, "running"))) {
        double total = json_field_number(*answer, "total"),
               done = json_field_number(*answer, "done");
        term_progress(stderr, (uint64_t)done, (uint64_t)(total < 1 ? 1 : total),
                      total < 1 ? "making questions" : "asking");
        (void)usleep(POLL_US);
        json_decref(*answer);
        *answer = NULL;
        s = http_json(h, "/api/eval", NULL, answer, err);
    }
    term_progress_end(stderr);
    const char *failed = s == STATUS_OK ? json_field(*answer, "failed") : "";
    return failed[0] == '\0' ? s : error_set(err, STATUS_CONFLICT, "evaluation: %s", failed);
}
