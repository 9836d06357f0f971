#include "serve/chat_translate.h"

bool jsonr_is(const struct json *v, const char *key, const char *value)
{
    struct str s = jsonr_str(jsonr_get(v, key));
    return s.ptr != NULL && str_eq(s, str_from(value));
}

void translate_copy(struct jsonw *w, struct arena *a, const struct json *from, const char *key,
                    const char *as)
{
    const struct json *v = jsonr_get(from, key);
    const char *text = v == NULL ? NULL : jsonr_text(v, a);
    if (text != NULL) {
        jsonw_key(w, as);
        jsonw_raw(w, str_from(text));
    } else if (v != NULL) {
        w->out->failed = STATUS_NO_MEMORY;
    }
}

void translate_function(struct jsonw *w, struct arena *a, const struct json *tool,
                        const char *parameters)
{
    jsonw_open(w, '{');
    jsonw_field_z(w, "type", "function");
    jsonw_key(w, "function");
    jsonw_open(w, '{');
    translate_copy(w, a, tool, "name", "name");
    translate_copy(w, a, tool, "description", "description");
    translate_copy(w, a, tool, parameters, "parameters");
    translate_copy(w, a, tool, "strict", "strict");
    jsonw_close(w, '}');
    jsonw_close(w, '}');
}

void translate_choice(struct jsonw *w, struct arena *a, const struct json *choice)
{
    jsonw_key(w, "tool_choice");
    jsonw_open(w, '{');
    jsonw_field_z(w, "type", "function");
    jsonw_key(w, "function");
    jsonw_open(w, '{');
    translate_copy(w, a, choice, "name", "name");
    jsonw_close(w, '}');
    jsonw_close(w, '}');
}

void translate_schema(struct jsonw *w, struct arena *a, const struct json *schema)
{
    const char *text = jsonr_text(schema, a);
    jsonw_key(w, "response_format");
    jsonw_open(w, '{');
    jsonw_field_z(w, "type", "json_schema");
    jsonw_key(w, "json_schema");
    jsonw_open(w, '{');
    jsonw_field_z(w, "name", "answer");
    jsonw_key(w, "schema");
    jsonw_raw(w, str_from(text == NULL ? "null" : text));
    jsonw_close(w, '}');
    jsonw_close(w, '}');
}
