#include "cli/place.h"

#include "cli/term.h"

void place_print(FILE *f, const json_t *passage)
{
    const char *path =
        json_string_value(json_object_get(json_object_get(passage, "document"), "path"));
    json_int_t page = json_integer_value(json_object_get(passage, "page"));

    term_put_clean(f, path == NULL ? "?" : path);
    const char *unit = json_string_value(json_object_get(passage, "unit"));
    if (unit != NULL) {
        (void)fputs(", ", f);
        term_put_clean(f, unit);
    } else if (page > 0) {
        (void)fprintf(f, " p.%" JSON_INTEGER_FORMAT, page);
    }
}

void models_print(FILE *f, const json_t *search)
{
    const char *found = json_string_value(json_object_get(search, "encoder_model"));
    const char *ordered = json_string_value(json_object_get(search, "reranker_model"));
    if (found == NULL && ordered == NULL) {
        return;
    }
    (void)fprintf(f, found != NULL ? "(found by " : "(");
    term_put_clean(f, found == NULL ? "" : found);
    (void)fprintf(f, ordered == NULL ? ""
                     : found != NULL ? ", put in order by "
                                     : "put in order by ");
    term_put_clean(f, ordered == NULL ? "" : ordered);
    (void)fprintf(f, ")\n");
}
