#include "serve/account.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "serve/service.h"

static enum status store(void *op, struct error *err)
{
    struct user_change *c = op;
    if (c->others) {
        return auth_store_user_by(c->home, &c->user, c->what, &c->by,
                                  c->about.id[0] == '\0' ? NULL : &c->about, err);
    }
    return auth_store_user(c->home, &c->user, c->what, c->instead_of, err);
}

void account_store(struct request *q, struct user_change *change,
                   void (*done)(struct request *q, const struct error *err))
{
    change->home = q->serve->svc->home;
    api_on_lane(q, &q->serve->admin, change, store, done);
}

static enum status tenant_there(const struct user_change *c, struct error *err)
{
    const char *tenant = c->user.who.tenant;
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/tenants/%s", c->home, tenant);
    bool there = n > 0 && (size_t)n < sizeof path && access(path, F_OK) == 0;
    return there || strcmp(tenant, API_OPERATORS) == 0
               ? STATUS_OK
               : error_set(err, STATUS_INVALID,
                           "there is no tenant \"%s\": make it first (carrel tenant create %s)",
                           tenant, tenant);
}

/* Both at once: the database waits for nothing but the hash, and passwords are changed rarely. */
static enum status hash_and_store(void *op, struct error *err)
{
    struct user_change *c = op;
    enum status s = (c->what & USER_NEW) != 0 ? tenant_there(c, err) : STATUS_OK;
    if (s != STATUS_OK) {
        return s;
    }
    s = password_hash(c->password, c->user.password, err);
    return s == STATUS_OK ? store(c, err) : s;
}

void account_store_password(struct request *q, struct user_change *change,
                            void (*done)(struct request *q, const struct error *err))
{
    change->home = q->serve->svc->home;
    api_on_lane(q, &q->serve->passwords, change, hash_and_store, done);
}

/* ---- codes ---- */

/* Without what people type between the groups, in lower case; false: it is no recovery code. */
static bool plain_code(struct str code, char out[RECOVERY_CODE_CAP])
{
    size_t n = 0;
    for (size_t i = 0; i < code.len; i++) {
        char c = code.ptr[i];
        if (c == ' ' || c == '-') {
            continue;
        }
        if (n == 16) {
            return false;
        }
        out[n++] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
    }
    out[n] = '\0';
    return n == 16;
}

static bool use_recovery(struct user *u, struct str code)
{
    char plain[RECOVERY_CODE_CAP];
    uint8_t hash[SHA256_BYTES];
    size_t found = RECOVERY_CODES;
    if (!plain_code(code, plain)) {
        return false;
    }
    sha256_of(plain, strlen(plain), hash);
    explicit_bzero(plain, sizeof plain);
    for (size_t i = 0; i < u->n_recovery; i++) {
        struct str a = {(const char *)u->recovery[i], SHA256_BYTES};
        struct str b = {(const char *)hash, SHA256_BYTES};
        found = auth_equal(a, b) ? i : found;
    }
    if (found == RECOVERY_CODES) {
        return false;
    }
    u->n_recovery--;
    memmove(u->recovery[found], u->recovery[found + 1], (u->n_recovery - found) * SHA256_BYTES);
    return true;
}

bool account_code(struct user *u, struct str code, int64_t now_s, unsigned *what)
{
    char digits[8];
    size_t n = 0;
    for (size_t i = 0; i < code.len && n < sizeof digits; i++) { /* "123 456", as it is shown */
        if (code.ptr[i] != ' ') {
            digits[n++] = code.ptr[i];
        }
    }
    int64_t step = 0;
    if (!u->totp_lost &&
        totp_check(u->totp_secret, (struct str){digits, n}, now_s, u->totp_step, &step)) {
        u->totp_step = step;
        *what |= USER_TOTP;
        return true;
    }
    if (use_recovery(u, code)) {
        *what |= USER_RECOVERY;
        return true;
    }
    return false;
}

void account_recovery_new(struct user *u, char codes[RECOVERY_CODES][RECOVERY_CODE_CAP])
{
    static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";
    for (size_t i = 0; i < RECOVERY_CODES; i++) { /* 80 bits each: a hash without salt is enough */
        uint8_t r[16];
        char plain[17];
        random_bytes(r, sizeof r);
        for (size_t k = 0; k < sizeof r; k++) {
            plain[k] = alphabet[r[k] & 31];
        }
        plain[16] = '\0';
        sha256_of(plain, 16, u->recovery[i]);
        memcpy(codes[i], plain, 8);
        codes[i][8] = '-';
        memcpy(codes[i] + 9, plain + 8, 9);
        explicit_bzero(plain, sizeof plain);
    }
    u->n_recovery = RECOVERY_CODES;
}

void account_no_totp(struct user *u)
{
    u->totp = u->totp_lost = false;
    u->n_recovery = 0;
    explicit_bzero(u->totp_secret, sizeof u->totp_secret);
    explicit_bzero(u->recovery, sizeof u->recovery);
}
