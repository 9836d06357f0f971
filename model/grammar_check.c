/* What is looked at once a grammar has been read. */
#include <stdlib.h>

#include "model/grammar_internal.h"

/* Splits the groups by each class in turn. */
void grammar_group_bytes(struct grammar *g)
{
    g->n_groups = 1;
    for (uint32_t c = 0; c < g->n_classes && g->n_groups < 256; c++) {
        uint16_t split[2][256]; /* group and membership -> new group + 1 */
        uint32_t n = 0;
        memset(split, 0, sizeof split);
        for (unsigned b = 0; b < 256; b++) {
            uint16_t *to = &split[byte_class_has(&g->classes[c], b) ? 1 : 0][g->group[b]];
            *to = *to == 0 ? (uint16_t)++n : *to;
            g->group[b] = (uint8_t)(*to - 1);
        }
        g->n_groups = n;
    }
    for (unsigned b = 256; b-- > 0;) {
        g->sample[g->group[b]] = (uint8_t)b;
    }
}

/* A rule that can only go on for ever has no text, and an answer that enters it would never end.
 * Counts, for each alternate, the rules it still waits for; a rule with a text releases those that
 * name it. */
enum status grammar_check_productive(const struct grammar *g, struct error *err)
{
    uint32_t *waits = calloc((size_t)g->n_alternates + 1, sizeof *waits);
    uint32_t *of_rule = calloc((size_t)g->n_alternates + 1, sizeof *of_rule);
    uint32_t *first = calloc((size_t)g->n_rules + 2, sizeof *first); /* places where it is named */
    uint32_t *named = calloc((size_t)g->n_elements + 1, sizeof *named);
    uint32_t *todo = calloc((size_t)g->n_rules + 1, sizeof *todo);
    bool *good = calloc((size_t)g->n_rules + 1, sizeof *good);
    uint32_t n_todo = 0;
    enum status s = STATUS_OK;
    if (waits == NULL || of_rule == NULL || first == NULL || named == NULL || todo == NULL ||
        good == NULL) {
        s = error_set(err, STATUS_NO_MEMORY, "out of memory");
        goto out;
    }
    /* first[r + 1] begins as where r's places start and ends as where they end */
    for (uint32_t e = 0; e < g->n_elements; e++) {
        if (g->elements[e].kind == ELEMENT_RULE) {
            first[g->elements[e].arg + 2]++;
        }
    }
    for (uint32_t r = 1; r < g->n_rules + 2; r++) {
        first[r] += first[r - 1];
    }
    for (uint32_t r = 0; r < g->n_rules; r++) {
        for (uint32_t i = g->rules[r].first; i != GRAMMAR_NONE; i = g->alternates[i].next) {
            of_rule[i] = r;
            for (uint32_t e = g->alternates[i].start; g->elements[e].kind != ELEMENT_END; e++) {
                if (g->elements[e].kind == ELEMENT_RULE) {
                    named[first[g->elements[e].arg + 1]++] = i;
                    waits[i]++;
                }
            }
            if (waits[i] == 0 && !good[r]) {
                good[r] = true;
                todo[n_todo++] = r;
            }
        }
    }
    while (n_todo > 0) {
        uint32_t r = todo[--n_todo];
        for (uint32_t k = first[r]; k < first[r + 1]; k++) {
            uint32_t i = named[k];
            if (--waits[i] == 0 && !good[of_rule[i]]) {
                good[of_rule[i]] = true;
                todo[n_todo++] = of_rule[i];
            }
        }
    }
    for (uint32_t r = 0; r < g->n_rules && s == STATUS_OK; r++) {
        if (!good[r]) {
            s = error_set(err, STATUS_INVALID,
                          "line %u of the grammar: %s%s has no text that ends: every way through "
                          "it comes back to it",
                          g->rules[r].line, g->rules[r].name[0] == '\0' ? "a group" : "rule ",
                          g->rules[r].name);
        }
    }
out:
    free(waits);
    free(of_rule);
    free(first);
    free(named);
    free(todo);
    free(good);
    return s;
}
