/* What people say of answers: thumbs up or down for an answer or one of its passages, kept in the
 * tenant's serve.db beside the answer, and gone with it. Only the asker says it. An answer that was
 * liked is a question with known documents for evaluations. */
#ifndef CARREL_SERVE_FEEDBACK_H
#define CARREL_SERVE_FEEDBACK_H

#include "base/arena.h"
#include "retrieve.pb-c.h"
#include "serve/answers.h"

#define FEEDBACK_COMMENT_MAX 1000
#define FEEDBACK_JUDGED_MAX 200

struct request;

struct feedback {
    const char *answer, *user, *comment; /* comment may be "" */
    int64_t passage;                     /* its number in the answer; 0: the answer itself */
    int verdict;                         /* 1, -1, or 0: taken back */
    const char *tenant;
    struct request *request;             /* the API's */
};
/* data: struct feedback. NOT_FOUND where there is no such answer of this user, or no such passage.
 */
enum status feedback_save(sqlite3 *db, void *data, struct error *err) MUST_CHECK;

struct feedback_judged {
    struct arena *a;
    Rt__JudgedQuestion **list;
    size_t n;
};
/* data: struct feedback_judged; the newest FEEDBACK_JUDGED_MAX liked answers with the documents
 * that they cite, except those of passages that were disliked. */
enum status feedback_judged(sqlite3 *db, void *data, struct error *err) MUST_CHECK;

#define FEEDBACK_LISTED_MAX 50

/* What an administrator is told of a tenant's answers since a time: how many there were, how many
 * said that the documents do not tell, thumbs, and of the questions of those that did not and of
 * people's remarks the newest FEEDBACK_LISTED_MAX. */
struct feedback_summary {
    int64_t since_wall_ms;
    struct buf json; /* an object; the caller's to init and deinit */
    struct request *request;
};
/* data: struct feedback_summary. */
enum status feedback_summary(sqlite3 *db, void *data, struct error *err) MUST_CHECK;

#endif
