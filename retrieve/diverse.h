/* Which passages get a place, pure: the best ones, but of one page two, and of one document half of
 * the places (three at least), while others deserve them. A passage over that share comes back in
 * when the one that took its place scores less than half of it, or when places are left. */
#ifndef CARREL_RETRIEVE_DIVERSE_H
#define CARREL_RETRIEVE_DIVERSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct diverse_passage { /* best first */
    struct str content;
    uint32_t page; /* 0: the format has none */
    float score;
    bool gone;   /* in: stands for nobody (folded away) */
    bool chosen; /* out */
};

void diverse(struct diverse_passage *p, size_t n, size_t places);

#endif
