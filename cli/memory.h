/* What a process holds in memory, from /proc. */
#ifndef CARREL_CLI_MEMORY_H
#define CARREL_CLI_MEMORY_H

#include <stdint.h>
#include <sys/types.h>

/* Bytes: the proportional set (smaps_rollup) where the kernel lets us read it, else the resident
 * one; 0 when the process is gone. */
uint64_t memory_of_process(pid_t pid);

#endif
