/* The signer: a process of its own (carrel-sign, sign_main.c) that alone holds the key under which
 * heads of audit chains are signed. serve starts it before anything else, hands it heads through a
 * socket pair, and then gives up the right to reach home/signer at all.
 *
 * It is a witness too: it remembers what it signed last of every chain, and each statement names
 * that. So history before a signature cannot be written anew, not even by serve, without the next
 * signature telling; and a record before the last one signed is signed only on demand, by a
 * statement that shows it. */
#ifndef CARREL_SERVE_AUDIT_SIGNER_H
#define CARREL_SERVE_AUDIT_SIGNER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/sign.h"
#include "base/status.h"

#define SIGNER_FOLDER "signer" /* in home; of root where serve is started by root */

struct signer_ask { /* one packet; chain "": only tell the key */
    char chain[ID_CAP];
    uint8_t set_back; /* sign though a later record was signed already, and say so */
    int64_t seq, at_wall_ms;
    uint8_t head[SHA256_BYTES];
};
enum signer_verdict { SIGNER_SIGNED, SIGNER_WAS_LATER, SIGNER_FAILED };
struct signer_reply {
    struct signer_ask to; /* what this answers: an answer that came too late is not the next one */
    uint8_t verdict;
    uint8_t key[SIGN_PUBLIC_BYTES];
    uint8_t signature[SIGN_BYTES];
    int64_t was_seq; /* what was signed of this chain last; 0: nothing */
    uint8_t was_head[SHA256_BYTES];
};

/* Forks; first thing in main. *fd: to ask through. */
enum status signer_start(const char *home, int *fd, struct error *err) MUST_CHECK;

/* The line to it; one thread at a time. Begins as {.fd = of signer_start}. */
struct signer {
    int fd;
    bool knows_key, silent;
    struct signer_ask asked; /* silent: what it has not answered yet */
    uint8_t key[SIGN_PUBLIC_BYTES];
};
/* The key that it signs with; it stays the same as long as it runs. Blocks the first time, up to
 * ten seconds. */
enum status signer_key(struct signer *s, uint8_t key[SIGN_PUBLIC_BYTES],
                       struct error *err) MUST_CHECK;
/* It has answered all that it was asked. After a silence: whether that has come by now; does not
 * wait. */
bool signer_listens(struct signer *s);
/* Blocks, up to two seconds. UNAVAILABLE: it may have noted the ask all the same; when it has only
 * not answered in time, it is silent, and is asked nothing until it has. */
enum status signer_call(struct signer *s, const struct signer_ask *ask, struct signer_reply *out,
                        struct error *err) MUST_CHECK;

#endif
