#include "cli/place.h"

#include "cli/term.h"

void place_print(FILE *f, const json_t *passage)
{
    const char *path =
        json_string_value(json_object_get(json_object_get(passage, "document"), "path"));
    json_int_t page = json_integer_value(json_object_get(passage, "page"));

    term_put_clean(f, path == NULL ? "?" : path);
    if (page > 0) {
        (void)fprintf(f, " p.%" JSON_INTEGER_FORMAT, page);
    }
}
