/* Keys whose maker nobody noted: they follow their owner wherever he goes. */
#include <jansson.h>
#include <stdio.h>

#include "cli/command.h"
#include "cli/doctor.h"
#include "cli/http.h"

void doctor_keys(struct doctor *d, const struct options *o)
{
    struct error err = {0};
    json_t *answer = NULL;
    size_t unknown = 0;

    /* without an administrator's key, or a door, other findings say what is wrong */
    if (!d->running || http_ask(o, "/api/keys", NULL, &answer, &err) != STATUS_OK) {
        return;
    }
    const json_t *list = json_object_get(answer, "keys");
    for (size_t i = 0; i < json_array_size(list); i++) {
        unknown += json_is_true(json_object_get(json_array_get(list, i), "maker_unknown"));
    }
    if (unknown > 0) {
        struct finding *f = doctor_add(d, "keys", FINDING_NOTE);
        (void)snprintf(f->text, sizeof(f->text),
                       "%zu keys of users were made by a version before, which did not note by "
                       "whom: such a key may do all that its owner may, whatever he becomes",
                       unknown);
        (void)snprintf(f->mend, sizeof(f->mend),
                       "`carrel key list` marks them (maker unknown): make others with "
                       "`carrel key create NAME --owner USER`, then revoke these");
    }
    json_decref(answer);
}
