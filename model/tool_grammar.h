/* What a call must look like, as a grammar: one of the functions that may be called, by its name,
 * with arguments that its schema admits. */
#ifndef CARREL_MODEL_TOOL_GRAMMAR_H
#define CARREL_MODEL_TOOL_GRAMMAR_H

#include "model/grammar.h"
#include "model/template.h"

struct tool_offer {
    struct str declaration; /* {"type": "function", "function": {...}} */
    bool strict; /* a schema that cannot be decoded to is an error; else any object will do then */
};

/* The rest of an answer whose prompt ends with template_open_call, or of one that has opened a call
 * by itself. one: a single call, else as
 * many as the form can hold in one piece. INVALID, UNSUPPORTED (a form that cannot be held to
 * several functions; a strict schema with a keyword that cannot be decoded to), with the
 * function's name. */
enum status tool_grammar(enum template_tools form, const struct tool_offer *offers, size_t n,
                         bool one, struct grammar **out, struct error *err) MUST_CHECK;

/* A form without an opening mark (Llama's): an answer that is such a call, or text that does not
 * begin like one. */
enum status tool_grammar_or_text(enum template_tools form, const struct tool_offer *offers,
                                 size_t n, struct grammar **out, struct error *err) MUST_CHECK;

#endif
