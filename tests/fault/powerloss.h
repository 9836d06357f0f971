/* A power cut, played on a folder. Linked into a program, fsync, fdatasync and msync(MS_SYNC) also
 * keep, in a folder beside, a copy of what they made durable: a file's content, a folder's names.
 * After the program was killed, powerloss_image makes the folder as a disk could have it after the
 * power went: what was synced is there; of everything later each name and each 4 KiB block has
 * arrived or not, as the dice fall. Renames count as durable once their folder is synced. */
#ifndef CARREL_TESTS_POWERLOSS_H
#define CARREL_TESTS_POWERLOSS_H

#include <stdbool.h>
#include <stdint.h>

/* What root holds now is on the disk; kept is emptied. */
bool powerloss_begin(const char *root, const char *kept);
/* From now on this process's syncs below root are kept; false ends it. */
void powerloss_arm(const char *root, const char *kept);
/* Makes out (which must not exist). torn false: nothing unsynced has arrived. */
bool powerloss_image(const char *root, const char *kept, const char *out, bool torn, uint64_t *rnd);

#endif
