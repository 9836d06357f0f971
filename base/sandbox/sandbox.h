/* Shutting a process in before it reads what a stranger wrote. Used by carrel-extract, in this
 * order:
 *
 *   sandbox_enter         once, first thing in main: everything but seccomp
 *   sandbox_forked        first thing in a process that this one forks for a document
 *   fork, then in the child sandbox_seal_tool and execve of a tool named in `executables`
 *   sandbox_seal_parser   in the process that goes on to parse
 *
 * After that: no network, no file but what Landlock lets be read and the descriptors already open,
 * no new process, no privileges, and limits on memory, processor time, output, open files and
 * processes. All calls are for a process with one thread. There is no way back. */
#ifndef CARREL_BASE_SANDBOX_H
#define CARREL_BASE_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

struct sandbox_limits {
    uint64_t memory_bytes; /* address space of each process; not under AddressSanitizer, which needs
                              it all */
    uint64_t output_bytes; /* largest file that descriptors already open may grow to */
    uint32_t cpu_s;        /* SIGXCPU, then SIGKILL one second later */
    uint32_t open_files;
    uint32_t processes; /* of this user, once sealed; seccomp refuses any more anyhow */
};

struct sandbox_paths {              /* arrays end with NULL; what does not exist is passed over */
    const char *const *readable;    /* files, or folders with all below */
    const char *const *executables; /* files; the only ones that execve will take */
};

/* Drops root (to the user carrel, or 65534 where there is none), leaves the session, dies with the
 * parent, closes every descriptor above 2, empties the environment, goes to "/", sets the limits,
 * leaves the network namespace where that is allowed, gives up all capabilities, and restricts
 * files by Landlock. Fails when a step that can always work does not; Landlock and namespaces
 * depend on the kernel: see sandbox_landlock_abi. */
enum status sandbox_enter(const struct sandbox_limits *limits, const struct sandbox_paths *paths,
                          struct error *err) MUST_CHECK;

/* In a child of a process that has entered: a session of its own and death with the parent, which
 * are not inherited. parent: its process number, asked for before the fork. */
enum status sandbox_forked(int parent, struct error *err) MUST_CHECK;

/* seccomp for a process that parses and starts nothing: an allow-list. Where the kernel has no
 * Landlock it may not open files at all. */
enum status sandbox_seal_parser(const struct sandbox_limits *limits, struct error *err) MUST_CHECK;

/* seccomp for a process about to execve a tool: the same list and execve. */
enum status sandbox_seal_tool(const struct sandbox_limits *limits, struct error *err) MUST_CHECK;

/* Takes this thread, and every one it starts from now on, the right to read, write or remove
 * anything below `folder`, and nothing else; no_new_privs comes with it. For a service, before it
 * has threads. Files made later right in the folders on the way there (not below others of them)
 * are out of reach too. UNSUPPORTED: this kernel has no Landlock. */
enum status sandbox_hide(const char *folder, struct error *err) MUST_CHECK;

/* The Landlock version of the running kernel; 0: none. A service says so in its log, once. */
int sandbox_landlock_abi(void);

#endif
