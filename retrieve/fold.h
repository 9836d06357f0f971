/* Near-duplicates, pure: two passages are one when nine tenths of the smaller one's runs of four
 * normalised words are in the other and neither is more than twice the other; very short ones must
 * have the same words. The same letter filed three times should not take three places of eight. */
#ifndef CARREL_RETRIEVE_FOLD_H
#define CARREL_RETRIEVE_FOLD_H

#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"
#include "base/text/text.h"

/* into[i] = i for a passage that stays, else the index of the better one (before it) that stands
 * for it. Texts are best first; at most 64 that stay are compared with. into has room for n. */
enum status fold(struct text_analyzer *t, const struct str *texts, size_t n, struct arena *a,
                 uint32_t *into, struct error *err) MUST_CHECK;

#endif
