/* Every weight of the full-text ranking, in one place. What each was measured to be worth, and what
 * was tried instead, is in docs/decisions/ranking.md; `bench-lexical DIR` measures a change in a
 * minute. */
#ifndef CARREL_VECTORSTORE_LEXICAL_WEIGHTS_H
#define CARREL_VECTORSTORE_LEXICAL_WEIGHTS_H

/* BM25 */
#define LEXICAL_K1 1.2F
#define LEXICAL_B .75F
/* Inverse document frequencies to this power (not in plain BM25): rare words say a little more. */
#define LEXICAL_IDF_POWER 1.1F
/* Question words of little meaning; words of earlier turns of the conversation. */
#define LEXICAL_FUNCTION_WORD_WEIGHT .3F
#define LEXICAL_EARLIER_WEIGHT .2F
/* A follow-up of fewer content words leans on the turns before it: in proportion, up to the most. */
#define LEXICAL_EARLIER_WORDS 4
#define LEXICAL_EARLIER_MOST .8F
/* The two parts of a compound, beside the whole; where nobody has the whole. */
#define LEXICAL_PART_WEIGHT .2F
#define LEXICAL_PART_ALONE_WEIGHT .5F
/* A word that nobody has, found as its neighbours: by one edit, by two. */
#define LEXICAL_ONE_EDIT_WEIGHT .8F
#define LEXICAL_TWO_EDITS_WEIGHT .6F

/* Re-scoring of the best candidates: words, pairs in order, pairs near each other ... */
#define LEXICAL_WORDS_SHARE .90F
#define LEXICAL_ORDERED_SHARE .05F
#define LEXICAL_NEAR_SHARE .05F
#define LEXICAL_NEAR_WINDOW 8U
/* ... beside 4-grams, how much of the question is there at all, and how much of the title was asked
 * for; the sum is divided by the sum of the four. */
#define LEXICAL_SDM_SHARE .60F
#define LEXICAL_CHAR4_SHARE .40F
#define LEXICAL_COVERAGE_SHARE .03F
#define LEXICAL_TITLE_SHARE .05F

#endif
