/* Words for the benchmarks of scale: made up, one token each, as frequent as ranks are in people's
 * texts (rank r about once in r). With a topic, some of a text's words come from the topic's own,
 * so that texts have neighbours. */
#ifndef CARREL_TESTS_BENCH_ZIPF_H
#define CARREL_TESTS_BENCH_ZIPF_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ZIPF_VOCABULARY 200000U
#define ZIPF_WORD 16U /* bytes, at most */
#define ZIPF_TOPICS 600U
#define ZIPF_TOPIC_FIRST 3000U /* ranks from here on: so many words each */
#define ZIPF_TOPIC_WORDS 250U

static inline uint32_t zipf_random(uint64_t *rng, uint32_t n)
{
    *rng = *rng * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(*rng >> 33) % n;
}

static inline uint32_t zipf_rank(uint64_t *rng, uint32_t most)
{
    return (uint32_t)exp((double)zipf_random(rng, 1U << 30) / (1U << 30) * log((double)most));
}

/* A word for a rank: letters, so that it is one token; longer the rarer. Returns its length. */
static inline size_t zipf_word(uint32_t rank, char *out)
{
    static const char *const syllables[] = {"ba", "ke", "li", "mo", "nu", "ra", "se", "ti",
                                            "vo", "zu", "da", "fe", "gi", "ho", "pu", "la"};
    size_t n = 0;
    for (rank += 16; rank > 0; rank /= 16) {
        memcpy(out + n, syllables[rank % 16], 2);
        n += 2;
    }
    return n;
}

static inline uint32_t zipf_topic_rank(uint64_t *rng, uint32_t topic)
{
    return ZIPF_TOPIC_FIRST + topic * ZIPF_TOPIC_WORDS + zipf_rank(rng, ZIPF_TOPIC_WORDS);
}

/* n words with stops; every other one of the topic (ZIPF_TOPICS: none). out: n * (ZIPF_WORD + 2).
 */
static inline size_t zipf_text(uint64_t *rng, uint32_t topic, uint32_t n, char *out)
{
    size_t at = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t rank = topic < ZIPF_TOPICS && i % 2 == 1 ? zipf_topic_rank(rng, topic)
                                                          : zipf_rank(rng, ZIPF_VOCABULARY);
        at += zipf_word(rank, out + at);
        out[at++] = i % 12 == 11 ? '.' : ' ';
        if (i % 12 == 11) {
            out[at++] = ' ';
        }
    }
    return at;
}

#endif
