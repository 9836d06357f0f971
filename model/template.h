/* Chat templates: how a family of models wants a conversation written. GGUF files carry the form as
 * a Jinja program; nothing of it runs here. The family is told by the marks in its text, and this
 * file writes what that program would.
 *
 * A rendering is pieces, not a string, because only the template may write special tokens: what
 * people wrote is tokenized with special parsing off, and marks that a vocabulary has as plain text
 * are broken up in it. */
#ifndef CARREL_MODEL_TEMPLATE_H
#define CARREL_MODEL_TEMPLATE_H

#include "base/arena.h"
#include "model/tokenizer.h"

#define TEMPLATE_MESSAGES_MAX 512U
#define TEMPLATE_TOOLS_MAX 128U
#define TEMPLATE_MADE_MAX ((size_t)8 * 1024 * 1024) /* bytes of tools and calls, written anew */

enum template_family {
    TEMPLATE_CHATML,
    TEMPLATE_QWEN,
    TEMPLATE_QWEN_THINKING, /* can leave its thinking out */
    TEMPLATE_LLAMA2,
    TEMPLATE_LLAMA3,
    TEMPLATE_MISTRAL_V1,
    TEMPLATE_MISTRAL_V3,
    TEMPLATE_MISTRAL_V3_TEKKEN,
    TEMPLATE_MISTRAL_V7,
    TEMPLATE_MISTRAL_V7_TEKKEN,
    TEMPLATE_GEMMA,
    TEMPLATE_PHI3,
    TEMPLATE_PHI4,
    TEMPLATE_ZEPHYR,
    TEMPLATE_DEEPSEEK,
    TEMPLATE_DEEPSEEK2,
    TEMPLATE_DEEPSEEK3,
    TEMPLATE_FAMILIES
};

/* How the file's template writes tools, calls and results: a family has several. */
enum template_tools {
    TOOLS_NONE,           /* it has no such section */
    TOOLS_QWEN,           /* Qwen 2.5: <tools> in the system's message, <tool_call> */
    TOOLS_QWEN_THINKING,  /* Qwen 3: the same, its thoughts left out */
    TOOLS_HERMES,         /* Hermes 2 Pro, 3: the same marks in other words */
    TOOLS_LLAMA3,         /* Llama 3.1 to 3.3: in the first question; one call a turn */
    TOOLS_MISTRAL,        /* v3: [AVAILABLE_TOOLS] before the last question, [TOOL_CALLS] [{...}] */
    TOOLS_MISTRAL_TEKKEN, /* the same without spaces */
    TOOLS_MISTRAL_ARGS,   /* Small 3.2: [TOOL_CALLS]name[CALL_ID]id[ARGS]{...} */
    TOOLS_MISTRAL_NAMED,  /* Ministral 3: the same without ids; tools behind the system's message */
    TOOLS_FORMS
};

enum template_role { TEMPLATE_SYSTEM, TEMPLATE_USER, TEMPLATE_ASSISTANT, TEMPLATE_TOOL };

struct template_call { /* of a function */
    struct str id, name;
    struct str arguments; /* a JSON object */
};

struct template_message {
    enum template_role role;
    struct str content;                /* borrowed by the pieces */
    const struct template_call *calls; /* of the assistant's */
    size_t n_calls;
    struct str call_id; /* of a tool's: whose result the content is */
};

struct template_talk {
    const struct template_message *messages;
    size_t n;
    const struct str *tools; /* declarations: {"type": "function", "function": {...}} */
    size_t n_tools;
    bool thinking; /* where the family can think first, let it */
};

enum template_kind {
    PIECE_MARK,  /* a special token where the vocabulary has it, else these words */
    PIECE_WORDS, /* the template's own words */
    PIECE_GIVEN, /* somebody's text */
    PIECE_END    /* the vocabulary's end-of-text token */
};

struct template_piece {
    enum template_kind kind;
    struct str text;
};

struct template_pieces {
    struct template_piece *items;
    size_t n, cap;
    bool failed;       /* out of memory */
    struct arena made; /* texts that were written for it */
};

/* "chatml", "llama3", ...; the names that generate.chat_template takes. */
const char *template_name(enum template_family f);
bool template_parse(const char *name, enum template_family *out);
/* From the Jinja text (tokenizer.chat_template). false: no family is known by such marks. */
bool template_recognise(struct str jinja, enum template_family *out);
/* The file's own. NOT_FOUND: it has none; UNSUPPORTED: not recognised. Both say which setting
 * chooses one by hand. */
enum status template_of_file(const struct gguf *g, enum template_family *out,
                             struct error *err) MUST_CHECK;

/* The conversation, and after it the beginning of the assistant's turn. System messages come first
 * (families without them put them before the first question). thinking: where the family can think
 * first, let it. INVALID: no message, too many, or a system message after another one. */
enum status template_render(enum template_family f, const struct template_message *messages,
                            size_t n, bool thinking, struct template_pieces *out,
                            struct error *err) MUST_CHECK;
/* The form writes a call's name before its arguments, outside of any JSON. */
static inline bool template_names_first(enum template_tools form)
{
    return form == TOOLS_MISTRAL_ARGS || form == TOOLS_MISTRAL_NAMED;
}
/* The tool section of a family's Jinja text; TOOLS_NONE where there is none that is known. With an
 * empty text (chosen by hand): what the family usually has. */
enum template_tools template_tools_of(enum template_family f, struct str jinja);
const char *template_tools_name(enum template_tools form);
/* The same for a conversation with tools; the last message may be a tool's. As the family's Jinja
 * text writes it, token for token, but that a system message of Mistral's stays with the last
 * question, where the template loses it behind a result (mistral-common keeps it).
 * INVALID: as template_render, no JSON where it should be, a result without its call, or what the
 * family cannot say (two calls in one turn of Llama's). UNSUPPORTED: TOOLS_NONE. */
enum status template_render_tools(enum template_tools form, const struct template_talk *talk,
                                  struct template_pieces *out, struct error *err) MUST_CHECK;
/* Appends what opens a call, so that the answer can only be one (tool_grammar.h). name: of the one
 * function, where the form writes it in the opening. false: out of memory. */
bool template_open_call(enum template_tools form, struct str name, struct template_pieces *p);
void template_pieces_deinit(struct template_pieces *p);
/* As one would read it; PIECE_END as "</s>". For people and tests. */
void template_text(const struct template_pieces *p, struct buf *out);
/* The token ids, the beginning-of-text token included where model or family wants it. TOO_LARGE
 * past what `out` takes. */
enum status template_encode(enum template_family f, const struct tokenizer *t,
                            const struct template_pieces *p, struct token_list *out,
                            struct error *err) MUST_CHECK;

#endif
