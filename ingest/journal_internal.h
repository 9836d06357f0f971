/* What the files of the journal share: its connection with the prepared statements, and rows. Only
 * journal*.c include this. */
#ifndef CARREL_INGEST_JOURNAL_INTERNAL_H
#define CARREL_INGEST_JOURNAL_INTERNAL_H

#include "base/db.h"
#include "ingest/journal.h"

/* The columns of struct file_row, in the order of read_row. */
#define ROW_COLUMNS                                                                                \
    "id,document,path,collection,op,state,wanted,done,ino,size,mtime_ns,ctime_ns,attempts,"        \
    "next_attempt_ms,chunks,pages,format,title,error,changed_ms,access,author,language,own_ms,"    \
    "hash,parent,real,depth,member,note,"                                                          \
    "(SELECT c.document FROM files c WHERE c.id=files.parent)"

/* Behind them, for people: how many lie directly in it, and of how many the reading has ended. */
#define MEMBER_COUNTS                                                                              \
    ",(SELECT count(*) FROM files m WHERE m.parent=files.id AND m.op NOT IN (3,4,5))"              \
    ",(SELECT count(*) FROM files m WHERE m.parent=files.id AND m.state IN (1,2))"

/* All that lies in the container ?1, however deep. */
#define MEMBERS_OF                                                                                 \
    "WITH RECURSIVE d(id,op,path) AS (SELECT id,op,path FROM files WHERE parent=?1 UNION ALL"      \
    " SELECT f.id,f.op,f.path FROM files f JOIN d ON f.parent=d.id) "

#define CUT_OTHERWISE                                                                              \
    "state=1 AND op=0 AND cut IS NOT coalesce("                                                    \
    "(SELECT cut FROM temp.cuts c WHERE c.collection=files.collection),"                           \
    "(SELECT cut FROM temp.cuts c WHERE c.collection=''),files.cut)"

#define STATEMENTS(X)                                                                              \
    X(next, "UPDATE counter SET value=value+1 WHERE name='sequence' RETURNING value")              \
    X(raise, "UPDATE counter SET value=max(value,?1) WHERE name='sequence'")                       \
    X(by_path, "SELECT " ROW_COLUMNS " FROM files WHERE path=?1")                                  \
    X(by_document, "SELECT " ROW_COLUMNS MEMBER_COUNTS " FROM files WHERE document=?1")            \
    X(by_ino, "SELECT " ROW_COLUMNS " FROM files WHERE ino=?1 AND size=?2 AND mtime_ns=?3"         \
              " AND path IS NOT NULL LIMIT 8")                                                     \
    X(below, "SELECT " ROW_COLUMNS " FROM files WHERE path>=?1 AND path<?2"                        \
             " AND op NOT IN (3,4,5) ORDER BY path LIMIT ?3")                                      \
    X(below_files, "SELECT " ROW_COLUMNS " FROM files WHERE path>=?1 AND path<?2"                  \
                   " AND op NOT IN (3,4,5) AND parent IS NULL ORDER BY path LIMIT ?3")             \
    X(verify, "SELECT " ROW_COLUMNS " FROM files WHERE id>?1 AND path IS NOT NULL"                 \
              " AND parent IS NULL ORDER BY id LIMIT ?2")                                          \
    X(insert, "INSERT INTO files(document,path,collection,op,state,wanted,ino,size,mtime_ns,"      \
              "ctime_ns,weight,changed_ms) VALUES(?1,?2,?3,1,0,?4,?5,?6,?7,?8,?6,?9)")             \
    X(change, "UPDATE files SET path=?2,collection=?3,op=?4,state=?5,wanted=?6,ino=?7,size=?8,"    \
              "mtime_ns=?9,ctime_ns=?10,weight=?11,attempts=0,next_attempt_ms=0,error=NULL,"       \
              "changed_ms=?12 WHERE id=?1")                                                        \
    X(drop, "DELETE FROM files WHERE id=?1")                                                       \
    X(small, "SELECT " ROW_COLUMNS " FROM files INDEXED BY files_small WHERE state=0"              \
             " AND next_attempt_ms<=?1 AND (op<>1 OR (size<=?3 AND wanted>=?4))"                   \
             " ORDER BY weight,wanted LIMIT ?2")                                                   \
    X(oldest, "SELECT " ROW_COLUMNS " FROM files INDEXED BY files_old WHERE state=0"               \
              " AND next_attempt_ms<=?1 AND (op<>1 OR (size<=?3 AND wanted>=?4))"                  \
              " ORDER BY wanted LIMIT ?2")                                                         \
    X(newest, "SELECT wanted FROM files INDEXED BY files_old WHERE state=0 AND op=1"               \
              " ORDER BY wanted DESC LIMIT 1 OFFSET ?1")                                           \
    X(later, "SELECT min(next_attempt_ms) FROM files WHERE state=0 AND next_attempt_ms>?1")        \
    X(done, "UPDATE files SET done=max(done,?2),hash=?3,format=?4,title=?5,pages=?6,chunks=?7,"    \
            "author=?9,language=?10,own_ms=?11,"                                                   \
            "state=iif(wanted=?2,1,state),op=iif(wanted=?2,0,op),"                                 \
            "note=iif(?12 IS NULL AND hash=?3,note,?12),error=iif(wanted=?2,NULL,error),"          \
            "attempts=iif(wanted=?2,0,attempts),changed_ms=?8,cut=?13"                             \
            " WHERE id=?1")                                                                        \
    X(moved, "UPDATE files SET done=max(done,?2),state=iif(wanted=?2,1,state),"                    \
             "op=iif(wanted=?2,0,op),error=iif(wanted=?2,NULL,error),changed_ms=?3 WHERE id=?1")   \
    X(removed, "DELETE FROM files WHERE id=?1 AND wanted=?2")                                      \
    X(excluded, "UPDATE files SET done=?2,state=3,op=0,hash=NULL,chunks=0,error=NULL,"             \
                "changed_ms=?3 WHERE id=?1 AND wanted=?2")                                         \
    X(unstored, "UPDATE files SET done=max(done,?2),hash=NULL,chunks=0,"                           \
                "op=iif(op IN (2,6),1,op) WHERE id=?1")                                            \
    X(failed, "UPDATE files SET done=?2,state=2,op=0,hash=NULL,chunks=0,error=?3,changed_ms=?4"    \
              " WHERE id=?1 AND wanted=?2")                                                        \
    X(retry, "UPDATE files SET error=?3,next_attempt_ms=?4,attempts=attempts+?5,changed_ms=?6"     \
             " WHERE id=?1 AND wanted=?2")                                                         \
    X(moved_put, "UPDATE files SET done=max(done,?2),op=iif(wanted=?2,1,op),"                      \
                 "weight=iif(wanted=?2,size,weight),wanted=iif(wanted=?2,?3,wanted)"               \
                 " WHERE id=?1")                                                                   \
    X(requeue, "UPDATE files SET op=1,state=0,wanted=?2,weight=size,attempts=0,"                   \
               "next_attempt_ms=0,error=NULL,changed_ms=?3 WHERE id=?1 AND op NOT IN (3,4,5)")     \
    X(list,                                                                                        \
      "SELECT " ROW_COLUMNS MEMBER_COUNTS " FROM files WHERE document>?1 AND op NOT IN (3,4,5)"    \
      " AND state<>3 ORDER BY document LIMIT ?2")                                                  \
    X(list_unready,                                                                                \
      "SELECT " ROW_COLUMNS MEMBER_COUNTS " FROM files WHERE id IN ("                              \
      "SELECT id FROM (SELECT id FROM files WHERE state=0 AND op NOT IN (3,4,5) LIMIT 1000)"       \
      " UNION ALL SELECT id FROM (SELECT id FROM files WHERE state=2 AND op NOT IN (3,4,5)"        \
      " LIMIT 1000)) AND document>?1 ORDER BY document LIMIT ?2")                                  \
    X(count, "SELECT state,count(*),total(iif(state=0 AND op NOT IN (1,6),0,size)),total(pages),"  \
             "total(chunks) FROM files GROUP BY state")                                            \
    X(without_room, "SELECT count(*),coalesce(min(size),0) FROM files WHERE state=2"               \
                    " AND error>='no room: ' AND error<'no room;'")                                \
    X(has_room, "UPDATE files SET op=1,state=0,weight=size,attempts=0,next_attempt_ms=0,"          \
                "error=NULL,wanted=(SELECT value FROM counter WHERE name='sequence')+id"           \
                " WHERE state=2 AND error>='no room: ' AND error<'no room;' AND size<=?1")         \
    X(applied, "UPDATE files SET access=?2 WHERE id=?1")                                           \
    X(note_set, "INSERT OR REPLACE INTO note VALUES(?1,?2)")                                       \
    X(note_get, "SELECT value FROM note WHERE name=?1")                                            \
    X(has_access, "SELECT EXISTS(SELECT 1 FROM files WHERE access<>'')")                           \
    X(judged, "SELECT " ROW_COLUMNS " FROM files WHERE id>?1 AND path IS NOT NULL"                 \
              " AND op NOT IN (3,4,5) AND state<>3 ORDER BY id LIMIT ?2")                          \
    X(relocate, "UPDATE files SET op=iif(state=1,2,iif(op=1 AND access<>?4,6,op)),"                \
                "weight=iif(state=1 OR (op=1 AND access<>?4),0,weight),state=0,wanted=?2,"         \
                "attempts=0,next_attempt_ms=0,error=NULL,changed_ms=?3 WHERE id=?1")               \
    X(by_id, "SELECT " ROW_COLUMNS " FROM files WHERE id=?1")                                      \
    X(members_wait, "SELECT EXISTS(SELECT 1 FROM files WHERE parent=?1 AND state=0"                \
                    " AND op IN (1,6))")                                                           \
    X(known_hash,                                                                                  \
      "SELECT EXISTS(SELECT 1 FROM files WHERE id=?1 AND hash=?2"                                  \
      " AND instr(coalesce(note,''),'" JOURNAL_PASSED_OVER "')=0),"                                \
      "EXISTS(SELECT 1 FROM files f INDEXED BY files_hash WHERE f.hash=?2 AND f.id<>?1 AND "       \
      "f.state=1"                                                                                  \
      " AND f.op=0 AND f.note='' AND NOT EXISTS(SELECT 1 FROM files m WHERE m.parent=f.id))")      \
    X(members_count, "SELECT count(*),total(size) FROM files WHERE path>=?1 AND path<?2"           \
                     " AND parent IS NOT NULL AND parent<>?3 AND op NOT IN (3,4,5)")               \
    X(member_insert,                                                                               \
      "INSERT INTO files(document,path,collection,op,state,wanted,ino,size,mtime_ns,ctime_ns,"     \
      "weight,changed_ms,parent,real,depth,member,seen,format)"                                    \
      " VALUES(?1,?2,?3,1,0,?4,0,?5,?6,0,?5,?7,?8,?9,?10,?11,?12,?13)")                            \
    X(member_change, "UPDATE files SET parent=?2,real=?3,depth=?4,member=?5,seen=?6,size=?7,"      \
                     "mtime_ns=?8,ino=0,ctime_ns=0,format=?9,collection=?10 WHERE id=?1")          \
    X(member_seen, "UPDATE files SET seen=?2,next_attempt_ms=iif(state=0,0,next_attempt_ms)"       \
                   " WHERE id=?1")                                                                 \
    X(members_gone,                                                                                \
      MEMBERS_OF "UPDATE files SET op=3,state=0,weight=0,attempts=0,next_attempt_ms=0,"            \
                 "error=NULL,changed_ms=?2,path=iif(?3,NULL,path),"                                \
                 "wanted=(SELECT value FROM counter WHERE name='sequence')+n.k FROM (SELECT id,"   \
                 "row_number() OVER (ORDER BY id) AS k FROM d WHERE op NOT IN (3,4,5)) AS n"       \
                 " WHERE files.id=n.id")                                                           \
    X(members_unseen, "SELECT " ROW_COLUMNS " FROM files WHERE parent=?1 AND seen<>?2"             \
                      " AND op NOT IN (3,4,5) LIMIT ?3")                                           \
    X(members_moved,                                                                               \
      MEMBERS_OF "UPDATE files SET path=CAST(?2||substr(path,?3) AS BLOB),real=?4,collection=?5,"  \
                 "op=CASE WHEN state=3 OR op IN (3,4,5) THEN op WHEN state=2 THEN 0"               \
                 " WHEN state=1 OR op=2 THEN 2 WHEN access IS NOT NULL THEN 6 ELSE 1 END,"         \
                 "weight=iif(state=1 OR op=2 OR access IS NOT NULL,0,weight),"                     \
                 "state=iif(state=1,0,state),next_attempt_ms=0,changed_ms=?6,"                     \
                 "wanted=(SELECT value FROM counter WHERE name='sequence')+n.k FROM (SELECT id,"   \
                 "row_number() OVER (ORDER BY id) AS k FROM d WHERE path IS NOT NULL) AS n"        \
                 " WHERE files.id=n.id")                                                           \
    X(members_long, "UPDATE files SET path=NULL,op=3,state=0,weight=0 WHERE path>=?1"              \
                    " AND path<?2 AND parent IS NOT NULL AND length(path)>?3")                     \
    X(members_astray, "UPDATE files SET path=NULL,op=3,state=0,weight=0,wanted=(SELECT value+1"    \
                      " FROM counter WHERE name='sequence') WHERE path>=?1 AND path<?2"            \
                      " AND parent IS NOT NULL")                                                   \
    X(burn, "UPDATE counter SET value=value+?1 WHERE name='sequence'")                             \
    X(cut_set, "INSERT OR REPLACE INTO temp.cuts VALUES(?1,?2)")                                   \
    X(cut_count, "SELECT count(*) FROM files WHERE " CUT_OTHERWISE)                                \
    X(cut_page,                                                                                    \
      "SELECT " ROW_COLUMNS " FROM files WHERE id>?1 AND " CUT_OTHERWISE " ORDER BY id LIMIT ?2")  \
    X(cut_done, "UPDATE files SET cut=?3,chunks=?4 WHERE id=?1 AND wanted=?2 AND state=1")         \
    X(events, "SELECT seq,kind,at_ms,document FROM events WHERE seq>?1 ORDER BY seq LIMIT ?2")     \
    X(events_last, "SELECT seq FROM sqlite_sequence WHERE name='events'")                          \
    X(seen, "INSERT OR IGNORE INTO temp.stored(document) VALUES(?1)")

struct journal {
    sqlite3 *db;
#define STATEMENT_FIELD(name, sql) sqlite3_stmt *name;
    STATEMENTS(STATEMENT_FIELD)
#undef STATEMENT_FIELD
};

void journal_bind_blob(sqlite3_stmt *st, int i, struct str s);
/* Inode, size and both times, at i to i + 3. */
void journal_bind_stamp(sqlite3_stmt *st, int i, const struct file_stamp *f);
/* Row number and sequence, at 1 and 2. */
void journal_bind_job(sqlite3_stmt *st, int64_t id, uint64_t sequence);

/* Rows of a bound statement, appended to rows up to limit; their texts lie in a. */
enum status journal_rows(sqlite3_stmt *st, size_t limit, struct arena *a, struct file_row *rows,
                         size_t *n, struct error *err) MUST_CHECK;
enum status journal_one_row(sqlite3_stmt *st, struct arena *a, struct file_row *out, bool *found,
                            struct error *err) MUST_CHECK;
enum status journal_row_at(struct journal *j, struct str path, struct arena *a,
                           struct file_row *out, bool *found, struct error *err) MUST_CHECK;
/* Those below the folder that are not going, by path. */
enum status journal_rows_below(struct journal *j, struct str prefix, size_t limit, struct arena *a,
                               struct file_row **rows, size_t *n, struct error *err) MUST_CHECK;

/* Of them, those that have files of their own. */
enum status journal_files_below(struct journal *j, struct str prefix, size_t limit, struct arena *a,
                                struct file_row **rows, size_t *n, struct error *err) MUST_CHECK;

enum status journal_next_sequence(struct journal *j, uint64_t *out, struct error *err) MUST_CHECK;
/* Writes a row's new wish under a new sequence number. r holds path, op, state and stamp. */
enum status journal_change_row(struct journal *j, struct file_row *r, struct error *err) MUST_CHECK;
/* A new row, to be put. path: "" for none. */
enum status journal_insert_row(struct journal *j, const char *document, struct str path,
                               const char *collection, const struct file_stamp *stamp,
                               struct error *err) MUST_CHECK;
enum status journal_drop_row(struct journal *j, int64_t id, struct error *err) MUST_CHECK;
/* All that lies in the container leaves the store. displaced: something else comes to stand where
 * it stood. */
enum status journal_members_gone(struct journal *j, int64_t container, bool displaced,
                                 struct error *err) MUST_CHECK;
/* The container stands at `to` now, and with it what lies in it. */
enum status journal_members_moved(struct journal *j, const struct file_row *container,
                                  struct str to, struct error *err) MUST_CHECK;
/* [low, high): every path below prefix; both of INGEST_PATH_MAX + 1 bytes. False: it is too long.
 */
bool journal_below_range(struct str prefix, char *low, char *high) MUST_CHECK;
/* Whether it only waits to leave the store. */
bool journal_going(const struct file_row *r);

#endif
