/* Chat templates: how a family of models wants a conversation written. GGUF files carry the form as
 * a Jinja program; nothing of it runs here. The family is told by the marks in its text, and this
 * file writes what that program would.
 *
 * A rendering is pieces, not a string, because only the template may write special tokens: what
 * people wrote is tokenized with special parsing off, and marks that a vocabulary has as plain text
 * are broken up in it. */
#ifndef CARREL_MODEL_TEMPLATE_H
#define CARREL_MODEL_TEMPLATE_H

#include "model/tokenizer.h"

#define TEMPLATE_MESSAGES_MAX 512U

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

enum template_role { TEMPLATE_SYSTEM, TEMPLATE_USER, TEMPLATE_ASSISTANT };

struct template_message {
    enum template_role role;
    struct str content; /* borrowed by the pieces */
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
    bool failed; /* out of memory */
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
void template_pieces_deinit(struct template_pieces *p);
/* As one would read it; PIECE_END as "</s>". For people and tests. */
void template_text(const struct template_pieces *p, struct buf *out);
/* The token ids, the beginning-of-text token included where model or family wants it. TOO_LARGE
 * past what `out` takes. */
enum status template_encode(enum template_family f, const struct tokenizer *t,
                            const struct template_pieces *p, struct token_list *out,
                            struct error *err) MUST_CHECK;

#endif
