/* /v1/conversations: conversations that are kept (conversations.h) as OpenAI's API has them.
 * Format: OpenAI API reference, "Conversations". */
#include <string.h>

#include "serve/api.h"
#include "serve/api_conversations.h"
#include "serve/api_files.h"
#include "serve/http/jsonw.h"
#include "serve/service.h"

#define ITEMS_A_CALL 20
#define ITEM_BYTES ((size_t)256 * 1024)
#define CALL_ID_MAX 128
#define FUNCTION_NAME_MAX 64

bool conversation_item_text(const struct json *content, struct arena *a, struct str *out)
{
    struct str s = jsonr_str(content);
    size_t n = jsonr_kind(content) == JSON_KIND_ARRAY ? jsonr_len(content) : 0, len = 0;
    if (s.ptr != NULL) {
        *out = s;
        return true;
    }
    for (size_t i = 0; i < n; i++) {
        struct str type = jsonr_str(jsonr_get(jsonr_at(content, i), "type"));
        struct str text = jsonr_str(jsonr_get(jsonr_at(content, i), "text"));
        if (text.ptr == NULL || type.ptr == NULL ||
            !(str_eq(type, STR("input_text")) || str_eq(type, STR("output_text")) ||
              str_eq(type, STR("text")))) {
            return false;
        }
        len += text.len + 1;
    }
    char *to = n == 0 ? NULL : arena_alloc(a, len + 1);
    if (to == NULL) {
        return false;
    }
    *out = (struct str){to, len - 1};
    for (size_t i = 0; i < n; i++) {
        struct str text = jsonr_str(jsonr_get(jsonr_at(content, i), "text"));
        memcpy(to, text.ptr, text.len);
        to += text.len;
        *to++ = i + 1 < n ? '\n' : '\0';
    }
    return true;
}

/* ---- what is shared ---- */

static struct conversation_call *begin(struct request *q)
{
    if (q->serve->settings->conversations.keep_days == 0) {
        api_error(q, 400, NULL, "unsupported",
                  "conversations are not kept here (conversations.keep_days is 0)");
        return NULL;
    }
    return conversation_call(q, CONVERSATION_JSON_MAX);
}

/* Of the path; ours have no prefix. */
static struct conversation_call *about(struct request *q)
{
    const char *id = api_id(q, 0);
    struct conversation_call *c = id == NULL ? NULL : begin(q);
    if (c != NULL) {
        size_t n = strlen(CONVERSATION_PREFIX);
        c->ask.id = strncmp(id, CONVERSATION_PREFIX, n) == 0 ? id + n : id;
    }
    return c;
}

static void tell(struct conversation_call *c)
{
    api_json(c->q, 200, &c->out);
}

static enum status wrong_bytes(size_t i, const char *what, struct error *err)
{
    return error_set(err, STATUS_INVALID, "items[%zu].%s must be 1 byte to 256 KiB", i, what);
}

/* A function's call, or what it gave back (a string, or parts of text). */
static enum status read_call(struct request *q, const struct json *v, size_t i, bool call,
                             struct jsonw *w, struct error *err)
{
    struct str call_id = jsonr_str(jsonr_get(v, "call_id")), name = STR("");
    struct str text = jsonr_str(jsonr_get(v, "arguments"));
    char id[ID_CAP];
    if (call_id.len == 0 || call_id.len > CALL_ID_MAX) {
        return error_set(err, STATUS_INVALID, "items[%zu].call_id must be 1 to %d bytes", i,
                         CALL_ID_MAX);
    }
    if (call) {
        name = jsonr_str(jsonr_get(v, "name"));
        if (name.len == 0 || name.len > FUNCTION_NAME_MAX) {
            return error_set(err, STATUS_INVALID, "items[%zu].name must be 1 to %d bytes", i,
                             FUNCTION_NAME_MAX);
        }
        if (text.len == 0 || text.len > ITEM_BYTES) {
            return wrong_bytes(i, "arguments", err);
        }
    } else if (!conversation_item_text(jsonr_get(v, "output"), q->arena, &text)) {
        return error_set(err, STATUS_UNSUPPORTED,
                         "items[%zu].output must be a string, or parts of text", i);
    } else if (text.len > ITEM_BYTES) {
        return wrong_bytes(i, "output", err);
    }
    id_new(id);
    jsonw_open(w, '{');
    jsonw_field_z(w, "id", id);
    jsonw_field_z(w, "kind", call ? "call" : "output");
    jsonw_field_z(w, "role", call ? "assistant" : "tool");
    jsonw_field_str(w, "call_id", call_id);
    jsonw_field_str(w, "name", name);
    jsonw_field_str(w, "text", text);
    jsonw_close(w, '}');
    return STATUS_OK;
}

/* The type of the first part that is no text, as the client calls it. */
static struct str other_part(const struct json *content)
{
    for (size_t i = 0; jsonr_kind(content) == JSON_KIND_ARRAY && i < jsonr_len(content); i++) {
        struct str type = jsonr_str(jsonr_get(jsonr_at(content, i), "type"));
        if (type.len > 0 && !str_eq(type, STR("input_text")) && !str_eq(type, STR("output_text")) &&
            !str_eq(type, STR("text"))) {
            return type;
        }
    }
    return STR("");
}

static enum status read_item(struct request *q, const struct json *v, size_t i, struct jsonw *w,
                             struct error *err)
{
    static const char *const roles[] = {"user", "assistant", "system", "developer"};
    struct str role = jsonr_str(jsonr_get(v, "role")), type = jsonr_str(jsonr_get(v, "type"));
    struct str text = {0};
    const char *known = NULL;
    char id[ID_CAP];
    for (size_t k = 0; role.ptr != NULL && k < sizeof roles / sizeof roles[0]; k++) {
        known = str_eq(role, str_from(roles[k])) ? roles[k] : known;
    }
    bool call = str_eq(type, STR("function_call"));
    if (call || str_eq(type, STR("function_call_output"))) {
        return read_call(q, v, i, call, w, err);
    }
    if (type.ptr != NULL && !str_eq(type, STR("message"))) {
        return error_set(err, STATUS_UNSUPPORTED,
                         "items[%zu]: items of type \"%.40s\" are not kept here: message, "
                         "function_call and function_call_output are",
                         i, type.ptr);
    }
    if (known == NULL) {
        return error_set(err, STATUS_INVALID,
                         "items[%zu].role must be user, assistant, system or developer", i);
    }
    if (other_part(jsonr_get(v, "content")).len > 0) {
        return error_set(err, STATUS_UNSUPPORTED,
                         "items[%zu].content: parts of type \"%.40s\" are not kept here: "
                         "input_text and output_text are",
                         i, other_part(jsonr_get(v, "content")).ptr);
    }
    if (!conversation_item_text(jsonr_get(v, "content"), q->arena, &text)) {
        return error_set(err, STATUS_UNSUPPORTED,
                         "items[%zu].content must be a string, or parts of text", i);
    }
    if (text.len == 0 || text.len > ITEM_BYTES) {
        return wrong_bytes(i, "content", err);
    }
    id_new(id);
    jsonw_open(w, '{');
    jsonw_field_z(w, "id", id);
    jsonw_field_z(w, "role", known);
    jsonw_field_str(w, "text", text);
    jsonw_close(w, '}');
    return STATUS_OK;
}

/* "items" into the ask; NULL where there are none. */
static enum status read_items(struct conversation_call *c, const struct json *list,
                              struct error *err)
{
    struct buf b;
    struct jsonw w;
    size_t n = jsonr_len(list);
    enum status s = STATUS_OK;
    if (list == NULL || (jsonr_kind(list) == JSON_KIND_ARRAY && n == 0)) {
        return STATUS_OK;
    }
    if (jsonr_kind(list) != JSON_KIND_ARRAY || n > ITEMS_A_CALL) {
        return error_set(err, STATUS_INVALID, "items must be an array of at most %d", ITEMS_A_CALL);
    }
    buf_init(&b, (size_t)16 * 1024 * 1024);
    jsonw_init(&w, &b);
    jsonw_open(&w, '[');
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        s = read_item(c->q, jsonr_at(list, i), i, &w, err);
    }
    jsonw_close(&w, ']');
    c->ask.items = s == STATUS_OK && buf_status(&b) == STATUS_OK
                       ? arena_strndup(c->q->arena, b.ptr, b.len)
                       : NULL;
    buf_deinit(&b);
    return s == STATUS_OK && c->ask.items == NULL
               ? error_set(err, STATUS_TOO_LARGE, "items: too much at once")
               : s;
}

static void refuse(struct request *q, const char *param, const struct error *err)
{
    api_error(q, 400, param, status_name(err->code), err->text);
}

/* ---- the conversation ---- */

static void on_create(struct request *q, const struct json *body)
{
    struct conversation_call *c = begin(q);
    struct error err;
    if (c == NULL) {
        return;
    }
    id_new(c->share); /* its id's place */
    c->ask.id = c->share;
    if (read_attributes(q, jsonr_get(body, "metadata"), "metadata", true, &c->ask.metadata, &err) !=
        STATUS_OK) {
        refuse(q, "metadata", &err);
    } else if (read_items(c, jsonr_get(body, "items"), &err) != STATUS_OK) {
        refuse(q, "items", &err);
    } else {
        conversation_run(c, conversation_create, tell);
    }
}

void api_v1_conversation_create(struct request *q)
{
    api_read_json(q, on_create);
}

void api_v1_conversation_get(struct request *q)
{
    struct conversation_call *c = about(q);
    if (c != NULL) {
        conversation_run(c, conversation_tell, tell);
    }
}

static void on_change(struct request *q, const struct json *body)
{
    struct conversation_call *c = about(q);
    struct error err;
    if (c == NULL) {
        return;
    }
    if (read_attributes(q, jsonr_get(body, "metadata"), "metadata", true, &c->ask.metadata, &err) !=
        STATUS_OK) {
        refuse(q, "metadata", &err);
    } else {
        conversation_run(c, conversation_describe, tell);
    }
}

void api_v1_conversation_change(struct request *q)
{
    api_read_json(q, on_change);
}

static void tell_deleted(struct conversation_call *c)
{
    struct jsonw w;
    api_object_begin(c->q, &w);
    jsonw_key(&w, "id");
    buf_printf(w.out, "\"" CONVERSATION_PREFIX "%s\"", c->ask.id);
    w.comma = true;
    jsonw_field_z(&w, "object", "conversation.deleted");
    jsonw_field_bool(&w, "deleted", true);
    api_object_end(c->q, 200, &w);
}

void api_v1_conversation_delete(struct request *q)
{
    struct conversation_call *c = about(q);
    if (c != NULL) {
        conversation_run(c, conversation_delete, tell_deleted);
    }
}

/* ---- its items ---- */

void api_v1_conversation_items(struct request *q)
{
    struct page_query page = {0};
    struct conversation_call *c = about(q);
    if (c == NULL || !page_query_read(q, PAGE_LIMIT_MAX, 20, &page)) {
        return;
    }
    c->ask.limit = (int64_t)page.limit;
    c->ask.descending = !page.ascending;
    c->ask.before = page.after;
    conversation_run(c, conversation_items, tell);
}

static void on_items(struct request *q, const struct json *body)
{
    struct conversation_call *c = about(q);
    struct error err;
    if (c == NULL) {
        return;
    }
    if (read_items(c, jsonr_get(body, "items"), &err) != STATUS_OK) {
        refuse(q, "items", &err);
    } else if (c->ask.items == NULL) {
        api_error(q, 400, "items", "invalid", "items is missing");
    } else {
        conversation_run(c, conversation_add_items, tell);
    }
}

void api_v1_conversation_add(struct request *q)
{
    api_read_json(q, on_items);
}

static struct conversation_call *about_item(struct request *q)
{
    const char *item = api_id(q, 1);
    struct conversation_call *c = item == NULL ? NULL : about(q);
    if (c != NULL && strncmp(item, "msg_", 4) != 0 && strncmp(item, "fc_", 3) != 0 &&
        strncmp(item, "fco_", 4) != 0) {
        api_error(q, 404, NULL, "not_found", "There is no such item in the conversation.");
        return NULL;
    }
    if (c != NULL) {
        c->ask.item = item;
    }
    return c;
}

void api_v1_conversation_item(struct request *q)
{
    struct conversation_call *c = about_item(q);
    if (c != NULL) {
        conversation_run(c, conversation_item, tell);
    }
}

void api_v1_conversation_drop(struct request *q)
{
    struct conversation_call *c = about_item(q);
    if (c != NULL) {
        conversation_run(c, conversation_drop_item, tell);
    }
}
