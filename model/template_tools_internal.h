/* A conversation with tools on its way to pieces, between template_tools.c (checks, Llama's and
 * Mistral's forms) and template_tool_call.c (those with <tool_call>). */
#ifndef CARREL_MODEL_TEMPLATE_TOOLS_INTERNAL_H
#define CARREL_MODEL_TEMPLATE_TOOLS_INTERNAL_H

#include <jansson.h>

#include "model/template_internal.h"

struct tool_talk {
    const struct template_talk *talk;
    json_t *tools[TEMPLATE_TOOLS_MAX];
    enum template_tools form;
    struct template_pieces *p;
};

/* Somebody's JSON, spaced anew; it lives as long as the pieces. */
void tool_json(struct tool_talk *t, const json_t *v, unsigned indent);
/* The arguments of a call. They were read once already: checked. */
void tool_arguments(struct tool_talk *t, const struct template_call *call);
/* {"name", "description", "parameters"} of a declaration. */
const json_t *tool_function(const json_t *tool);
const char *tool_role_name(enum template_role r);

void tools_qwen(struct tool_talk *t);
void tools_hermes(struct tool_talk *t);

#endif
