#include "serve/chat_request.h"

#include <stdlib.h>
#include <string.h>

#include "serve/request.h"
#include "serve/search_filter.h"
#include "serve/search_request.h"

bool chat_model(struct str model, struct str *collection)
{
    *collection = (struct str){0};
    if (str_eq(model, STR("carrel"))) {
        return true;
    }
    if (!str_starts(model, STR("carrel:"))) {
        return false;
    }
    *collection = (struct str){model.ptr + 7, model.len - 7};
    return api_name_ok(*collection, 255) && memchr(collection->ptr, '/', collection->len) == NULL;
}

static enum status out_of_memory(struct error *err)
{
    return error_set(err, STATUS_NO_MEMORY, "out of memory");
}

/* A string, null, or an array of {"type":"text","text":...}; text of several parts is joined by
 * lines. */
static enum status read_content(const struct json *v, size_t i, struct arena *a, char **out,
                                struct error *err)
{
    struct str s = jsonr_str(v);
    if (v == NULL) {
        s = STR("");
    }
    if (s.ptr != NULL) {
        *out = arena_strndup(a, s.ptr, s.len);
        return *out == NULL ? out_of_memory(err) : STATUS_OK;
    }
    if (jsonr_kind(v) != JSON_KIND_ARRAY) {
        return error_set(err, STATUS_INVALID,
                         "messages[%zu].content must be a string or an array of parts", i);
    }
    size_t len = 1;
    for (size_t k = 0; k < jsonr_len(v); k++) {
        const struct json *part = jsonr_at(v, k);
        struct str type = jsonr_str(jsonr_get(part, "type"));
        struct str text = jsonr_str(jsonr_get(part, "text"));
        if (text.ptr == NULL || !(str_eq(type, STR("text")) || str_eq(type, STR("input_text")) ||
                                  str_eq(type, STR("output_text")))) {
            return error_set(err, STATUS_INVALID,
                             "messages[%zu].content[%zu]: only text parts are read here", i, k);
        }
        len += text.len + 1;
    }
    char *to = arena_alloc(a, len);
    if (to == NULL) {
        return out_of_memory(err);
    }
    *out = to;
    for (size_t k = 0; k < jsonr_len(v); k++) {
        struct str text = jsonr_str(jsonr_get(jsonr_at(v, k), "text"));
        if (k > 0) {
            *to++ = '\n';
        }
        memcpy(to, text.ptr, text.len);
        to += text.len;
    }
    *to = '\0';
    return STATUS_OK;
}

static const char *known_role(struct str role)
{
    static const char *const roles[][2] = {{"user", "user"},     {"assistant", "assistant"},
                                           {"system", "system"}, {"developer", "system"},
                                           {"tool", "tool"},     {"function", ""}};
    for (size_t i = 0; role.ptr != NULL && i < sizeof roles / sizeof roles[0]; i++) {
        if (str_eq(role, str_from(roles[i][0]))) {
            return roles[i][1];
        }
    }
    return NULL;
}

static enum status read_message(const struct json *v, size_t i, struct arena *a,
                                struct chat_request *out, struct error *err)
{
    const char *role = known_role(jsonr_str(jsonr_get(v, "role")));
    if (role == NULL) {
        return error_set(err, STATUS_INVALID,
                         "messages[%zu].role must be system, developer, user, assistant or tool",
                         i);
    }
    char *content;
    enum status s = read_content(jsonr_get(v, "content"), i, a, &content, err);
    if (s != STATUS_OK || role[0] == '\0') {
        return s;
    }
    Ge__Message *m = arena_alloc(a, sizeof *m);
    if (m == NULL) {
        return out_of_memory(err);
    }
    ge__message__init(m);
    m->role = pb_text(role);
    m->content = content;
    s = chat_calls_read(v, i, a, m, err);
    if (s != STATUS_OK || (content[0] == '\0' && m->n_calls == 0 && m->call_id == NULL)) {
        return s;
    }
    out->ask->messages[out->ask->n_messages++] = m;
    if (strcmp(role, "user") == 0) {
        if (out->question.len > 0) {
            if (out->earlier == NULL) {
                out->earlier = arena_array(a, CHAT_EARLIER_MAX, sizeof *out->earlier);
            }
            if (out->earlier == NULL) {
                return out_of_memory(err);
            }
            if (out->n_earlier == CHAT_EARLIER_MAX) {
                memmove(out->earlier, out->earlier + 1,
                        (CHAT_EARLIER_MAX - 1) * sizeof out->earlier[0]);
                out->n_earlier--;
            }
            out->earlier[out->n_earlier++] = out->question;
        }
        out->question = str_from(content);
    }
    return STATUS_OK;
}

static enum status read_messages(const struct json *list, struct arena *a, struct chat_request *out,
                                 struct error *err)
{
    size_t n = jsonr_len(list);
    if (jsonr_kind(list) != JSON_KIND_ARRAY || n == 0 || n > CHAT_MESSAGES_MAX) {
        return error_set(err, STATUS_INVALID, "messages must be an array of 1 to %d messages",
                         CHAT_MESSAGES_MAX);
    }
    out->ask->messages = arena_array(a, n, sizeof *out->ask->messages);
    if (out->ask->messages == NULL) {
        return out_of_memory(err);
    }
    enum status s = STATUS_OK;
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        s = read_message(jsonr_at(list, i), i, a, out, err);
    }
    if (s == STATUS_OK) {
        Rt__SearchRequest check = RT__SEARCH_REQUEST__INIT;
        s = search_query(out->question, "the last user message", &check, err);
    }
    return s;
}

static enum status read_stops(const struct json *v, struct arena *a, struct chat_request *out,
                              struct error *err)
{
    size_t n = v == NULL ? 0 : jsonr_kind(v) == JSON_KIND_ARRAY ? jsonr_len(v) : 1;
    if (n > CHAT_STOPS_MAX) {
        return error_set(err, STATUS_INVALID, "stop may hold at most %d strings", CHAT_STOPS_MAX);
    }
    out->ask->stop = arena_array(a, n + 1, sizeof *out->ask->stop);
    if (out->ask->stop == NULL) {
        return out_of_memory(err);
    }
    for (size_t i = 0; i < n; i++) {
        struct str s = jsonr_str(jsonr_kind(v) == JSON_KIND_ARRAY ? jsonr_at(v, i) : v);
        if (s.ptr == NULL) {
            return error_set(err, STATUS_INVALID, "stop must be a string or an array of strings");
        }
        if (s.len > 0) {
            out->ask->stop[out->ask->n_stop++] = pb_text(s.ptr);
        }
    }
    return STATUS_OK;
}

struct number_field {
    const char *name;
    double low, high;
    protobuf_c_boolean *has;
    float *value;
};

/* OpenAI's penalties, and what local models can do besides under the names that others use. */
static enum status read_more_sampling(const struct json *body, struct chat_request *out,
                                      const char **param, struct error *err)
{
    Ge__ChatRequest *a = out->ask;
    const struct number_field fields[] = {
        {"presence_penalty", -2, 2, &a->has_presence_penalty, &a->presence_penalty},
        {"frequency_penalty", -2, 2, &a->has_frequency_penalty, &a->frequency_penalty},
        {"repetition_penalty", 0.01, 100, &a->has_repetition_penalty, &a->repetition_penalty},
        {"min_p", 0, 1, &a->has_min_p, &a->min_p}};
    enum status s = STATUS_OK;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0] && s == STATUS_OK; i++) {
        bool present = false;
        double d = 0;
        *param = fields[i].name;
        s = jsonr_number(body, fields[i].name, fields[i].low, fields[i].high, &present, &d, err);
        if (s == STATUS_OK) {
            *fields[i].has = present;
            *fields[i].value = (float)d;
        }
    }
    int64_t n = 0;
    if (s == STATUS_OK) {
        *param = "top_k";
        s = jsonr_int(body, "top_k", -1, 1000000, 0, &n, err); /* -1: all, as vLLM has it */
    }
    if (s == STATUS_OK) {
        a->has_top_k = n > 0;
        a->top_k = (uint32_t)n;
    }
    return s;
}

/* {"token id": bias}, as OpenAI has it. */
static enum status read_biases(const struct json *v, struct arena *a, struct chat_request *out,
                               struct error *err)
{
    void *at = NULL;
    struct str key;
    const struct json *value = NULL;
    if (v == NULL) {
        return STATUS_OK;
    }
    out->ask->logit_bias = arena_array(a, CHAT_BIASES_MAX, sizeof *out->ask->logit_bias);
    if (out->ask->logit_bias == NULL) {
        return out_of_memory(err);
    }
    while (jsonr_next(v, &at, &key, &value)) {
        bool present = false;
        double bias = 0;
        char *end = NULL;
        unsigned long id = strtoul(key.ptr, &end, 10);
        enum status s = jsonr_number(v, key.ptr, -100, 100, &present, &bias, err);
        if (s != STATUS_OK || *end != '\0' || end == key.ptr || id > UINT32_MAX || !present ||
            out->ask->n_logit_bias == CHAT_BIASES_MAX) {
            return error_set(err, STATUS_INVALID,
                             "logit_bias must map at most %d token ids to numbers from -100 to 100",
                             CHAT_BIASES_MAX);
        }
        Ge__LogitBias *b = arena_alloc(a, sizeof *b);
        if (b == NULL) {
            return out_of_memory(err);
        }
        ge__logit_bias__init(b);
        b->token = (uint32_t)id;
        b->bias = (float)bias;
        out->ask->logit_bias[out->ask->n_logit_bias++] = b;
    }
    return STATUS_OK;
}

static enum status read_logprobs(const struct json *body, struct chat_request *out,
                                 const char **param, struct error *err)
{
    bool wanted = false;
    int64_t n = 0;
    *param = "logprobs";
    enum status s = jsonr_bool(body, "logprobs", false, &wanted, err);
    if (s == STATUS_OK) {
        *param = "top_logprobs";
        s = jsonr_int(body, "top_logprobs", 0, 20, 0, &n, err);
    }
    if (s == STATUS_OK) {
        out->ask->has_logprobs = out->ask->logprobs = wanted;
        out->ask->has_top_logprobs = wanted;
        out->ask->top_logprobs = (uint32_t)n;
    }
    return s;
}

/* response_format as OpenAI has it; "grammar" (GBNF) as llama.cpp and vLLM have it. */
static enum status read_form(const struct json *body, struct arena *a, struct chat_request *out,
                             struct error *err)
{
    const struct json *form = jsonr_get(body, "response_format");
    struct str type = jsonr_str(jsonr_get(form, "type"));
    const struct json *schema = jsonr_get(jsonr_get(form, "json_schema"), "schema");
    struct str grammar;
    if (jsonr_string(body, "grammar", &grammar, err) != STATUS_OK) {
        return err->code;
    }
    if (grammar.ptr != NULL && form != NULL) {
        return error_set(err, STATUS_INVALID, "either grammar or response_format, not both");
    }
    if (form != NULL && type.ptr == NULL) {
        return error_set(err, STATUS_INVALID, "response_format must have a type");
    }
    if (type.ptr != NULL && str_eq(type, STR("json_schema"))) {
        if (jsonr_kind(schema) != JSON_KIND_OBJECT) {
            return error_set(err, STATUS_INVALID,
                             "response_format.json_schema.schema must be an object");
        }
        out->ask->json_schema = pb_text(jsonr_text(schema, a));
        return out->ask->json_schema == NULL ? out_of_memory(err) : STATUS_OK;
    }
    if (type.ptr != NULL && str_eq(type, STR("json_object"))) {
        out->ask->has_json_object = out->ask->json_object = true;
    } else if (type.ptr != NULL && !str_eq(type, STR("text"))) {
        return error_set(err, STATUS_INVALID,
                         "response_format.type must be text, json_object or json_schema");
    } else if (grammar.ptr != NULL) {
        out->ask->grammar = pb_text(grammar.ptr);
    }
    return STATUS_OK;
}

/* What is known, cannot be had here, and would be missed: an answer without it is not what was
 * asked for. Everything else that is not read is a hint, or the asker's own. */
static enum status refuse_others(const struct json *body, const char **param, struct error *err)
{
    const struct json *modalities = jsonr_get(body, "modalities");
    bool spoken = jsonr_get(body, "audio") != NULL;
    for (size_t i = 0; i < jsonr_len(modalities); i++) {
        struct str m = jsonr_str(jsonr_at(modalities, i));
        spoken = spoken || m.ptr == NULL || !str_eq(m, STR("text"));
    }
    if (spoken) {
        *param = "modalities";
        return error_set(err, STATUS_UNSUPPORTED, "answers are text here: no other modality");
    }
    if (jsonr_len(jsonr_get(body, "functions")) > 0) {
        *param = "functions";
        return error_set(err, STATUS_UNSUPPORTED, "functions are offered as \"tools\" here");
    }
    if (jsonr_get(body, "web_search_options") != NULL) {
        *param = "web_search_options";
        return error_set(err, STATUS_UNSUPPORTED, "the web is not searched here");
    }
    return STATUS_OK;
}

/* As responses have it: "auto" lets the oldest turns go where the conversation is too long. */
static enum status read_truncation(const struct json *body, struct chat_request *out,
                                   struct error *err)
{
    struct str how = {0};
    enum status s = jsonr_string(body, "truncation", &how, err);
    if (s == STATUS_OK && how.ptr != NULL && !str_eq(how, STR("auto")) &&
        !str_eq(how, STR("disabled"))) {
        s = error_set(err, STATUS_INVALID, "truncation must be auto or disabled");
    }
    out->ask->has_shorten = out->ask->shorten =
        s == STATUS_OK && how.ptr != NULL && str_eq(how, STR("auto"));
    return s;
}

static enum status read_sampling(const struct json *body, struct chat_request *out,
                                 const char **param, struct error *err)
{
    bool present;
    double d = 0;
    int64_t n;
    *param = "temperature";
    enum status s = jsonr_number(body, "temperature", 0, 2, &present, &d, err);
    if (s == STATUS_OK) {
        out->ask->has_temperature = present;
        out->ask->temperature = (float)d;
        *param = "top_p";
        s = jsonr_number(body, "top_p", 0, 1, &present, &d, err);
    }
    if (s == STATUS_OK) {
        out->ask->has_top_p = present;
        out->ask->top_p = (float)d;
        const char *key = jsonr_get(body, "max_completion_tokens") != NULL ? "max_completion_tokens"
                                                                           : "max_tokens";
        *param = key;
        s = jsonr_int(body, key, 1, 1000000, 0, &n, err);
    }
    if (s == STATUS_OK) {
        out->ask->has_max_tokens = n > 0;
        out->ask->max_tokens = (uint32_t)n;
        *param = "seed";
        s = jsonr_int(body, "seed", INT64_MIN, INT64_MAX, 0, &n, err);
    }
    if (s == STATUS_OK) {
        out->ask->has_seed = jsonr_get(body, "seed") != NULL;
        out->ask->seed = n;
        s = read_more_sampling(body, out, param, err);
    }
    if (s == STATUS_OK) {
        *param = "n";
        s = jsonr_int(body, "n", 1, CHAT_CHOICES_MAX, 1, &n, err);
        out->choices = (size_t)n;
    }
    return s;
}

/* The collection that the model's name asks for narrows the others. */
static enum status read_filter(const struct json *ours, struct arena *a, struct chat_request *out,
                               struct error *err)
{
    if (ours != NULL && jsonr_kind(ours) != JSON_KIND_OBJECT) {
        return error_set(err, STATUS_INVALID, "carrel must be an object");
    }
    enum status s = search_filter(ours, a, out->filter, &out->filtered, err);
    if (s != STATUS_OK || out->collection == NULL) {
        return s;
    }
    bool there = out->filter->n_collections == 0;
    for (size_t i = 0; i < out->filter->n_collections && !there; i++) {
        there = strcmp(out->filter->collections[i], out->collection) == 0;
    }
    if (!there) {
        return error_set(err, STATUS_INVALID,
                         "carrel.collections does not have the collection of the model's name");
    }
    out->filter->collections = arena_array(a, 1, sizeof *out->filter->collections);
    if (out->filter->collections == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    out->filter->collections[0] = pb_text(out->collection);
    out->filter->n_collections = 1;
    out->filtered = true;
    return STATUS_OK;
}

enum status chat_request_read(const struct json *body, const char *here, struct arena *a,
                              struct chat_request *out, const char **param, struct error *err)
{
    *out = (struct chat_request){.ask = arena_alloc(a, sizeof *out->ask),
                                 .filter = arena_alloc(a, sizeof *out->filter)};
    struct str model;
    struct str collection = {0};
    *param = NULL;
    if (out->ask == NULL || out->filter == NULL) {
        return out_of_memory(err);
    }
    ge__chat_request__init(out->ask);
    vs__filter__init(out->filter);
    *param = "model";
    enum status s = jsonr_string(body, "model", &model, err);
    if (s == STATUS_OK && model.ptr == NULL) {
        s = error_set(err, STATUS_INVALID,
                      "model is missing: use \"carrel\" or \"carrel:<collection>\"");
    }
    out->plain = s == STATUS_OK && here[0] != '\0' && str_eq(model, str_from(here));
    if (s == STATUS_OK && !out->plain && !chat_model(model, &collection)) {
        s = error_set(err, STATUS_NOT_FOUND,
                      "The model does not exist here: use \"carrel\" or \"carrel:<collection>\".");
    }
    if (s == STATUS_OK) {
        out->model = model.ptr;
        out->collection = out->plain ? NULL : collection.ptr;
        *param = "stream";
        s = jsonr_bool(body, "stream", false, &out->stream, err);
    }
    const struct json *options = jsonr_get(body, "stream_options");
    if (s == STATUS_OK && jsonr_kind(options) == JSON_KIND_OBJECT) {
        *param = "stream_options";
        s = jsonr_bool(options, "include_usage", false, &out->include_usage, err);
    }
    if (s == STATUS_OK) {
        s = read_sampling(body, out, param, err);
    }
    if (s == STATUS_OK) {
        *param = "logit_bias";
        s = jsonr_kind(jsonr_get(body, "logit_bias")) == JSON_KIND_OBJECT ||
                    jsonr_get(body, "logit_bias") == NULL
                ? read_biases(jsonr_get(body, "logit_bias"), a, out, err)
                : error_set(err, STATUS_INVALID, "logit_bias must be an object");
    }
    if (s == STATUS_OK) {
        s = read_logprobs(body, out, param, err);
    }
    if (s == STATUS_OK) {
        *param = "truncation";
        s = read_truncation(body, out, err);
    }
    if (s == STATUS_OK) {
        s = refuse_others(body, param, err);
    }
    if (s == STATUS_OK) {
        *param = "response_format";
        s = read_form(body, a, out, err);
    }
    if (s == STATUS_OK) {
        *param = "stop";
        s = read_stops(jsonr_get(body, "stop"), a, out, err);
    }
    if (s == STATUS_OK) {
        *param = "carrel";
        s = read_filter(jsonr_get(body, "carrel"), a, out, err);
    }
    if (s == STATUS_OK) {
        s = chat_tools_read(body, a, out, param, err);
    }
    if (s == STATUS_OK) {
        *param = "messages";
        s = read_messages(jsonr_get(body, "messages"), a, out, err);
    }
    return s;
}
