/* Tool calls in what a model writes: text goes on as it comes, a call is held back from its first
 * byte (half a mark never leaves) until it is whole and checked. What turns out not to be a call
 * of a declared function with a JSON object as arguments is text. Pure; one answer, one thread.
 *
 * The text must carry the marks of the form where they are special tokens: tool_marks names them.
 */
#ifndef CARREL_MODEL_TOOL_READER_H
#define CARREL_MODEL_TOOL_READER_H

#include "model/template.h"

#define TOOL_CALL_MAX ((size_t)256 * 1024) /* bytes; more is text */
#define TOOL_MARKS_MAX 4U

struct tool_sink {
    void (*text)(void *data, struct str s);
    /* The arguments as JSON on one line. */
    void (*call)(void *data, struct str name, struct str arguments);
    void *data;
};

enum tool_reader_state { READER_TEXT, READER_CALL, READER_AFTER };

struct tool_reader {
    enum template_tools form;
    const struct str *names; /* of the declared functions; borrowed */
    size_t n_names;
    const struct tool_sink *sink; /* borrowed */
    enum tool_reader_state state;
    struct buf held;
    struct str name; /* where the opening had it: the answer is the arguments */
    size_t mark;     /* bytes of held that are the call's opening mark */
    size_t calls;    /* so far */
    bool free;       /* no call can come any more: all is text */
    bool refused;    /* something began as a call and was none */
};

void tool_reader_init(struct tool_reader *r, enum template_tools form, const struct str *names,
                      size_t n_names, const struct tool_sink *sink);
void tool_reader_deinit(struct tool_reader *r);
/* The prompt ended with the call's opening (template_open_call, of the same name): the answer
 * begins inside it. name: borrowed. */
void tool_reader_opened(struct tool_reader *r, struct str name);
void tool_reader_add(struct tool_reader *r, struct str text);
/* The answer has ended: what is held and is no call is text. NO_MEMORY, TOO_LARGE. */
enum status tool_reader_end(struct tool_reader *r, struct error *err) MUST_CHECK;

/* The special tokens that belong to calls; at most TOOL_MARKS_MAX. */
size_t tool_marks(enum template_tools form, struct str *out);

#endif
