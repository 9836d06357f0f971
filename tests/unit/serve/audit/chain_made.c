#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/audit/verify.h"
#include "base/file.h"
#include "serve/audit/audit.h"
#include "serve/audit/chain_write.h"
#include "serve/audit/erase.h"
#include "serve/audit/signer.h"
#include "tests/unit/serve/audit/chain_made.h"

pid_t signer_pid;

/* carrel-sign's place taken: it tells a key and signs nothing. */
struct signer *signer_new(void)
{
    struct signer *s = calloc(1, sizeof *s);
    int pair[2];
    assert_non_null(s);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct signer_ask ask;
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)close(pair[0]);
        while (recv(pair[1], &ask, sizeof ask, 0) == (ssize_t)sizeof ask) {
            struct signer_reply reply;
            memset(&reply, 0, sizeof reply);
            reply.to = ask;
            reply.verdict = SIGNER_SIGNED;
            memset(reply.key, 7, sizeof reply.key);
            (void)send(pair[1], &reply, sizeof reply, MSG_NOSIGNAL);
        }
        _exit(0);
    }
    (void)close(pair[1]);
    signer_pid = pid;
    s->fd = pair[0];
    return s;
}

void signer_end(struct signer *s)
{
    (void)close(s->fd);
    free(s);
}

off_t length(const char *home, const char *name)
{
    char path[PATH_MAX];
    struct stat st;
    (void)snprintf(path, sizeof path, "%s/tenants/main/audit/%s", home, name);
    return stat(path, &st) == 0 ? st.st_size : -1;
}

enum status write_some(struct chain *c, const struct audit_policy *p, size_t n)
{
    static const char *const keys[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    static char filler[512];
    struct error err;
    struct buf fields;
    memset(filler, 'x', sizeof filler - 1);
    enum status s = chain_ready(c, p, &err);
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        buf_init(&fields, 7 * (size_t)1024);
        for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++) {
            audit_field_z(&fields, keys[k], filler);
        }
        struct audit_matter m = {.type = "open", .fields = buf_view(&fields)};
        s = chain_add(c, p, &m, 1000, &err);
        buf_deinit(&fields);
    }
    return s == STATUS_OK ? chain_commit(c, &err) : s;
}

/* A group with a text. */
enum status write_text(struct chain *c, const struct audit_policy *p, const char *text)
{
    struct error err;
    struct audit_matter m = {
        .type = "open", .fields = STR(",\"call\":\"a\""), .text = str_from(text)};
    enum status s = chain_ready(c, p, &err);
    s = s == STATUS_OK ? chain_add(c, p, &m, 1000, &err) : s;
    return s == STATUS_OK ? chain_commit(c, &err) : s;
}

void verify_tenant(const char *home, const char *tenant, struct audit_report *r)
{
    char folder[PATH_MAX], payload[PATH_MAX];
    struct error err;
    (void)snprintf(folder, sizeof folder, "%s/tenants/%s/audit", home, tenant);
    (void)snprintf(payload, sizeof payload, "%s/tenants/%s/payload.db", home, tenant);
    struct audit_verify_options o = {.folder = folder, .payload = payload};
    assert_int_equal(audit_verify(&o, r, &err), STATUS_OK);
}
