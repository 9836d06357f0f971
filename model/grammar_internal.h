/* The compiled form of a grammar, between grammar.c (which makes it by grammar_build.c),
 * grammar_check.c and grammar_run.c. */
#ifndef CARREL_MODEL_GRAMMAR_INTERNAL_H
#define CARREL_MODEL_GRAMMAR_INTERNAL_H

#include "base/arena.h"
#include "model/grammar.h"

#define GRAMMAR_NONE UINT32_MAX

enum element_kind {
    ELEMENT_END,   /* of an alternate */
    ELEMENT_CLASS, /* one byte of classes[arg] */
    ELEMENT_RULE,  /* a text of rules[arg] */
};

struct element {
    enum element_kind kind;
    uint32_t arg;
};

struct byte_class {
    uint64_t bits[4];
};

/* One way to read a rule: elements from `start` to the next END. */
struct alternate {
    uint32_t start;
    uint32_t next; /* of the same rule, or GRAMMAR_NONE */
};

struct rule {
    const char *name;     /* in the arena; "" for one that stands for a group */
    uint32_t line;        /* where it is first named */
    uint32_t first, last; /* alternates; GRAMMAR_NONE: not defined */
};

struct grammar {
    struct arena arena; /* names */
    struct element *elements;
    uint32_t n_elements, cap_elements;
    struct byte_class *classes;
    uint32_t n_classes, cap_classes;
    struct alternate *alternates;
    uint32_t n_alternates, cap_alternates;
    struct rule *rules;
    uint32_t n_rules, cap_rules;
    uint32_t root;
    /* Bytes that no class tells apart are one group: a state has one way on for each. */
    uint8_t group[256];
    uint8_t sample[256]; /* a byte of the group */
    uint32_t n_groups;
};

static inline bool byte_class_has(const struct byte_class *c, unsigned byte)
{
    return (c->bits[byte >> 6] >> (byte & 63) & 1) != 0;
}

/* grammar_check.c: fills group, sample, n_groups from the classes. */
void grammar_group_bytes(struct grammar *g);
/* A rule that can only go on for ever has no text, and an answer that enters it would never end:
 * INVALID names it. */
enum status grammar_check_productive(const struct grammar *g, struct error *err) MUST_CHECK;
/* grammar_run.c: every rule can be begun in bounded work; INVALID names one that cannot. */
enum status grammar_check(const struct grammar *g, struct error *err) MUST_CHECK;

#endif
