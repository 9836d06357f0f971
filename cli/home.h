/* The data directory before anything runs: made, owned, locked. */
#ifndef CARREL_CLI_HOME_H
#define CARREL_CLI_HOME_H

#include <stddef.h>
#include <sys/types.h>

#include "base/settings/settings.h"
#include "base/status.h"

#define SERVICE_USER "carrel"

/* Makes home and the folders the supervisor owns, checks that they can be written, and writes the
 * commented carrel.yaml where there is none (*wrote_config tells). `say` gets sentences for people.
 */
enum status home_prepare(const char *home, bool *wrote_config, struct error *err) MUST_CHECK;
/* The watched folder of the first tenant, made where it is missing and no document was ever read
 * from it; out gets its name, *ours
 * whether it is the appliance's to own (in the data directory, or made just now). */
enum status home_watch(const char *home, const struct settings *s, char *out, size_t cap,
                       bool *ours, struct error *err) MUST_CHECK;
/* One supervisor a home: takes the lock, or STATUS_CONFLICT. *lock_fd is the caller's to keep open;
 * *alive_fd is for the services to inherit: it is had only when no service of an earlier supervisor
 * lives any more (waits for them up to 10 s). */
enum status home_lock(const char *home, int *lock_fd, int *alive_fd, struct error *err) MUST_CHECK;
/* Does somebody hold the lock? */
bool home_is_running(const char *home);

/* Started as root. Makes the system user where it is missing, gives it home and the watched folder,
 * and lets it through the folders above `paths` (search only, by ACL, said on standard output). */
enum status home_give_to_user(const char *home, const char *watch, bool watch_is_ours,
                              const char *const *paths, size_t n_paths,
                              struct error *err) MUST_CHECK;

#endif
