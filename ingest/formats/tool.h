/* Running one of the well-known tools beside the parser, in the same sandbox, or two with a pipe
 * between them. They start once, before the parser seals itself; the first reads the document on
 * its standard input. */
#ifndef CARREL_INGEST_FORMATS_TOOL_H
#define CARREL_INGEST_FORMATS_TOOL_H

#include "base/sandbox/sandbox.h"
#include "base/status.h"
#include "base/str.h"

#define TOOL_COMPLAINT_MAX 2048

struct tool {
    int pid;
    int feeder; /* the first of two; 0: none */
    const char *name, *feeder_name;
    int out, errs;
    size_t complaint_len;
    char complaint[TOOL_COMPLAINT_MAX]; /* the beginning of what they wrote to standard error,
                                           NUL-terminated */
};

struct tool_runner { /* an interface, so that a test can play the tool */
    /* The tool's standard output in pieces to on_data until it ends or on_data fails. */
    enum status (*run)(const struct tool_runner *r,
                       enum status (*on_data)(void *data, struct str piece, struct error *err),
                       void *data, struct error *err);
    void *data;
};

/* argv[0] is the path; fd becomes its standard input. Forks: before sandbox_seal_parser. */
enum status tool_start(struct tool *t, const char *const argv[], int fd,
                       const struct sandbox_limits *limits, struct error *err) MUST_CHECK;
/* first reads fd and what it writes is second's standard input. */
enum status tool_start_two(struct tool *t, const char *const first[], const char *const second[],
                           int fd, const struct sandbox_limits *limits,
                           struct error *err) MUST_CHECK;
/* The run of a runner whose data is a started struct tool. A tool that ends badly gives a failure
 * that says in plain words what it did, from its exit status and what it wrote to standard error.
 */
enum status tool_run(const struct tool_runner *r,
                     enum status (*on_data)(void *data, struct str piece, struct error *err),
                     void *data, struct error *err) MUST_CHECK;

#endif
