/* What the handlers of sign-in, one's own account, users and keys share. */
#ifndef CARREL_SERVE_ACCOUNT_H
#define CARREL_SERVE_ACCOUNT_H

#include "serve/http/jsonw.h"
#include "serve/request.h"
#include "serve/users.h"

/* A user as he is to be, and what of him is new. */
struct user_change {
    const char *home;
    struct user user;
    unsigned what;
    struct str password; /* to be hashed into user first; in the arena */
    bool others;         /* by somebody who looks after him: `by` asks */
    struct asker by;
    struct seen about;            /* id "": he is new */
    const char *instead_of;       /* the hash that it replaces; NULL: whichever there is */
    char shown[PASSWORD_NEW_CAP]; /* one that we made */
};

/* On the lane of keys and users, in the order they come. change: in the arena. */
void account_store(struct request *q, struct user_change *change,
                   void (*done)(struct request *q, const struct error *err));
/* Hashes change->password on the lane of passwords, then stores. */
void account_store_password(struct request *q, struct user_change *change,
                            void (*done)(struct request *q, const struct error *err));

/* Is that u's code by time, or one of his recovery codes? Then it is used up in u, and *what says
 * what of u has changed. */
bool account_code(struct user *u, struct str code, int64_t now_s, unsigned *what);
/* No second factor any more. */
void account_no_totp(struct user *u);
/* New recovery codes: their hashes into u, they themselves to be shown once. */
#define RECOVERY_CODE_CAP 18 /* 16 characters in two groups, and NUL */
void account_recovery_new(struct user *u, char codes[RECOVERY_CODES][RECOVERY_CODE_CAP]);

/* api_keys.c: "scopes": [...] */
void api_scopes(struct jsonw *w, const struct principal *p);
/* "role", or "admin": true as it was before there were roles; fallback where neither is there. */
enum status api_read_role(const struct json *body, enum role fallback, enum role *out,
                          struct error *err) MUST_CHECK;
/* An array of strings as list; *n 0 where it is absent. */
enum status api_read_names(const struct json *body, const char *what, struct str *list, size_t max,
                           size_t *n, struct error *err) MUST_CHECK;
/* "tenant", or the caller's: another's only for who runs the appliance. */
enum status api_read_tenant(struct request *q, const struct json *body, char out[65],
                            struct error *err) MUST_CHECK;

#endif
