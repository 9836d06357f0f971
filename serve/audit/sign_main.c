/* carrel-sign --home DIR: signs heads of audit chains (signer.h). Descriptor 0 is serve's socket;
 * it ends when serve does. Opens two files, then can open nothing more:
 *
 *   home/signer/audit.key  Ed25519, made at the first start; its public half is system/audit.pub
 *   home/signer/heads      what was signed last, a slot of SLOT bytes a chain */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <seccomp.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/audit/record.h"
#include "base/file.h"
#include "serve/audit/signer.h"

#define SLOT 128
#define CHAINS_MAX 65536

struct head {
    char chain[ID_CAP];
    int64_t seq;
    uint8_t head[SHA256_BYTES];
};

struct signing {
    struct sign_key key;
    struct head *heads;
    size_t n, cap;
    int fd; /* of heads */
};

static enum status open_key(const char *home, struct sign_key *key, struct error *err)
{
    char path[PATH_MAX];
    char hex[2 * SIGN_PUBLIC_BYTES + 2];
    struct buf b;
    buf_init(&b, SIGN_SECRET_BYTES + 1);
    enum status s = file_join(path, sizeof path, home, SIGNER_FOLDER "/audit.key", err);
    if (s == STATUS_OK) {
        s = file_read(path, &b, err);
    }
    if (s == STATUS_OK && b.len != SIGN_SECRET_BYTES) {
        s = error_set(err, STATUS_CORRUPT, "%s: this is no key", path);
    } else if (s == STATUS_OK) {
        memcpy(key->secret, b.ptr, SIGN_SECRET_BYTES);
    } else if (s == STATUS_NOT_FOUND) {
        (void)crypto_sign_keypair(key->public, key->secret);
        s = file_write_atomic(path, key->secret, sizeof key->secret, 0600, err);
    }
    if (b.ptr != NULL) {
        sodium_memzero(b.ptr, b.len);
    }
    buf_deinit(&b);
    if (s == STATUS_OK) {
        (void)crypto_sign_ed25519_sk_to_pk(key->public, key->secret);
        hex_encode(key->public, sizeof key->public, hex);
        hex[sizeof hex - 2] = '\n';
        s = file_join(path, sizeof path, home, "system/audit.pub", err);
    }
    return s == STATUS_OK ? file_write_atomic(path, hex, sizeof hex - 1, 0644, err) : s;
}

static bool read_slot(const char *slot, struct head *h)
{
    char chain[ID_CAP], hex[SHA256_HEX_CAP];
    long long seq = 0;
    if (sscanf(slot, "%26s %lld %64s", chain, &seq, hex) != 3 || seq <= 0 ||
        !sha256_parse(hex, h->head)) {
        return false;
    }
    memcpy(h->chain, chain, sizeof h->chain);
    h->seq = seq;
    return true;
}

static bool room(struct signing *s)
{
    if (s->n < s->cap) {
        return true;
    }
    size_t cap = s->cap == 0 ? 64 : s->cap * 2;
    struct head *more = cap > CHAINS_MAX ? NULL : realloc(s->heads, cap * sizeof *more);
    if (more == NULL) {
        return false;
    }
    memset(more + s->cap, 0, (cap - s->cap) * sizeof *more);
    s->heads = more;
    s->cap = cap;
    return true;
}

static enum status open_heads(const char *home, struct signing *s, struct error *err)
{
    char path[PATH_MAX];
    char slot[SLOT + 1];
    enum status st = file_join(path, sizeof path, home, SIGNER_FOLDER "/heads", err);
    if (st != STATUS_OK) {
        return st;
    }
    s->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->fd < 0) {
        return error_errno(err, errno, "%s", path);
    }
    slot[SLOT] = '\0';
    while (pread(s->fd, slot, SLOT, (off_t)(s->n * SLOT)) == SLOT) {
        if (!room(s)) {
            return error_set(err, STATUS_TOO_LARGE, "%s: too many chains", path);
        }
        if (!read_slot(slot, &s->heads[s->n])) { /* a slot half written: nothing was signed by it */
            s->heads[s->n] = (struct head){0};
        }
        s->n++;
    }
    return STATUS_OK;
}

static struct head *head_of(struct signing *s, const char *chain)
{
    for (size_t i = 0; i < s->n; i++) {
        if (strcmp(s->heads[i].chain, chain) == 0) {
            return &s->heads[i];
        }
    }
    if (!room(s)) {
        return NULL;
    }
    struct head *h = &s->heads[s->n++];
    *h = (struct head){0};
    (void)snprintf(h->chain, sizeof h->chain, "%s", chain);
    return h;
}

/* Durable before the signature is out. */
static bool note(struct signing *s, const struct head *h)
{
    char slot[SLOT + 1];
    char hex[SHA256_HEX_CAP];
    sha256_hex(h->head, hex);
    int n = snprintf(slot, sizeof slot, "%-26s %20" PRId64 " %s", h->chain, h->seq, hex);
    memset(slot + n, ' ', SLOT - (size_t)n);
    slot[SLOT - 1] = '\n';
    off_t at = (off_t)(h - s->heads) * SLOT;
    return pwrite(s->fd, slot, SLOT, at) == SLOT && fdatasync(s->fd) == 0;
}

static void answer(struct signing *s, const struct signer_ask *ask, struct signer_reply *out)
{
    struct buf b;
    memcpy(out->key, s->key.public, sizeof out->key);
    if (ask->chain[0] == '\0') {
        return;
    }
    out->verdict = SIGNER_FAILED;
    struct head *h = id_valid(ask->chain) && ask->seq > 0 ? head_of(s, ask->chain) : NULL;
    if (h == NULL) {
        return;
    }
    struct head before = *h;
    out->was_seq = h->seq;
    memcpy(out->was_head, h->head, sizeof out->was_head);
    if (ask->seq <= h->seq && !ask->set_back) {
        out->verdict = SIGNER_WAS_LATER;
        return;
    }
    h->seq = ask->seq;
    memcpy(h->head, ask->head, sizeof h->head);
    buf_init(&b, 1024);
    audit_statement(&b, ask->chain, ask->seq, ask->at_wall_ms, ask->head, out->was_seq,
                    out->was_head);
    if (buf_status(&b) == STATUS_OK && note(s, h)) {
        sign_message(&s->key, b.ptr, b.len, out->signature);
        out->verdict = SIGNER_SIGNED;
    } else {
        *h = before;
    }
    buf_deinit(&b);
}

/* From here on: read what is asked, note, sign, answer. */
static bool seal(void)
{
    static const int calls[] = {
        SCMP_SYS(recvfrom), SCMP_SYS(sendto),      SCMP_SYS(pwrite64),      SCMP_SYS(fdatasync),
        SCMP_SYS(brk),      SCMP_SYS(mmap),        SCMP_SYS(munmap),        SCMP_SYS(mremap),
        SCMP_SYS(madvise),  SCMP_SYS(futex),       SCMP_SYS(rt_sigreturn),  SCMP_SYS(exit_group),
        SCMP_SYS(exit),     SCMP_SYS(getrandom),   SCMP_SYS(clock_gettime), SCMP_SYS(write),
        SCMP_SYS(getpid),   SCMP_SYS(sched_yield), SCMP_SYS(mprotect),      SCMP_SYS(sigaltstack)};
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int rc = f == NULL ? -ENOMEM : 0;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0] && rc == 0; i++) {
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, calls[i], 0);
    }
    rc = rc == 0 ? seccomp_load(f) : rc;
    seccomp_release(f);
    return rc == 0;
}

/* Everybody's folder: whoever comes first makes it, and root makes it for the services' user. */
static enum status make_system(const char *home, struct error *err)
{
    char path[PATH_MAX];
    struct stat h;
    enum status st = file_join(path, sizeof path, home, "system", err);
    if (st == STATUS_OK && stat(home, &h) != 0) {
        st = error_errno(err, errno, "%s", home);
    }
    if (st == STATUS_OK && mkdir(path, 0700) == 0) {
        if (geteuid() == 0 && chown(path, h.st_uid, h.st_gid) != 0) {
            st = error_errno(err, errno, "%s", path);
        }
    } else if (st == STATUS_OK && errno != EEXIST) {
        st = error_errno(err, errno, "%s", path);
    }
    return st;
}

static enum status prepare(const char *home, struct signing *s, struct error *err)
{
    char path[PATH_MAX];
    if (sodium_init() < 0) {
        return error_set(err, STATUS_INTERNAL, "no randomness");
    }
    enum status st = make_system(home, err);
    if (st == STATUS_OK) {
        st = file_join(path, sizeof path, home, SIGNER_FOLDER, err);
    }
    if (st == STATUS_OK) {
        st = file_mkdirs(path, 0700, err);
    }
    if (st == STATUS_OK) {
        st = open_key(home, &s->key, err);
    }
    return st == STATUS_OK ? open_heads(home, s, err) : st;
}

int main(int argc, char **argv)
{
    struct signing s = {0};
    struct error err = {0};
    struct signer_ask ask;
    if (argc != 3 || strcmp(argv[1], "--home") != 0) {
        (void)fprintf(stderr, "carrel-sign is started by carrel-serve.\n");
        return 2;
    }
    /* nobody of the same user may look into its memory or its descriptors */
    (void)umask(077);
    if (prctl(PR_SET_DUMPABLE, 0) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prepare(argv[2], &s, &err) != STATUS_OK || !seal()) {
        (void)fprintf(stderr, "carrel-sign: cannot start: %s\n", err.text);
        return 1;
    }
    while (recv(0, &ask, sizeof ask, 0) == (ssize_t)sizeof ask) {
        struct signer_reply reply = {.to = ask};
        ask.chain[sizeof ask.chain - 1] = '\0';
        answer(&s, &ask, &reply);
        if (send(0, &reply, sizeof reply, MSG_NOSIGNAL) != (ssize_t)sizeof reply) {
            break;
        }
    }
    sodium_memzero(&s.key, sizeof s.key);
    _exit(0);
}
