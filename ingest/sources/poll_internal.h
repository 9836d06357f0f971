/* Between the steps of a poll: poll.c begins and ends it, poll_list.c lists, poll_fetch.c fetches.
 */
#ifndef CARREL_INGEST_SOURCES_POLL_INTERNAL_H
#define CARREL_INGEST_SOURCES_POLL_INTERNAL_H

#include "base/list.h"
#include "ingest/sources/fetch.h"
#include "ingest/sources/poll.h"

struct polling {
    struct source_job *j;
    const struct source_settings *s;
    struct source_state *state;
    struct fetcher *fetcher;
    struct origin
        origin; /* that keys count from; S3: with the bucket and the folder of the prefix */
    int folder; /* of the source, open */
    struct list folders; /* still to be listed */
    size_t n_folders;
    unsigned depth; /* of the folder being listed */
    struct buf page, key;
    uint64_t listed; /* files of this poll */
    int64_t retry_after_s;
    bool doubtful; /* the listing has far fewer files than there are, for the first time */
};

/* OK only when all of it was told. */
enum status poll_list(struct polling *p, struct error *err) MUST_CHECK;
/* What has changed; failures of single files are written down. */
enum status poll_fetch(struct polling *p, struct error *err) MUST_CHECK;
/* What the source has no longer. */
enum status poll_delete(struct polling *p, struct error *err) MUST_CHECK;
/* What an HTTP status other than 2xx and 304 means; *whole: for the source, not only for the file.
 */
enum status poll_explain(struct polling *p, const struct fetch_reply *r, bool *whole,
                         struct error *err) MUST_CHECK;

#endif
