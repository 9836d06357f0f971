#include "cli/rpc_once.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/service.h"
#include "base/tls/tls.h"
#include "cli/home.h"

#define SETTINGS_ARENA_MAX ((size_t)4 * 1024 * 1024)

struct once {
    struct rpc_client *client;
    void (*on_reply)(const ProtobufCMessage *reply, void *data);
    void *data;
    struct error result;
};

static void take_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    struct once *o = data;

    (void)r;
    o->on_reply(m, o->data);
}

static void take_end(struct rpc_request *r, const struct error *err, void *data)
{
    struct once *o = data;

    (void)r;
    o->result = *err;
    rpc_client_close(o->client, NULL, NULL);
}

static enum status read_identity(const char *home, struct identity *out, struct error *err)
{
    char path[1200];
    struct buf b;

    (void)snprintf(path, sizeof(path), "%.1000s/run/cli.identity", home);
    buf_init(&b, IDENTITY_RECORD_BYTES + 64);
    enum status s = file_read(path, &b, err);
    if (s == STATUS_OK) {
        s = identity_decode((const uint8_t *)b.ptr, b.len, out, err);
    } else if (access(path, F_OK) == 0 && access(path, R_OK) != 0) {
        s = error_set(err, STATUS_FORBIDDEN,
                      "%.150s belongs to the user who started the appliance: be that user (sudo?)",
                      path);
    }
    if (b.ptr != NULL) {
        explicit_bzero(b.ptr, b.cap);
    }
    buf_deinit(&b);
    return s;
}

static enum status open_tls(const struct settings *cfg, struct tls_context **tls, struct error *err)
{
    char certificate[1200];
    char key[1200];
    struct stat st;

    if (strcmp(cfg->rpc.transport, "tls") != 0) {
        return STATUS_OK;
    }
    bool folder = stat(cfg->rpc.tls_certificate, &st) == 0 && S_ISDIR(st.st_mode);
    (void)snprintf(certificate, sizeof(certificate), "%.1000s%s", cfg->rpc.tls_certificate,
                   folder ? "/cli.crt" : "");
    (void)snprintf(key, sizeof(key), "%.1000s%s",
                   folder ? cfg->rpc.tls_certificate : cfg->rpc.tls_key, folder ? "/cli.key" : "");
    const struct tls_files files = {.certificate = certificate, .key = key, .ca = cfg->rpc.tls_ca};
    return tls_context_new(&files, tls, err);
}

static enum status call(struct once *o, const struct identity *id, enum peer target,
                        const char *address, struct tls_context *tls, const struct rpc_method *m,
                        const struct rpc_options *ro, const ProtobufCMessage *request,
                        struct error *err)
{
    const struct rpc_callbacks cb = {.on_reply = take_reply, .on_finish = take_end};
    uv_loop_t loop;

    if (uv_loop_init(&loop) != 0) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    enum status s = rpc_client_new(&loop, id, target, address, tls, &o->client, err);
    if (s == STATUS_OK) {
        o->result = (struct error){.code = STATUS_NO_MEMORY, .text = "out of memory"};
        if (rpc_client_start(o->client, m, ro, request, &cb, o) == NULL) {
            rpc_client_close(o->client, NULL, NULL);
        }
        (void)uv_run(&loop, UV_RUN_DEFAULT);
        s = o->result.code;
        if (s != STATUS_OK && err != NULL) {
            *err = o->result;
        }
    }
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&loop);
    return s;
}

enum status rpc_once(const char *home, enum peer target, const struct rpc_method *m,
                     const char *tenant, uint32_t timeout_ms, const ProtobufCMessage *request,
                     void (*on_reply)(const ProtobufCMessage *reply, void *data), void *data,
                     struct error *err)
{
    char address[1200];
    struct arena a;
    struct settings cfg;
    struct identity id;
    struct tls_context *tls = NULL;
    struct once o = {.on_reply = on_reply, .data = data};
    const struct rpc_options ro = {.tenant = tenant, .timeout_ms = timeout_ms};

    if (!home_is_running(home)) {
        return error_set(err, STATUS_UNAVAILABLE,
                         "no appliance is running on %s (`carrel up` starts it)", home);
    }
    arena_init(&a, SETTINGS_ARENA_MAX);
    enum status s = settings_load(home, &a, &cfg, err);
    if (s == STATUS_OK) {
        s = read_identity(home, &id, err);
    }
    if (s == STATUS_OK) {
        s = open_tls(&cfg, &tls, err);
    }
    if (s == STATUS_OK) {
        if (target == PEER_SUPERVISOR) {
            (void)snprintf(address, sizeof(address), "unix:%.1000s/run/supervisor.sock", home);
        } else {
            service_address(&cfg, home, target, address, sizeof(address));
        }
        s = call(&o, &id, target, address, target == PEER_SUPERVISOR ? NULL : tls, m, &ro, request,
                 err);
        explicit_bzero(&id, sizeof(id));
    }
    tls_context_free(tls);
    arena_reset(&a);
    return s;
}
