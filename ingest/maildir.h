/* Maildirs: folders of mail, one message a file, as maildir(5) and Maildir++ have them. A folder
 * that holds cur, new and tmp is one. Messages lie in cur and new, under names without an ending;
 * what lies in tmp is not yet delivered. A server's own lists lie beside the three, and mailboxes
 * below it are hidden folders (.Sent) that hold cur, new and tmp of their own. A message keeps what
 * is before the colon of its name when it goes from new to cur and when its flags change. */
#ifndef CARREL_INGEST_MAILDIR_H
#define CARREL_INGEST_MAILDIR_H

#include <stdbool.h>

#include "base/str.h"

enum maildir_place {                 /* what a folder is */
                     MAILDIR_NONE,   /* an ordinary one, or a maildir itself */
                     MAILDIR_HIDDEN, /* hidden, in a maildir: a mailbox of its own, or nothing */
                     MAILDIR_MAIL,   /* a maildir's cur or new */
                     MAILDIR_PASSED, /* what lies in it is not looked at */
};

/* cur, new or tmp. */
bool maildir_part(struct str name);
/* Do both paths name the same message in cur or new? */
bool maildir_same_message(struct str a, struct str b);
/* Is name, in the folder open as fd which is `place`, passed over? By its name as name_ignored says
 * (paths.h) too. Looks at the disk. */
bool maildir_passes_over(int fd, enum maildir_place place, struct str name, bool folder);
/* What the folder `name` in it is. */
enum maildir_place maildir_enter(int fd, enum maildir_place place, struct str name);

#endif
