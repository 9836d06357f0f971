/* Conversations that people have kept: the questions of answers' records with what was answered, in
 * order, under a title; and links to them for others of the tenant. They lie in the tenant's
 * serve.db beside the answers' records, go with those (an erasure), after a number of days without
 * a new question, and when their owner says so. What follows an answer in its conversation may say
 * again what that one said: it goes with it, and is hidden with it.
 *
 * A conversation is found by its owner and by nobody else, but through a share: a secret of 256
 * bits, of which the database holds the hash.
 *
 * Functions over sqlite3 run on the lane of answers.h. */
#ifndef CARREL_SERVE_CONVERSATIONS_H
#define CARREL_SERVE_CONVERSATIONS_H

#include <sqlite3.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/status.h"

struct answers;
struct chat;
struct json;
struct arena;

#define EXCHANGES_MAX 200 /* of a conversation */
#define CONVERSATIONS_LISTED_MAX 200
#define CONVERSATION_TITLE_MAX 200 /* bytes */
#define CONVERSATION_SHARES_MAX 20 /* links to one that are alive */
#define CONVERSATION_JSON_MAX ((size_t)32 * 1024 * 1024)
#define CONVERSATION_EXPORT_MAX ((size_t)128 * 1024 * 1024)
#define SHARE_TOKEN_CAP 65 /* 256 bits in hexadecimal, and NUL */

/* tenants/<id>/serve.db. title: '' means the first question; an exchange's question is its
 * answer's. */
#define CONVERSATIONS_SCHEMA                                                                       \
    "CREATE TABLE conversations(id TEXT PRIMARY KEY, user TEXT NOT NULL, title TEXT NOT NULL,"     \
    " created_wall_ms INTEGER NOT NULL, changed_wall_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;"  \
    "CREATE INDEX conversations_by_user ON conversations(user, changed_wall_ms, id);"              \
    "CREATE INDEX conversations_by_time ON conversations(changed_wall_ms);"                        \
    "CREATE TABLE exchanges(answer TEXT PRIMARY KEY REFERENCES answers(id) ON DELETE CASCADE,"     \
    " conversation TEXT NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,"                  \
    " number INTEGER NOT NULL, text TEXT NOT NULL, facts TEXT NOT NULL) STRICT, WITHOUT ROWID;"    \
    "CREATE UNIQUE INDEX exchanges_in_order ON exchanges(conversation, number);"                   \
    "CREATE TABLE shares(hash BLOB PRIMARY KEY, id TEXT NOT NULL UNIQUE,"                          \
    " conversation TEXT NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,"                  \
    " until_number INTEGER NOT NULL, created_wall_ms INTEGER NOT NULL,"                            \
    " expires_wall_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;"                                    \
    "CREATE INDEX shares_by_conversation ON shares(conversation);"

#define CONVERSATION_PREFIX "conv_" /* as OpenAI's API calls them */
#define CONVERSATION_ITEMS_MAX 400  /* that clients put into one */
#define CONVERSATION_ITEMS_TEXT "400"
#define CONVERSATION_BYTES_TEXT "8388608" /* of those: more cannot be gone on with (turns.h) */

/* Likewise. metadata: '' where a question made it, else JSON: then it is there without exchanges.
 * place: the last exchange's number when the item came. */
#define CONVERSATION_ITEMS_SCHEMA                                                                  \
    "ALTER TABLE conversations ADD COLUMN metadata TEXT NOT NULL DEFAULT '';"                      \
    "CREATE TABLE conversation_items(id TEXT PRIMARY KEY,"                                         \
    " conversation TEXT NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,"                  \
    " place INTEGER NOT NULL, seq INTEGER NOT NULL, role TEXT NOT NULL, text TEXT NOT NULL,"       \
    " created_wall_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;"                                    \
    "CREATE UNIQUE INDEX conversation_items_in_order ON conversation_items(conversation, seq);"

/* Likewise. kind: '' a message; 'call': of a function, text has the arguments; 'output': what it
 * gave back. answer: whose exchange made the call; NULL: a client put it in. goes_on: the exchange
 * has no question of its own, it goes on from what a function gave back. */
#define CONVERSATION_CALLS_SCHEMA                                                                  \
    "ALTER TABLE exchanges ADD COLUMN goes_on INTEGER NOT NULL DEFAULT 0;"                         \
    "ALTER TABLE conversation_items ADD COLUMN kind TEXT NOT NULL DEFAULT '';"                     \
    "ALTER TABLE conversation_items ADD COLUMN call_id TEXT NOT NULL DEFAULT '';"                  \
    "ALTER TABLE conversation_items ADD COLUMN name TEXT NOT NULL DEFAULT '';"                     \
    "ALTER TABLE conversation_items ADD COLUMN answer TEXT REFERENCES exchanges(answer)"           \
    " ON DELETE CASCADE;"                                                                          \
    "CREATE INDEX conversation_items_by_answer ON conversation_items(answer)"                      \
    " WHERE answer IS NOT NULL;"
/* Of an INSERT of items that are JSON: [{"id", "role", "text", "kind"?, "call_id"?, "name"?}]. */
#define CONVERSATION_ITEM_COLUMNS                                                                  \
    "(id, conversation, place, seq, role, text, created_wall_ms, kind, call_id, name)"
#define CONVERSATION_ITEM_OF_J                                                                     \
    "ifnull(json_extract(j.value, '$.kind'), ''), ifnull(json_extract(j.value, '$.call_id'), '')," \
    " ifnull(json_extract(j.value, '$.name'), '')"

/* Whose, and which; every function here takes one. All text is borrowed. */
struct conversation_ask {
    const char *user, *id;
    const char *title;          /* to be, or "" */
    const char *like;           /* of a list: in the title; NULL: any */
    const char *before;         /* of a list: behind this one; NULL: from the newest */
    int64_t limit;              /* of a list */
    int64_t now_ms, expired_ms; /* what last changed before the latter is not told */
    int64_t keep_days;          /* told in lists */
    int64_t per_user;           /* as many as there may be */
    bool markdown;              /* an export's form */
    bool all;                   /* an export of all of the user's */
    /* items */
    const char *metadata; /* JSON object */
    const char *items;    /* JSON, as CONVERSATION_ITEM_OF_J reads it, or NULL */
    const char *item;     /* "msg_...", "fc_...", "fco_..." */
    bool descending;      /* a list; `before` is what it goes on from */
    /* shares */
    uint8_t hash[SHA256_BYTES];
    const char *share; /* its id */
    const char *token; /* the link's secret, told once */
    int64_t expires_ms;
    const char *readable; /* JSON array of documents that the viewer may read */
    /* out */
    struct buf *out; /* JSON, or an export */
    int64_t count;   /* conversations that went */
};

/* {"conversations": [...], "next": id or null}: newest first. */
enum status conversations_list(sqlite3 *db, struct conversation_ask *a,
                               struct error *err) MUST_CHECK;
/* One with its exchanges and what was said of them. NOT_FOUND. */
enum status conversation_read(sqlite3 *db, struct conversation_ask *a,
                              struct error *err) MUST_CHECK;
enum status conversation_rename(sqlite3 *db, struct conversation_ask *a,
                                struct error *err) MUST_CHECK;
enum status conversation_delete(sqlite3 *db, struct conversation_ask *a,
                                struct error *err) MUST_CHECK;
/* All of the user's, with the records of their answers, out of the file too. */
enum status conversations_erase(sqlite3 *db, struct conversation_ask *a,
                                struct error *err) MUST_CHECK;
/* One, or all; oldest first. */
enum status conversations_export(sqlite3 *db, struct conversation_ask *a,
                                 struct error *err) MUST_CHECK;
/* Those that did not change since expired_ms, and links that are over, go. */
enum status conversations_expire(sqlite3 *db, int64_t now_ms, int64_t expired_ms,
                                 struct error *err) MUST_CHECK;

/* May the user have another? TOO_LARGE: he has as many as he may. */
enum status conversations_room(sqlite3 *db, const struct conversation_ask *a,
                               struct error *err) MUST_CHECK;

/* ---- conversations_items.c: as OpenAI's API has them; all but _messages tell JSON ---- */

/* id is the new one's. TOO_LARGE. */
enum status conversation_create(sqlite3 *db, struct conversation_ask *a,
                                struct error *err) MUST_CHECK;
enum status conversation_tell(sqlite3 *db, struct conversation_ask *a,
                              struct error *err) MUST_CHECK;
enum status conversation_describe(sqlite3 *db, struct conversation_ask *a,
                                  struct error *err) MUST_CHECK;
enum status conversation_items(sqlite3 *db, struct conversation_ask *a,
                               struct error *err) MUST_CHECK;
enum status conversation_item(sqlite3 *db, struct conversation_ask *a,
                              struct error *err) MUST_CHECK;
enum status conversation_add_items(sqlite3 *db, struct conversation_ask *a,
                                   struct error *err) MUST_CHECK;
/* One of an exchange takes the other with it, and the links to it. */
enum status conversation_drop_item(sqlite3 *db, struct conversation_ask *a,
                                   struct error *err) MUST_CHECK;
/* All of it as chat messages, separated by commas; count of them. */
enum status conversation_messages(sqlite3 *db, struct conversation_ask *a,
                                  struct error *err) MUST_CHECK;

/* ---- conversations_share.c ---- */

enum status share_create(sqlite3 *db, struct conversation_ask *a, struct error *err) MUST_CHECK;
enum status shares_list(sqlite3 *db, struct conversation_ask *a, struct error *err) MUST_CHECK;
enum status share_delete(sqlite3 *db, struct conversation_ask *a, struct error *err) MUST_CHECK;
/* The documents that the answers behind a link were made from, one a line, to out. NOT_FOUND: there
 * is no such link, or it is over. TOO_LARGE: more than SHARE_DOCUMENTS_MAX. */
#define SHARE_DOCUMENTS_MAX 512
enum status share_documents(sqlite3 *db, struct conversation_ask *a, struct error *err) MUST_CHECK;
/* What is behind the link, up to the first answer that was made from a document which is not among
 * readable: from there on the exchanges are there, but empty and "hidden". */
enum status share_read(sqlite3 *db, struct conversation_ask *a, struct error *err) MUST_CHECK;

/* ---- conversations_keep.c: a chat that is to be kept ---- */

struct chat_conversation;
/* Reads "conversation" of the body: "new", or the id of one of the asker's. go runs when it can be
 * gone on with, at once where nothing is to be kept; else an error was answered. */
void chat_conversation_begin(struct chat *c, const struct json *body, void (*go)(struct chat *c));
/* The text of a message's content: a string, or parts of text; false: it is something else.
 * Several parts are joined by lines, in the arena. */
bool conversation_item_text(const struct json *content, struct arena *a, struct str *out);
/* The chat is complete and recorded; it is told when this is written. */
void chat_conversation_keep(struct chat *c);
/* Its id, or NULL. */
const char *chat_conversation_id(const struct chat *c);

/* ---- in what is to be forgotten (answers_forget.c); inside its transaction ---- */

/* Before the answers of erased documents go; erased: SQL of a set of their ids. */
enum status conversations_drop_erased(sqlite3 *db, const char *erased,
                                      struct error *err) MUST_CHECK;
/* Those without an exchange, where nobody made them without one. */
enum status conversations_drop_empty(sqlite3 *db, struct error *err) MUST_CHECK;

#endif
