/* Fair use: who may go on, what each request used, and the books of it.
 *
 * fair_admit is the one door: it looks at the limits of the caller's key, user, team and tenant and
 * answers 429 (402 where a budget is used up) by itself. fair_done enters what the request used
 * into the counters at once, and into the tenant's books (books.h) and the counters' table
 * (fair_store.h) at once, or where much is asked within FAIR_FLUSH_MS: a crash loses what was
 * answered in that time and the length of one write, no more. Loop thread; what is written is
 * written on lanes. */
#ifndef CARREL_SERVE_USAGE_FAIR_H
#define CARREL_SERVE_USAGE_FAIR_H

#include <uv.h>

#include "base/settings/settings.h"
#include "serve/usage/meter.h"
#include "serve/usage/prices.h"

#define FAIR_FLUSH_MS 250
#define FAIR_PENDING_MAX                                                                           \
    ((size_t)32768) /* requests not in the books yet; more are counted lost                        \
                     */

struct answers;
struct auth;
struct buf;
struct fair;
struct request;

/* What a model elsewhere has used by our guess, while its own count is not known. */
struct fair_guess {
    char model[USAGE_MODEL_CAP];
    int64_t prompt, completion;
};

/* A request's part: kept in struct request. */
struct fair_use {
    struct meter_ticket ticket;
    char team[METER_NAME_CAP];
    unsigned uses; /* METER_USES_*; 0: not in the books */
    struct usage used;
    struct { /* of it, what the counters have already */
        int64_t tokens, upload_bytes, micro;
    } charged;
    struct fair_guess *guessed; /* in the request's arena; NULL: none */
    const char *found;          /* collections, each ended by NUL; likewise */
    size_t found_len;
};

struct fair_options {
    uv_loop_t *loop;
    const struct settings *settings;
    const char *home;
    struct answers *answers; /* where tenants' databases are written */
    const struct auth *auth; /* whose tenants count as known */
};

/* Blocks: at start, after auth_open. */
enum status fair_open(const struct fair_options *o, struct fair **out,
                      struct error *err) MUST_CHECK;
/* Writes what is not written, then closed. */
void fair_close(struct fair *f, void (*closed)(void *data), void *data);

/* May this request go on? Its headers are added; false: it was answered. */
bool fair_admit(struct request *q);
/* The same for one that can wait (a job): false with *wait_ms > 0 where a limit is in the way that
 * passes by itself; it was not answered then, and is asked again after that time. */
bool fair_admit_later(struct request *q, int64_t *wait_ms);
/* It is over; safe for one that was never let in. */
void fair_done(struct request *q, int status);
/* What its handler's model did: adds up, called as often as there is something. */
void fair_add(struct request *q, const char *engine, const char *model, int64_t prompt_tokens,
              int64_t completion_tokens, int64_t cpu_us, int64_t gpu_us);
void fair_add_embedded(struct request *q, const char *model, int64_t tokens);
/* What a reply of generate says was spent so far, beyond what one before it said. */
struct fair_seen {
    int64_t read, written, cpu_us, gpu_us; /* of this answer */
    int64_t prompt, completion;            /* entered, of all answers to the question: to tell */
    int64_t kept; /* of the prompt, by a model of this machine for an answer before */
    bool local;   /* such a model writes this answer */
};
struct Ge__ChatReply;
void fair_take_reply(struct request *q, struct fair_seen *seen, const struct Ge__ChatReply *m);
/* An answer is over: what of it is only guessed then stays so, and counts. */
void fair_settle(struct request *q);
/* Tokens that the next answer may have: what is left now of the day's and of the month's money, by
 * the price of who writes it, and at least 1, since a request that was let in has an answer.
 * UINT32_MAX: no limit. What it reads is not known yet, and may pass the limit. */
struct fair_room {
    uint32_t here, elsewhere;
};
struct fair_room fair_answer_room(const struct request *q);
/* The same as fair_settle, and another answer to the same question follows. What a model of this
 * machine has read for one answer it has for the next, so the prompt counts once; one elsewhere is
 * asked again and bills it again. */
void fair_settle_choice(struct request *q, struct fair_seen *seen);
/* It found a passage of this collection. */
void fair_found(struct request *q, const char *collection);
/* What its documents cost, for its budget. */
void fair_charge_tenant(struct fair *f, const char *tenant, int64_t micro);
/* The same for a user, a key and a team as well; "" none. */
void fair_charge(struct fair *f, const char *tenant, const char *user, const char *key,
                 const char *team, int64_t micro);
/* To whom a document that this request uploads is charged beside its user; live as long as q. */
void fair_owner(struct request *q, char **key, char **team);
/* Another tenant that there is. */
void fair_know(struct fair *f, const char *tenant);

/* For api_limits.c: the counters and the prices. */
struct meter *fair_meter(struct fair *f);
const struct prices *fair_prices(const struct fair *f);
/* What was refused and why, and what could not be entered, in Prometheus' format. */
void fair_metrics(const struct fair *f, struct buf *out);
/* Everything that was answered is in the books when done runs. */
void fair_flush(struct fair *f, void (*done)(void *data), void *data);

/* fair_kinds.c: what calls of a route use, METER_USES_*; 0: nothing that is counted but requests.
 */
unsigned fair_uses(const char *pattern, bool post);

#endif
