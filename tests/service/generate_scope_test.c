/* What a model has computed of a prompt is shared within a tenant, never across: the tenant is the
 * call's, whatever the request calls its scope. */
#include "tests/unit/test.h"

#include "base/rpc/health_rpc.h"
#include "generate/generate_rpc.h"
#include "model/registry.h"
#include "tests/fixture/model_writer.h"
#include "tests/service/one_service.h"

struct world {
    uv_loop_t loop;
    struct one_service service;
    struct rpc_client *serve;
    bool closed;
};

struct call {
    bool finished;
    struct error error;
    char engine[32];
    double shared, ready;
};

static void on_closed(void *data)
{
    *(bool *)data = true;
}

static void on_finish(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct call *c = data;
    c->error = *err;
    c->finished = true;
}

static void on_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct call *c = data;
    const Ge__ChatReply *reply = ge_chat_reply(m);
    if (reply->engine != NULL) {
        (void)snprintf(c->engine, sizeof c->engine, "%s", reply->engine);
    }
}

static double metric(const Rpc__HealthReply *h, const char *name)
{
    char *text = strndup((const char *)h->metrics.data, h->metrics.len);
    const char *at = strstr(text, name);
    double v = at == NULL ? -1 : strtod(at + strlen(name), NULL);
    free(text);
    return v;
}

static void on_health(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct call *c = data;
    const Rpc__HealthReply *h = rpc_health_reply(m);
    c->ready = metric(h, "\ncarrel_generate_model_ready ");
    c->shared = metric(h, "\ncarrel_generate_model_tokens_shared_total ");
}

static struct call health(struct world *w)
{
    static const struct rpc_callbacks cb = {.on_reply = on_health, .on_finish = on_finish};
    struct call c = {0};
    Rpc__HealthRequest q = RPC__HEALTH_REQUEST__INIT;
    struct rpc_options o = {.wait_for_ready = true};
    assert_non_null(rpc_health(w->serve, &o, &q, &cb, &c));
    one_service_until(&w->loop, &c.finished);
    return c;
}

static void import(struct world *w)
{
    struct model_writer m = model_writer_small("llama", TENSOR_F32);
    struct error err;
    struct model_record record;
    char path[96];
    m.chat_template = "<|im_start|>";
    m.context = 4096;
    (void)snprintf(path, sizeof path, "%s/original.gguf", w->service.home);
    assert_int_equal(model_write_file(&m, path, &err), STATUS_OK);
    struct registry_import how = {
        .home = w->service.home, .path = path, .name = "small", .role = MODEL_CHAT};
    if (registry_import(&how, &record, &err) != STATUS_OK) {
        fail_msg("%s", err.text);
    }
}

/* The tokens that were not computed again for it. */
static double shared_by(struct world *w, const char *tenant, const char *scope)
{
    static const struct rpc_callbacks cb = {.on_reply = on_reply, .on_finish = on_finish};
    char user[] = "user", id[] = "a1", local[] = "local";
    char question[] = "How long does the falcon dive, and how does the owl hear the mouse?";
    struct call c = {0};
    double before = health(w).shared;
    Ge__Message m = GE__MESSAGE__INIT;
    Ge__Message *messages[] = {&m};
    Ge__ChatRequest q = GE__CHAT_REQUEST__INIT;
    m.role = user;
    m.content = question;
    q.answer_id = id;
    q.messages = messages;
    q.n_messages = 1;
    q.engine = local;
    q.has_plain = q.plain = true;
    q.has_max_tokens = true;
    q.max_tokens = 4;
    q.scope = (char *)(uintptr_t)scope;
    struct rpc_options o = {.tenant = tenant, .wait_for_ready = true, .timeout_ms = 60000};
    assert_non_null(ge_chat(w->serve, &o, &q, &cb, &c));
    one_service_until(&w->loop, &c.finished);
    if (c.error.code != STATUS_OK) {
        fail_msg("%s", c.error.text);
    }
    assert_string_equal(c.engine, "local");
    return health(w).shared - before;
}

static void beginnings_stay_with_the_calls_tenant(void **state)
{
    (void)state;
    struct world w = {.closed = false};
    assert_int_equal(uv_loop_init(&w.loop), 0);
    one_service_home(&w.service, "generate:\n  model: small\n  users: 2\n  context: 2048\n");
    import(&w);
    one_service_start(&w.service, "carrel-generate", PEER_GENERATE, "generate.sock");
    w.serve = one_service_client(&w.service, &w.loop, PEER_SERVE, PEER_GENERATE);
    for (int i = 0; i < 2000 && health(&w).ready < 1; i++) {
        uv_sleep(5);
    }
    assert_true(shared_by(&w, "main", "main") == 0);
    assert_true(shared_by(&w, "main", "main") > 0);
    assert_true(shared_by(&w, "other", "main") == 0);
    assert_true(shared_by(&w, "other", "other") == 0); /* nor has anything been kept for it */
    assert_true(shared_by(&w, "other", "other") > 0);
    one_service_stop(&w.service);
    rpc_client_close(w.serve, on_closed, &w.closed);
    one_service_until(&w.loop, &w.closed);
    (void)uv_run(&w.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w.loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(beginnings_stay_with_the_calls_tenant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
