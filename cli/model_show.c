/* carrel model show FILE: what is in the file, whether it can run here, and the memory for that. */
#include <jansson.h>
#include <stdio.h>

#include "cli/cmd_model.h"
#include "cli/json_field.h"
#include "cli/term.h"
#include "model/plan.h"
#include "model/template.h"

#define TYPES_MAX 32

struct type_count {
    uint32_t type;
    uint64_t tensors, parameters, bytes;
};

struct shown {
    struct gguf *file;
    struct model *model; /* NULL: it cannot run here */
    struct error why;    /* then */
    struct type_count types[TYPES_MAX];
    size_t n_types;
    uint64_t parameters, bytes;
    const char *template_family; /* NULL: none or not recognised */
    const char *template_tools;  /* how it writes tools; "none": it does not */
    struct error template_error;
};

static const char *size(uint64_t bytes, char out[16])
{
    term_bytes(bytes, out);
    return out;
}

static void count_types(struct shown *s)
{
    for (size_t i = 0; i < gguf_tensors(s->file); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(s->file, i);
        size_t k = 0;
        while (k < s->n_types && s->types[k].type != t->type) {
            k++;
        }
        if (k == TYPES_MAX) {
            continue;
        }
        s->n_types += k == s->n_types ? 1 : 0;
        uint64_t n = t->dimensions[0] * t->dimensions[1] * t->dimensions[2] * t->dimensions[3];
        s->types[k].type = t->type;
        s->types[k].tensors++;
        s->types[k].parameters += n;
        s->types[k].bytes += t->bytes;
        s->parameters += n;
        s->bytes += t->bytes;
    }
}

static void find_template(struct shown *s)
{
    enum template_family f = TEMPLATE_CHATML;
    if (template_of_file(s->file, &f, &s->template_error) == STATUS_OK) {
        struct str jinja = STR("");
        (void)gguf_string(s->file, "tokenizer.chat_template", &jinja);
        s->template_family = template_name(f);
        s->template_tools = template_tools_name(template_tools_of(f, jinja));
    }
}

static bool is_decoder(const struct shown *s)
{
    return s->model != NULL && !model_info(s->model)->encoder;
}

/* One user at 4096 tokens, or at all the context there is. */
static bool plan_one(const struct shown *s, struct plan *p)
{
    const struct model_info *i = model_info(s->model);
    struct plan_request r = {.info = i,
                             .kv_type = TENSOR_F16,
                             .weights = plan_packed_weights(s->model),
                             .vocabulary = plan_vocabulary(s->model),
                             .context = i->context < 4096 ? i->context : 4096,
                             .users = 1};
    struct error ignored = {0};
    return plan_make(&r, p, &ignored) == STATUS_OK;
}

static void text_of(const struct shown *s, const char *key, char out[96])
{
    struct str v = STR("");
    (void)gguf_string(s->file, key, &v);
    size_t n = v.len > 90 ? 90 : v.len;
    for (size_t i = 0; i < n; i++) { /* a stranger's file: nothing that moves a terminal's cursor */
        out[i] = (unsigned char)v.ptr[i] < 0x20 || v.ptr[i] == 0x7f ? ' ' : v.ptr[i];
    }
    out[n] = '\0';
}

static void print(const struct shown *s, const char *path)
{
    char a[16];
    char text[96];
    text_of(s, "general.architecture", text);
    (void)printf("%s\n  architecture  %s\n", path, text);
    text_of(s, "general.name", text);
    (void)printf("  name          %s\n", text[0] == '\0' ? "not given" : text);
    (void)printf("  parameters    %.3f billion in %zu %s, %s (GGUF %u, %zu %s)\n",
                 (double)s->parameters * 1e-9, gguf_tensors(s->file),
                 term_word(gguf_tensors(s->file), "tensor", "tensors"), size(s->bytes, a),
                 gguf_version(s->file), gguf_parts(s->file),
                 term_word(gguf_parts(s->file), "part", "parts"));
    for (size_t i = 0; i < s->n_types; i++) {
        (void)printf("  %-12s  %llu tensors, %s\n", tensor_type_info(s->types[i].type)->name,
                     (unsigned long long)s->types[i].tensors, size(s->types[i].bytes, a));
    }
    if (s->model != NULL) {
        const struct model_info *i = model_info(s->model);
        (void)printf("  shape         %u %s of %u, feed-forward %u, %u %s (%u of keys)\n",
                     i->layers, term_word(i->layers, "layer", "layers"), i->width, i->feed_forward,
                     i->heads, term_word(i->heads, "head", "heads"), i->kv_heads);
        (void)printf("  context       %u tokens\n  tokenizer     %s, %u tokens\n", i->context,
                     tokenizer_name(model_tokenizer(s->model)), i->vocabulary);
    } else {
        (void)printf("  cannot run    %s\n", s->why.text);
    }
    (void)printf("  template      %s\n",
                 s->template_family != NULL ? s->template_family : s->template_error.text);
    if (s->template_tools != NULL) {
        (void)printf("  tools         %s\n", s->template_tools);
    }
    struct plan p;
    if (is_decoder(s) && plan_one(s, &p)) {
        char b[16];
        (void)printf("  memory        %s for one user at %u tokens; each more: %s\n",
                     size(p.total, a), p.context, size(p.keys_values, b));
        model_print_gpu("  gpu           ", s->model, TENSOR_F16, 1, p.context);
    }
}

static json_t *as_json(const struct shown *s, const char *path)
{
    char architecture[96];
    char name[96];
    text_of(s, "general.architecture", architecture);
    text_of(s, "general.name", name);
    json_t *types = json_array();
    for (size_t i = 0; i < s->n_types; i++) {
        (void)json_array_append_new(
            types,
            json_pack("{s:s, s:I, s:I, s:I}", "type", tensor_type_info(s->types[i].type)->name,
                      "tensors", (json_int_t)s->types[i].tensors, "parameters",
                      (json_int_t)s->types[i].parameters, "bytes", (json_int_t)s->types[i].bytes));
    }
    json_t *o = json_pack("{s:s, s:s%, s:s%, s:I, s:I, s:i, s:I, s:o, s:b, s:s?}", "file", path,
                          "architecture", architecture, strlen(architecture), "name", name,
                          strlen(name), "parameters", (json_int_t)s->parameters, "weight_bytes",
                          (json_int_t)s->bytes, "gguf_version", (int)gguf_version(s->file), "parts",
                          (json_int_t)gguf_parts(s->file), "types", types, "runs",
                          (int)(s->model != NULL), "template", s->template_family);
    if (o != NULL && s->template_tools != NULL) {
        (void)json_object_set_new(o, "tools", json_string(s->template_tools));
    }
    if (o != NULL && s->template_family == NULL) {
        (void)json_object_set_new(o, "template_problem", json_string(s->template_error.text));
    }
    if (o != NULL && s->model == NULL) {
        (void)json_object_set_new(o, "problem", json_string(s->why.text));
    } else if (o != NULL) {
        const struct model_info *i = model_info(s->model);
        (void)json_object_update_new(
            o, json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "encoder",
                         (int)i->encoder, "layers", (json_int_t)i->layers, "width",
                         (json_int_t)i->width, "feed_forward", (json_int_t)i->feed_forward, "heads",
                         (json_int_t)i->heads, "kv_heads", (json_int_t)i->kv_heads, "context",
                         (json_int_t)i->context, "vocabulary", (json_int_t)i->vocabulary,
                         "tokenizer", tokenizer_name(model_tokenizer(s->model))));
    }
    struct plan p;
    if (o != NULL && is_decoder(s) && plan_one(s, &p)) {
        (void)json_object_set_new(o, "memory_bytes", json_integer((json_int_t)p.total));
        (void)json_object_set_new(o, "gpu", model_gpu_json(s->model, TENSOR_F16, 1, p.context));
    }
    return o;
}

enum exit_code model_show(const struct options *o)
{
    const char *path = o->args[1];
    struct shown s = {0};
    struct error err = {0};
    if (gguf_open(path, &s.file, &err) != STATUS_OK) {
        return command_failed(&err);
    }
    count_types(&s);
    find_template(&s);
    if (model_open(path, &s.model, &s.why) != STATUS_OK) {
        s.model = NULL;
    }
    if (o->json) {
        json_t *answer = as_json(&s, path);
        json_print(answer);
        json_decref(answer);
    } else {
        print(&s, path);
    }
    model_close(s.model);
    gguf_close(s.file);
    return EXIT_OK;
}
