/* carrel model plan: the memory budget before anything is loaded. */
#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/cmd_model.h"
#include "cli/json_field.h"
#include "cli/term.h"
#include "model/plan.h"

static const char *size(uint64_t bytes, char out[16])
{
    term_bytes(bytes, out);
    return out;
}

static uint64_t memory_here(void)
{
    long pages = sysconf(_SC_PHYS_PAGES);
    long bytes = sysconf(_SC_PAGESIZE);
    return pages > 0 && bytes > 0 ? (uint64_t)pages * (uint64_t)bytes : 0;
}

static void print(const struct model_info *i, const struct plan *p, uint64_t memory)
{
    char a[16];
    term_put_clean(stdout, i->name[0] == '\0' ? "model" : i->name); /* the file says it */
    (void)printf(" (%s, %.2f billion parameters): %s\n", i->architecture,
                 (double)i->parameters * 1e-9, plan_verdict_name(p->verdict));
    (void)printf("  weights          %s%s\n", size(p->weights, a),
                 p->weights == i->weight_bytes ? "" : ", packed for this processor");
    (void)printf("  vocabulary       %s\n", size(p->vocabulary, a));
    (void)printf("  keys and values  %s", size(p->keys_values, a));
    (void)printf(" for %u %s at %u tokens: %u %s of %s each\n", p->users,
                 term_word(p->users, "user", "users"), p->context, p->pages_each,
                 term_word(p->pages_each, "page", "pages"), size(p->page_bytes, a));
    if (p->window_pages_each > 0) {
        (void)printf("                   and %u %s of %s each in %u %s %u tokens\n",
                     p->window_pages_each, term_word(p->window_pages_each, "page", "pages"),
                     size(p->window_page_bytes, a), i->window_layers,
                     term_word(i->window_layers, "layer that sees", "layers that see"), i->window);
    }
    (void)printf("  workspace        %s\n", size(p->workspace, a));
    (void)printf("  total            %s", size(p->total, a));
    (void)printf(" of %s: %s\n", size(memory, a), p->fits ? "fits" : "does not fit");
    if (p->most_users > 0) {
        (void)printf("  most users       %u at %u tokens\n", p->most_users, p->context);
    } else {
        (void)printf("  most users       none at %u tokens\n", p->context);
    }
    if (p->largest_context > 0) {
        (void)printf("  largest context  %u tokens for %u %s\n", p->largest_context, p->users,
                     term_word(p->users, "user", "users"));
    } else {
        (void)printf("  largest context  none for %u %s\n", p->users,
                     term_word(p->users, "user", "users"));
    }
    if (p->past_training) {
        (void)printf("  note             the model was trained for %u tokens\n", i->context);
    }
}

/* gpu: taken; NULL: not said. */
static bool print_json(const struct model_info *i, const struct plan *p, uint64_t memory,
                       json_t *gpu)
{
    json_t *o = json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:I, "
        "s:I, "
        "s:s}",
        "name", i->name, "architecture", i->architecture, "parameters", (json_int_t)i->parameters,
        "context", (json_int_t)p->context, "users", (json_int_t)p->users, "weights",
        (json_int_t)p->weights, "vocabulary", (json_int_t)p->vocabulary, "page_bytes",
        (json_int_t)p->page_bytes, "window_page_bytes", (json_int_t)p->window_page_bytes,
        "window_pages", (json_int_t)p->window_pages_each * p->users, "pages", (json_int_t)p->pages,
        "keys_values", (json_int_t)p->keys_values, "workspace", (json_int_t)p->workspace, "total",
        (json_int_t)p->total, "memory", (json_int_t)memory, "fits", (int)p->fits, "most_users",
        (json_int_t)p->most_users, "largest_context", (json_int_t)p->largest_context, "verdict",
        plan_verdict_name(p->verdict));
    if (o == NULL) {
        json_decref(gpu);
        return false;
    }
    if (gpu != NULL) {
        (void)json_object_set_new(o, "gpu", gpu);
    }
    json_print(o);
    json_decref(o);
    return true;
}

enum exit_code model_plan(const struct options *o)
{
    struct model *m = NULL;
    struct model_info info;
    struct error err = {0};
    struct plan p;
    enum tensor_type kv = TENSOR_F16;
    enum status s = model_kv_option(o, &kv, &err);
    if ((o->n_args == 2) == (o->shape != NULL)) {
        (void)fprintf(stderr, "carrel model plan: give a FILE or --shape, one of them\n");
        return EXIT_USAGE;
    }
    if (s == STATUS_OK && o->shape != NULL) {
        s = plan_shape(o->shape, o->weights == NULL ? "Q4_K_M" : o->weights, &info, &err);
    } else if (s == STATUS_OK) {
        s = model_open_named(o, &m, &err);
        if (s == STATUS_OK) {
            info = *model_info(m);
        }
    }
    if (s == STATUS_OK && info.encoder) {
        s = error_set(&err, STATUS_UNSUPPORTED, "%s is an encoder: it keeps no keys and values",
                      o->args[1]);
    }
    uint64_t packed = m != NULL && o->vram == 0 ? plan_packed_weights(m) : 0;
    uint64_t memory = o->vram > 0 ? o->vram : memory_here();
    if (s == STATUS_OK) {
        struct plan_request r = {.info = &info,
                                 .kv_type = kv,
                                 .context = (uint32_t)o->context,
                                 .users = o->users == 0 ? 1 : (uint32_t)o->users,
                                 .weights = packed,
                                 .vocabulary = m == NULL ? 0 : plan_vocabulary(m),
                                 .memory = memory};
        s = plan_make(&r, &p, &err);
    }
    enum exit_code code = EXIT_OK;
    bool here = s == STATUS_OK && m != NULL && o->vram == 0;
    json_t *gpu = here && o->json ? model_gpu_json(m, kv, p.users, p.context) : NULL;
    if (s == STATUS_OK && o->json && !print_json(&info, &p, memory, gpu)) {
        s = error_set(&err, STATUS_INVALID, "its names are no text that JSON can hold");
    } else if (s == STATUS_OK && !o->json) {
        print(&info, &p, memory);
        if (here) {
            model_print_gpu("  gpu              ", m, kv, p.users, p.context);
        }
    }
    if (s != STATUS_OK) {
        code = command_failed(&err);
    }
    model_close(m);
    return code;
}
