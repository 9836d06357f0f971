#include "cli/filters.h"

#include <stdio.h>

bool filters_add(const struct options *o, json_t *object)
{
    static const char *const keys[OPTION_FILTERS] = {
        "collections", "labels", "tags", "languages", "formats", "under", "authors", "hashes"};
    const struct {
        const char *key, *value;
    } dates[] = {{"from", o->from}, {"until", o->until}, {"as_of", o->as_of}};
    for (size_t i = 0; i < OPTION_FILTERS; i++) {
        json_t *list = o->filters[i].n == 0 ? NULL : json_array();
        for (int k = 0; k < o->filters[i].n; k++) {
            if (json_array_append_new(list, json_string(o->filters[i].values[k])) != 0) {
                json_decref(list);
                return false;
            }
        }
        if (list != NULL && json_object_set_new(object, keys[i], list) != 0) {
            return false;
        }
    }
    for (size_t i = 0; i < sizeof(dates) / sizeof(dates[0]); i++) {
        if (dates[i].value != NULL &&
            json_object_set_new(object, dates[i].key, json_string(dates[i].value)) != 0) {
            return false;
        }
    }
    return true;
}

json_t *filters_question(const struct options *o, const char *command)
{
    json_t *body = json_pack("{s:s}", "query", o->args[0]);

    if (body == NULL || !filters_add(o, body)) {
        json_decref(body);
        (void)fprintf(stderr, "carrel %s: the words are not UTF-8\n", command);
        return NULL;
    }
    if (o->top_k > 0) {
        (void)json_object_set_new(body, "top_k", json_integer(o->top_k));
    }
    return body;
}
