/* Making a grammar piece by piece, between grammar.c (which reads the notation) and
 * grammar_build.c. Sequences are put together on a stack, `work`; a rule takes what stands above a
 * mark. */
#ifndef CARREL_MODEL_GRAMMAR_BUILD_H
#define CARREL_MODEL_GRAMMAR_BUILD_H

#include "base/map.h"
#include "model/grammar_internal.h"

#define GRAMMAR_RANGES_MAX 512U
#define GRAMMAR_CODE_POINT_MAX 0x10FFFFU

struct builder {
    struct grammar *g;
    struct map classes;   /* class number + 1 */
    struct element *work; /* of the sequences being read, one above the other; owned */
    uint32_t n_work, cap_work;
    uint32_t line; /* where the reader is */
    struct error *err;
};

struct range {
    uint32_t low, high;
};

enum status builder_push(struct builder *p, enum element_kind kind, uint32_t arg) MUST_CHECK;
/* name: in the grammar's arena; "" for a group. */
enum status builder_rule(struct builder *p, const char *name, uint32_t *out) MUST_CHECK;
/* The work above mark becomes an alternate of rule and leaves the work. */
enum status builder_close(struct builder *p, uint32_t rule, uint32_t mark) MUST_CHECK;
/* One character, as its bytes. */
enum status builder_character(struct builder *p, uint32_t c) MUST_CHECK;
/* A character of these ranges, or of none of them. in: sorted in place; n: at most
 * GRAMMAR_RANGES_MAX. */
enum status builder_ranges(struct builder *p, struct range *in, size_t n, bool negated) MUST_CHECK;

#endif
