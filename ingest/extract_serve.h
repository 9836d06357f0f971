/* The serving side of carrel-extract: a process that has entered the sandbox and never looks at a
 * document forks a reader for each task that ingest hands it. What is dear about a start (exec, the
 * dynamic linker, the empty network, the rules about files) is paid once; what keeps documents
 * apart stays, since every reader is a process of its own, made from an image in which no document
 * has ever been, and holds the descriptors of its own task only. One thread. */
#ifndef CARREL_INGEST_EXTRACT_SERVE_H
#define CARREL_INGEST_EXTRACT_SERVE_H

#include "base/status.h"
#include "extract.pb-c.h"

#define TASK_DESCRIPTORS 3 /* the document, the pieces, complaints: 0, 1 and 2 of the reader */
#define TASK_MAX 4096      /* bytes of a packed Task or TaskEnd */

/* Runs in the reader, its descriptors in place and no others open; returns the exit status. */
typedef int (*extract_task_fn)(const Ex__Task *task, void *data);

/* Serves tasks from `control` (a SOCK_SEQPACKET socket) until the other side closes it: STATUS_OK,
 * or why it cannot go on. */
enum status extract_serve(int control, extract_task_fn read_one, void *data,
                          struct error *err) MUST_CHECK;

#endif
