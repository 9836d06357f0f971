/* What fair.c and fair_admit.c share. */
#ifndef CARREL_SERVE_USAGE_FAIR_INTERNAL_H
#define CARREL_SERVE_USAGE_FAIR_INTERNAL_H

#include "serve/usage/fair.h"

#define FAIR_MONEY_CAP 40

/* The id that the caller's key goes by. */
const char *fair_key(const struct request *q);
/* "12.50 EUR" */
void fair_money(char out[FAIR_MONEY_CAP], int64_t micro, const char *currency);
void fair_note_refusal(struct fair *f, enum meter_verdict why);

#endif
