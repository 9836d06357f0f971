/* How far two spellings are apart: Levenshtein distance in code points with a swap of neighbours as
 * one edit (Damerau 1964; optimal string alignment). Pure. */
#ifndef CARREL_VECTORSTORE_LEXICAL_EDITS_H
#define CARREL_VECTORSTORE_LEXICAL_EDITS_H

#include <stdint.h>

#include "base/str.h"

#define LEXICAL_SPELL_POINTS 64U

struct lexical_spelling {
    uint32_t n; /* further letters do not count */
    uint32_t points[LEXICAL_SPELL_POINTS];
    uint64_t letters; /* a bit for each, shared by some: an edit changes at most two */
};

void lexical_spell(struct str word, struct lexical_spelling *out);
/* Above `most`: most + 1. */
uint32_t lexical_apart(const struct lexical_spelling *a, const struct lexical_spelling *b,
                       uint32_t most);
/* From a form or its stem, whichever is nearer: a question's "tenannt" means the text's "tenants".
 */
uint32_t lexical_form_apart(const struct lexical_spelling *word, struct str form, struct str stem,
                            uint32_t most);

/* Its trigrams as hashes, ends included (_wo, wor, ..., rd_): as many as letters. */
uint32_t lexical_trigrams(const struct lexical_spelling *s, uint32_t out[LEXICAL_SPELL_POINTS]);

#endif
