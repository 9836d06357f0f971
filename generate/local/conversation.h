/* One request as what the model reads: rules, passages and question, or the conversation as it is,
 * with the functions that are offered, in the form that the model was trained on. Pure. */
#ifndef CARREL_GENERATE_LOCAL_CONVERSATION_H
#define CARREL_GENERATE_LOCAL_CONVERSATION_H

#include "generate/generate_rpc.h"
#include "model/grammar.h"
#include "model/template.h"

struct conversation_model {
    const char *name;
    enum template_family family;
    enum template_tools tools;
    const struct tokenizer *tokenizer;
};

/* Functions are offered and may be called. */
bool conversation_offers(const Ge__ChatRequest *ask);
/* The answer can only be a call: tool_choice "required", or one function named. */
bool conversation_forces(const Ge__ChatRequest *ask);
/* Turns that can be left out from the beginning: a question of the user's with all that came to it,
 * but for the last. */
size_t conversation_turns(const Ge__ChatRequest *ask);

/* Token ids of the prompt with the first n passages, without the `skip` oldest turns. out is empty
 * before. INVALID: as the template says; UNSUPPORTED names the model: its template has no section
 * for tools. */
enum status conversation_encode(const Ge__ChatRequest *ask, size_t n_passages, size_t skip,
                                const struct conversation_model *m, struct token_list *out,
                                struct error *err) MUST_CHECK;
/* What the answer must look like; *out NULL: nothing in particular. *call: what a call must look
 * like that the model opens by itself, where a function is strict; NULL: free. Errors name the
 * field. */
enum status conversation_form(const Ge__ChatRequest *ask, enum template_tools tools,
                              struct grammar **out, struct grammar **call,
                              struct error *err) MUST_CHECK;

#endif
