/* All SQL of the store: the schema and every statement, each with the name catalogue*.c know it by.
 * Row numbers (contents.pk, chunks.no, encoders.pk, terms.id) never leave vectorstore.
 *
 * What is derived lives in the same file and changes in the same transactions as the truth it is
 * derived from: what a row in `chunks` adds to full text is in text_runs until a segment holds it;
 * when the row goes, its postings wait for a merge and are hidden by the visibility bitmap. */
#ifndef CARREL_VECTORSTORE_CATALOGUE_SQL_H
#define CARREL_VECTORSTORE_CATALOGUE_SQL_H

#define CATALOGUE_SCHEMA_1                                                                         \
    "CREATE TABLE state(one INTEGER PRIMARY KEY CHECK(one=1), generation INTEGER NOT NULL,"        \
    " documents INTEGER NOT NULL, visible INTEGER NOT NULL, next_chunk INTEGER NOT NULL,"          \
    " next_vector INTEGER NOT NULL, next_term INTEGER NOT NULL, next_gram INTEGER NOT NULL,"       \
    " gram_base INTEGER NOT NULL, indexed INTEGER NOT NULL, length_total INTEGER NOT NULL,"        \
    " gram_length_total INTEGER NOT NULL, plain_length_total INTEGER NOT NULL,"                    \
    " purge_debt INTEGER NOT NULL, analyzer INTEGER NOT NULL, reindex_from INTEGER NOT NULL) "     \
    "STRICT;"                                                                                      \
    "INSERT INTO state VALUES(1,0,0,0,1,1,1,1,1,0,0,0,0,0,0,0);" /* state: 0 being put, 1          \
                                                                    published, 2 without a         \
                                                                    location, waiting to be        \
                                                                    removed */                     \
    "CREATE TABLE contents(pk INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,"         \
    " hash BLOB NOT NULL, pipeline TEXT NOT NULL, format TEXT NOT NULL, title TEXT NOT NULL,"      \
    " language TEXT NOT NULL, pages INTEGER NOT NULL, size INTEGER NOT NULL,"                      \
    " text_size INTEGER NOT NULL, boxes INTEGER NOT NULL, chunks INTEGER NOT NULL,"                \
    " state INTEGER NOT NULL) STRICT;"                                                             \
    "CREATE INDEX contents_hash ON contents(hash, pipeline);"                                      \
    "CREATE INDEX contents_unsettled ON contents(state) WHERE state<>1;" /* content NULL: removed; \
                                                                            the row stays for its  \
                                                                            sequence */            \
    "CREATE TABLE locations(document TEXT PRIMARY KEY, path BLOB NOT NULL, source TEXT NOT NULL,"  \
    " collection TEXT NOT NULL, label TEXT NOT NULL, readers BLOB NOT NULL,"                       \
    " sequence INTEGER NOT NULL, modified_ms INTEGER NOT NULL, excluded INTEGER NOT NULL,"         \
    " content INTEGER REFERENCES contents(pk)) STRICT, WITHOUT ROWID;"                             \
    "CREATE INDEX locations_content ON locations(content, path);"                                  \
    "CREATE TABLE versions(document TEXT NOT NULL, valid_from INTEGER NOT NULL,"                   \
    " sequence INTEGER NOT NULL, valid_to INTEGER, hash BLOB NOT NULL, path BLOB NOT NULL,"        \
    " PRIMARY KEY(document, sequence, valid_from)) STRICT, WITHOUT ROWID;"                         \
    "CREATE TABLE chunks(no INTEGER PRIMARY KEY, content INTEGER NOT NULL REFERENCES "             \
    "contents(pk),"                                                                                \
    " ordinal INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,"                    \
    " byte INTEGER NOT NULL, page INTEGER NOT NULL, page_end INTEGER NOT NULL,"                    \
    " length INTEGER NOT NULL, gram_length INTEGER NOT NULL, heading TEXT NOT NULL,"               \
    " text BLOB NOT NULL) STRICT;"                                                                 \
    "CREATE UNIQUE INDEX chunks_content ON chunks(content, ordinal);"                              \
    "CREATE TABLE spans(content INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,"  \
    " PRIMARY KEY(content, first)) STRICT, WITHOUT ROWID;" /* state: 0 building, 1 published, 2    \
                                                              retired */                           \
    "CREATE TABLE encoders(pk INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"       \
    " dimensions INTEGER NOT NULL, fitted_on INTEGER NOT NULL, state INTEGER NOT NULL,"            \
    " vectors INTEGER NOT NULL, retired_ms INTEGER NOT NULL) STRICT;"                              \
    "CREATE TABLE vectors(encoder INTEGER NOT NULL, seq INTEGER NOT NULL, chunk INTEGER NOT NULL," \
    " vector BLOB NOT NULL, PRIMARY KEY(encoder, seq)) STRICT, WITHOUT ROWID;"                     \
    "CREATE UNIQUE INDEX vectors_chunk ON vectors(chunk, encoder);"                                \
    "CREATE TABLE content_encoders(content INTEGER NOT NULL, encoder INTEGER NOT NULL,"            \
    " n INTEGER NOT NULL, PRIMARY KEY(content, encoder)) STRICT, WITHOUT ROWID;"                   \
    "CREATE TABLE terms(term BLOB PRIMARY KEY, id INTEGER NOT NULL, df INTEGER NOT NULL,"          \
    " blocks INTEGER NOT NULL) STRICT, WITHOUT ROWID;" /* no: terms.id * 2^20 + number within the  \
                                                          term */                                  \
    "CREATE TABLE blocks(no INTEGER PRIMARY KEY, block BLOB NOT NULL) STRICT;"                     \
    "CREATE TABLE gram_pages(page INTEGER PRIMARY KEY, counts BLOB NOT NULL) STRICT;"              \
    "CREATE TABLE gram_log(seq INTEGER PRIMARY KEY, sign INTEGER NOT NULL, counts BLOB NOT NULL) " \
    "STRICT;"                                                                                      \
    "CREATE TABLE languages(language TEXT PRIMARY KEY, chunks INTEGER NOT NULL) STRICT, WITHOUT "  \
    "ROWID;"                                                                                       \
    "CREATE TABLE purge(one INTEGER PRIMARY KEY CHECK(one=1), after BLOB NOT NULL) STRICT;"

/* Versions know their content and what they were called; tags and dates; a log of what changed that
 * decides who finds what (triggers write it, so that no way of changing a row goes past it).
 * contents.state 3: without a location, kept for its versions. */
#define CATALOGUE_SCHEMA_2                                                                         \
    "ALTER TABLE state ADD COLUMN retained INTEGER NOT NULL DEFAULT 0;"                            \
    "ALTER TABLE state ADD COLUMN versions_from INTEGER NOT NULL DEFAULT 0;"                       \
    "ALTER TABLE locations ADD COLUMN tags BLOB NOT NULL DEFAULT x'';"                             \
    "ALTER TABLE locations ADD COLUMN date_ms INTEGER;"                                            \
    "CREATE TABLE versions_2(no INTEGER PRIMARY KEY, document TEXT NOT NULL,"                      \
    " valid_from INTEGER NOT NULL, valid_to INTEGER, sequence INTEGER NOT NULL, hash BLOB NOT "    \
    "NULL,"                                                                                        \
    " path BLOB NOT NULL, content INTEGER, collection TEXT NOT NULL, label TEXT NOT NULL,"         \
    " tags BLOB NOT NULL, date_ms INTEGER NOT NULL) STRICT;"                                       \
    "INSERT INTO "                                                                                 \
    "versions_2(document,valid_from,valid_to,sequence,hash,path,content,collection,label,tags,"    \
    "date_ms)"                                                                                     \
    " SELECT v.document,v.valid_from,v.valid_to,v.sequence,v.hash,v.path,"                         \
    " CASE WHEN v.valid_to IS NULL THEN l.content END,l.collection,l.label,x'',l.modified_ms"      \
    " FROM versions v JOIN locations l ON l.document=v.document;"                                  \
    "DROP TABLE versions;"                                                                         \
    "ALTER TABLE versions_2 RENAME TO versions;"                                                   \
    "UPDATE state SET versions_from=CAST(strftime('%s','now') AS INTEGER)*1000"                    \
    " WHERE EXISTS(SELECT 1 FROM versions);"                                                       \
    "CREATE INDEX versions_document ON versions(document, valid_from);"                            \
    "CREATE INDEX versions_content ON versions(content, path) WHERE content IS NOT NULL;"          \
    "CREATE INDEX versions_closed ON versions(valid_to) WHERE valid_to IS NOT NULL;"               \
    "CREATE TABLE touched(seq INTEGER PRIMARY KEY, content INTEGER NOT NULL) STRICT;"              \
    "CREATE TRIGGER touched_span AFTER INSERT ON spans BEGIN"                                      \
    " INSERT INTO touched(content) VALUES(new.content); END;"                                      \
    "CREATE TRIGGER touched_span_gone AFTER DELETE ON spans BEGIN"                                 \
    " INSERT INTO touched(content) VALUES(old.content); END;"                                      \
    "CREATE TRIGGER touched_version AFTER INSERT ON versions WHEN new.content IS NOT NULL BEGIN"   \
    " INSERT INTO touched(content) VALUES(new.content); END;"                                      \
    "CREATE TRIGGER touched_version_set AFTER UPDATE ON versions WHEN old.content IS NOT NULL "    \
    "BEGIN"                                                                                        \
    " INSERT INTO touched(content) VALUES(old.content);"                                           \
    " INSERT INTO touched(content) SELECT new.content WHERE new.content IS NOT old.content"        \
    " AND new.content IS NOT NULL; END;"                                                           \
    "CREATE TRIGGER touched_version_gone AFTER DELETE ON versions WHEN old.content IS NOT NULL "   \
    "BEGIN"                                                                                        \
    " INSERT INTO touched(content) VALUES(old.content); END;"                                      \
    "CREATE TRIGGER touched_location AFTER INSERT ON locations BEGIN INSERT INTO touched(content)" \
    " SELECT DISTINCT content FROM versions WHERE document=new.document AND content IS NOT NULL; " \
    "END;"                                                                                         \
    "CREATE TRIGGER touched_location_set AFTER UPDATE ON locations BEGIN INSERT INTO "             \
    "touched(content)"                                                                             \
    " SELECT DISTINCT content FROM versions WHERE document=new.document AND content IS NOT NULL; " \
    "END;"                                                                                         \
    "CREATE TRIGGER touched_location_gone AFTER DELETE ON locations BEGIN INSERT INTO "            \
    "touched(content)"                                                                             \
    " SELECT DISTINCT content FROM versions WHERE document=old.document AND content IS NOT NULL; " \
    "END;"                                                                                         \
    "CREATE TRIGGER touched_content AFTER UPDATE OF state,language,format ON contents BEGIN"       \
    " INSERT INTO touched(content) VALUES(new.pk); END;"

/* Full text lives in segments; here are only the runs that none covers yet. What was indexed before
 * is made again from the chunks, in the background. */
#define CATALOGUE_SCHEMA_3                                                                         \
    "DROP TABLE terms; DROP TABLE blocks; DROP TABLE gram_pages; DROP TABLE gram_log; DROP TABLE " \
    "purge;"                                                                                       \
    "ALTER TABLE state DROP COLUMN next_term; ALTER TABLE state DROP COLUMN next_gram;"            \
    "ALTER TABLE state DROP COLUMN gram_base; ALTER TABLE state DROP COLUMN indexed;"              \
    "ALTER TABLE state DROP COLUMN length_total; ALTER TABLE state DROP COLUMN gram_length_total;" \
    "ALTER TABLE state DROP COLUMN plain_length_total; ALTER TABLE state DROP COLUMN purge_debt;"  \
    "ALTER TABLE state DROP COLUMN analyzer; ALTER TABLE state DROP COLUMN reindex_from;"          \
    "CREATE TABLE text_runs(first INTEGER PRIMARY KEY, last INTEGER NOT NULL, image BLOB NOT "     \
    "NULL) STRICT;"

/* Legal holds over versions: told by ingest, whose journal is the truth. Until it has told them
 * (holds_known 0) no version of an older store is forgotten. */
#define CATALOGUE_SCHEMA_4                                                                         \
    "CREATE TABLE holds(id TEXT PRIMARY KEY, kind INTEGER NOT NULL, target BLOB NOT NULL,"         \
    " round INTEGER NOT NULL) STRICT, WITHOUT ROWID;"                                              \
    "CREATE INDEX holds_target ON holds(kind, target);"                                            \
    "ALTER TABLE state ADD COLUMN holds_known INTEGER NOT NULL DEFAULT 0;"                         \
    "UPDATE state SET holds_known=NOT EXISTS(SELECT 1 FROM versions);"

/* Encoders beside the published one. encoders.state 4: filled, and published only when a person
 * says so. intent: enum encoder_intent. comparison: a packed vs.Comparison, the last one. */
#define CATALOGUE_SCHEMA_5                                                                         \
    "ALTER TABLE encoders ADD COLUMN intent INTEGER NOT NULL DEFAULT 0;"                           \
    "ALTER TABLE encoders ADD COLUMN comparison BLOB NOT NULL DEFAULT x'';"

/* What a fit may know: of the contents up to fitted_to there were fitted_contents, each of them there at all times
 * since its passages were read. As long as there are so many still, it knows of none that is gone. -1: not known. */
#define CATALOGUE_SCHEMA_6                                                                         \
    "ALTER TABLE encoders ADD COLUMN fitted_to INTEGER NOT NULL DEFAULT -1;"                       \
    "ALTER TABLE encoders ADD COLUMN fitted_contents INTEGER NOT NULL DEFAULT 0;"

/* What a document says of itself. Dates are NULL where it says none. */
#define CATALOGUE_SCHEMA_7                                                                         \
    "ALTER TABLE contents ADD COLUMN author TEXT NOT NULL DEFAULT '';"                             \
    "ALTER TABLE contents ADD COLUMN keywords TEXT NOT NULL DEFAULT '';"                           \
    "ALTER TABLE contents ADD COLUMN created_ms INTEGER;"                                          \
    "ALTER TABLE contents ADD COLUMN modified_ms INTEGER;"

/* chunks.unit: the part of the document, as people say it ("slide 4"). chunks.heading has further lines, which are
 * context: what the text needs from before its range. */
#define CATALOGUE_SCHEMA_8 "ALTER TABLE chunks ADD COLUMN unit TEXT NOT NULL DEFAULT '';"

#define ENCODER_COLUMNS                                                                            \
    "pk,name,dimensions,fitted_on,state,vectors,retired_ms,intent,comparison,fitted_to,fitted_contents"
#define CONTENT_COLUMNS                                                                            \
    "pk,id,hash,pipeline,format,title,language,pages,size,text_size,boxes,chunks,state,"           \
    "author,keywords,created_ms,modified_ms"
#define LOCATION_COLUMNS                                                                           \
    "document,path,source,collection,label,readers,sequence,modified_ms,excluded,content,tags,"    \
    "date_ms"
#define CHUNK_COLUMNS                                                                              \
    "no,content,ordinal,first,last,byte,page,page_end,length,gram_length,heading,text,unit"

/* A version as a place where a content stood, with the readers that its document has today. */
#define PLACE_COLUMNS                                                                              \
    "v.content,v.document,v.path,v.collection,v.label,v.tags,v.date_ms,v.valid_from,"              \
    "coalesce(v.valid_to,9223372036854775807),l.readers,l.excluded,l.label,k.language,k.format,"   \
    "v.valid_to IS NULL AND l.content IS v.content,k.author,k.pages,k.hash"
#define PLACE_TABLES                                                                               \
    " FROM versions v JOIN locations l ON l.document=v.document JOIN contents k ON k.pk=v.content"

/* A version, what it was called and where its document stands now. */
#define VERSION_KEY_COLUMNS                                                                        \
    "v.no,v.content,v.valid_to,v.document,v.path,v.collection,l.path,l.collection"                 \
    " FROM versions v LEFT JOIN locations l ON l.document=v.document"

#define CATALOGUE_STATEMENTS(X)                                                                    \
    X(STATE_GET,                                                                                   \
      "SELECT generation,documents,visible,next_chunk,next_vector,retained,versions_from FROM "    \
      "state")                                                                                     \
    X(STATE_SET, "UPDATE state SET generation=?1,documents=?2,visible=?3,next_chunk=?4,"           \
                 "next_vector=?5,retained=?6,versions_from=?7")                                    \
    X(CONTENT_FIND,                                                                                \
      "SELECT " CONTENT_COLUMNS " FROM contents WHERE hash=?1 AND pipeline=?2 AND state IN(1,3)")  \
    X(CONTENT_BY_PK, "SELECT " CONTENT_COLUMNS " FROM contents WHERE pk=?1")                       \
    X(CONTENT_BY_ID, "SELECT " CONTENT_COLUMNS " FROM contents WHERE id=?1")                       \
    X(CONTENT_AFTER, "SELECT " CONTENT_COLUMNS " FROM contents WHERE pk>?1 ORDER BY pk LIMIT 1")   \
    X(CONTENT_UNSETTLED,                                                                           \
      "SELECT " CONTENT_COLUMNS " FROM contents WHERE state=?1 AND state<>1 LIMIT 1")              \
    X(CONTENT_ADD, "INSERT INTO contents(id,hash,pipeline,format,title,language,pages,size,"       \
                   "text_size,boxes,chunks,state,author,keywords,created_ms,modified_ms)"        \
                   " VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16)") \
    X(CONTENT_UPDATE,                                                                              \
      "UPDATE contents SET language=?2,text_size=?3,boxes=?4,chunks=?5,state=?6 WHERE pk=?1")      \
    X(CONTENT_DELETE, "DELETE FROM contents WHERE pk=?1")                                          \
    X(CONTENT_USES, "SELECT count(*), sum(pipeline=?2) FROM contents WHERE hash=?1")               \
    X(LOCATION_GET, "SELECT " LOCATION_COLUMNS " FROM locations WHERE document=?1")                \
    /* one row is read whether the document is there or not: its own, or the nearest */            \
    X(LOCATION_ASKED, "WITH near(here,last) AS MATERIALIZED (SELECT"                               \
                      " (SELECT min(document) FROM locations WHERE document>=?1),"                 \
                      " (SELECT max(document) FROM locations)) SELECT " LOCATION_COLUMNS           \
                      " FROM near CROSS JOIN locations ON document=coalesce(here,last)")           \
    X(LOCATION_SET, "INSERT OR REPLACE INTO locations(" LOCATION_COLUMNS                           \
                    ") VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)")                            \
    X(LOCATION_AFTER, "SELECT " LOCATION_COLUMNS " FROM locations WHERE document>?1 AND"           \
                      " content IS NOT NULL ORDER BY document LIMIT 1")                            \
    X(LOCATION_ANY, "SELECT 1 FROM locations WHERE content=?1 LIMIT 1")                            \
    X(LOCATION_COUNT, "SELECT count(*) FROM locations WHERE content IS NOT NULL")                  \
    X(VERSION_OPEN,                                                                                \
      "INSERT INTO "                                                                               \
      "versions(document,valid_from,sequence,hash,path,content,collection,label,tags,date_ms)"     \
      " VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,coalesce(?10,(SELECT coalesce(modified_ms,created_ms)"   \
      " FROM contents WHERE pk=?6),?11))") /* a rule's date, the document's own, the file's */     \
    X(VERSION_LAST, "SELECT max(coalesce(valid_to,valid_from)) FROM versions WHERE document=?1")   \
    X(VERSION_CLOSE, "UPDATE versions SET valid_to=?2 WHERE document=?1 AND valid_to IS NULL")     \
    X(VERSION_RECUT, "UPDATE versions SET content=?3 WHERE document=?1 AND content=?2")            \
    X(VERSION_EXCESS,                                                                              \
      "SELECT " VERSION_KEY_COLUMNS " WHERE v.document=?1 AND v.valid_to IS NOT NULL"              \
      " ORDER BY v.valid_from DESC, v.no DESC LIMIT 16 OFFSET ?2")                                 \
    X(VERSION_EXPIRED,                                                                             \
      "SELECT " VERSION_KEY_COLUMNS " WHERE v.valid_to<=?1 AND (v.valid_to,v.no)>(?2,?3)"          \
      " ORDER BY v.valid_to, v.no LIMIT ?4")                                                       \
    X(HOLDS_STATE, "SELECT holds_known,(SELECT count(*) FROM holds) FROM state")                   \
    X(HOLDS_KNOWN, "UPDATE state SET holds_known=?1")                                              \
    X(HOLD_ON, "SELECT id FROM holds WHERE kind=?1 AND target=?2 LIMIT 1")                         \
    X(HOLD_SET, "INSERT OR REPLACE INTO holds(id,kind,target,round) VALUES(?1,?2,?3,?4)")          \
    X(HOLDS_LIFT, "DELETE FROM holds WHERE round<>?1")                                             \
    X(VERSION_KEYS_OF, "SELECT " VERSION_KEY_COLUMNS " WHERE v.document=?1")                       \
    X(VERSION_KEYS_ELSEWHERE,                                                                      \
      "SELECT " VERSION_KEY_COLUMNS " WHERE v.content=?1 AND v.document<>?2"                       \
      " ORDER BY v.path, v.document")                                                              \
    X(VERSION_DELETE, "DELETE FROM versions WHERE no=?1")                                          \
    X(VERSION_ANY, "SELECT 1 FROM versions WHERE content=?1 LIMIT 1")                              \
    X(PLACES_ALL,                                                                                  \
      "SELECT " PLACE_COLUMNS PLACE_TABLES " WHERE v.content IS NOT NULL AND k.state IN(1,3)")     \
    X(PLACES_OF, "SELECT " PLACE_COLUMNS PLACE_TABLES " WHERE v.content=?1 AND k.state IN(1,3)"    \
                 " ORDER BY v.path, v.document")                                                   \
    X(PLACE_AT, "SELECT " PLACE_COLUMNS PLACE_TABLES " WHERE v.document=?1 AND v.valid_from<=?2"   \
                " AND coalesce(v.valid_to,9223372036854775807)>?2 AND k.state IN(1,3)"             \
                " ORDER BY v.valid_from DESC, v.no DESC LIMIT 1")                                  \
    X(PLACE_AFTER_AT,                                                                              \
      "SELECT " PLACE_COLUMNS PLACE_TABLES " WHERE v.document>?1 AND v.valid_from<=?2"             \
      " AND coalesce(v.valid_to,9223372036854775807)>?2 AND k.state IN(1,3)"                       \
      " ORDER BY v.document, v.valid_from LIMIT 1")                                                \
    X(VERSIONS_OF, "SELECT v.valid_from,coalesce(v.valid_to,9223372036854775807),v.hash,v.path,"   \
                   "coalesce(k.title,''),v.collection,v.label,v.tags,v.date_ms,k.state IN(1,3)"    \
                   " FROM versions v LEFT JOIN contents k ON k.pk=v.content WHERE v.document=?1"   \
                   " ORDER BY v.valid_from DESC, v.no DESC LIMIT ?2")                              \
    X(TOUCHED_RANGE, "SELECT coalesce((SELECT min(seq) FROM touched),0),"                          \
                     "coalesce((SELECT max(seq) FROM touched),0)")                                 \
    X(TOUCHED_SINCE, "SELECT DISTINCT content FROM touched WHERE seq>?1")                          \
    X(TOUCHED_PRUNE, "DELETE FROM touched WHERE seq<?1")                                           \
    X(VERSION_OPEN_COUNT, "SELECT count(*) FROM versions WHERE valid_to IS NULL")                  \
    X(VERSION_COUNT, "SELECT count(*) FROM versions WHERE document=?1")                            \
    X(VERSION_CONTENTS, "SELECT DISTINCT content FROM versions WHERE document=?1 AND content IS "  \
                        "NOT NULL LIMIT 1000")                                                     \
    X(NAMES_BOUND,                                                                                 \
      "SELECT max(document),count(*) FROM (SELECT document FROM locations WHERE document>?1"       \
      " ORDER BY document LIMIT ?2)")                                                              \
    X(NAMES_SOME,                                                                                  \
      "SELECT document,path,tags FROM locations WHERE document>?1 AND document<=?2"                \
      " AND (length(path)>0 OR length(tags)>0)"                                                    \
      " UNION SELECT document,path,tags FROM versions WHERE document>?1 AND document<=?2")         \
    X(VERSION_FORGET, "DELETE FROM versions WHERE document=?1")                                    \
    X(VERSION_FORGET_CONTENT, "DELETE FROM versions WHERE content=?1")                             \
    X(CHUNK_ADD,                                                                                   \
      "INSERT INTO chunks(" CHUNK_COLUMNS ") VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13)")  \
    X(CHUNK_BY_ORDINAL, "SELECT " CHUNK_COLUMNS " FROM chunks WHERE content=?1 AND ordinal=?2")    \
    X(CHUNKS_OF, "SELECT " CHUNK_COLUMNS                                                           \
                 " FROM chunks WHERE content=?1 AND ordinal>=?2 ORDER BY ordinal LIMIT ?3")        \
    X(CHUNKS_AFTER, "SELECT " CHUNK_COLUMNS " FROM chunks WHERE no>=?1 ORDER BY no LIMIT ?2")      \
    X(CHUNKS_PUBLISHED,                                                                            \
      "SELECT c.no,c.content,c.ordinal,c.first,c.last,c.byte,c.page,c.page_end,c.length,"          \
      "c.gram_length,c.heading,c.text,c.unit FROM chunks c JOIN contents t ON t.pk=c.content"             \
      " WHERE c.no>=?1 AND t.state IN(1,3) ORDER BY c.no LIMIT ?2")                                \
    X(CHUNKS_MISSING,                                                                              \
      "SELECT c.no,c.content,c.ordinal,c.first,c.last,c.byte,c.page,c.page_end,c.length,"          \
      "c.gram_length,c.heading,c.text,c.unit FROM chunks c JOIN contents t ON t.pk=c.content"             \
      " WHERE c.no>=?1 AND t.state IN(1,3) AND NOT EXISTS(SELECT 1 FROM vectors v WHERE"           \
      " v.chunk=c.no AND v.encoder=?3) ORDER BY c.no LIMIT ?2")                                    \
    X(CHUNK_RESCORE,                                                                               \
      "SELECT c.text,t.title,c.heading,t.language,c.length,c.gram_length FROM chunks c"            \
      " JOIN contents t ON t.pk=c.content WHERE c.no=?1")                                          \
    X(CHUNK_NAME,                                                                                  \
      "SELECT t.id,c.ordinal FROM chunks c JOIN contents t ON t.pk=c.content WHERE c.no=?1")       \
    X(CHUNK_COUNT_OF, "SELECT count(*) FROM chunks WHERE content=?1")                              \
    X(CHUNK_DELETE, "DELETE FROM chunks WHERE no=?1")                                              \
    X(SPAN_ADD, "INSERT INTO spans VALUES(?1,?2,?3)")                                              \
    X(SPAN_DELETE, "DELETE FROM spans WHERE content=?1")                                           \
    X(SPANS_ALL, "SELECT first,last FROM spans")                                                   \
    X(SPANS_EACH, "SELECT content,first,last FROM spans ORDER BY content,first")                   \
    X(SPANS_OF, "SELECT content,first,last FROM spans WHERE content=?1 ORDER BY first")            \
    X(ENCODER_BY_NAME, "SELECT " ENCODER_COLUMNS " FROM encoders WHERE name=?1")                   \
    X(ENCODER_BY_STATE, "SELECT " ENCODER_COLUMNS " FROM encoders"                                 \
                        " WHERE state=?1 ORDER BY pk DESC LIMIT 1")                                \
    X(ENCODER_AFTER, "SELECT " ENCODER_COLUMNS " FROM encoders"                                    \
                     " WHERE pk>?1 ORDER BY pk LIMIT 1")                                           \
    X(ENCODER_ADD, "INSERT INTO encoders(name,dimensions,fitted_on,state,vectors,retired_ms,intent)" \
                   " VALUES(?1,?2,?3,?4,0,0,?5)") \
    X(ENCODER_SET, "UPDATE encoders SET state=?2,retired_ms=?3,fitted_on=?4,intent=?5 WHERE pk=?1") \
    X(ENCODER_FITTED, "UPDATE encoders SET fitted_to=?2,fitted_contents=?3 WHERE name=?1")         \
    X(CONTENTS_EVER, "SELECT coalesce(max(seq),0) FROM sqlite_sequence WHERE name='contents'")     \
    X(CONTENTS_TO, "SELECT count(*),count(*) FILTER(WHERE state<>2) FROM contents WHERE pk<=?1")   \
    X(ENCODER_COMPARED, "UPDATE encoders SET comparison=?2 WHERE pk=?1")                           \
    X(ENCODER_COUNT, "UPDATE encoders SET vectors=vectors+?2 WHERE pk=?1")                         \
    X(ENCODER_DELETE, "DELETE FROM encoders WHERE pk=?1")                                          \
    X(VECTOR_ADD, "INSERT OR IGNORE INTO vectors VALUES(?1,?2,?3,?4)")                             \
    X(VECTORS_BETWEEN,                                                                             \
      "SELECT seq,chunk,vector FROM vectors WHERE encoder=?1 AND seq>?2 AND seq<=?3 ORDER BY seq") \
    X(VECTORS_COUNT_BETWEEN,                                                                       \
      "SELECT count(*),max(seq) FROM vectors WHERE encoder=?1 AND seq>?2 AND seq<=?3")             \
    X(VECTORS_OF_CHUNK, "SELECT encoder,seq FROM vectors WHERE chunk=?1")                          \
    X(VECTOR_DELETE, "DELETE FROM vectors WHERE encoder=?1 AND seq=?2")                            \
    X(VECTORS_DELETE_SOME,                                                                         \
      "DELETE FROM vectors WHERE encoder=?1 AND seq IN (SELECT seq FROM vectors"                   \
      " WHERE encoder=?1 ORDER BY seq LIMIT ?2)")                                                  \
    X(CONTENT_ENCODER_ADD,                                                                         \
      "INSERT INTO content_encoders VALUES(?1,?2,?3) ON CONFLICT DO UPDATE SET n=n+?3")            \
    X(CONTENT_ENCODERS, "SELECT encoder,n FROM content_encoders WHERE content=?1")                 \
    X(CONTENT_ENCODERS_DELETE, "DELETE FROM content_encoders WHERE content=?1")                    \
    X(CONTENT_ENCODERS_FORGET, "DELETE FROM content_encoders WHERE encoder=?1")                    \
    X(MISSING_COUNT,                                                                               \
      "SELECT count(*) FROM chunks c JOIN contents t ON t.pk=c.content WHERE t.state IN(1,3) AND"  \
      " NOT EXISTS(SELECT 1 FROM vectors v WHERE v.chunk=c.no AND v.encoder=?1)")                  \
    X(VECTORS_STRAY,                                                                               \
      "SELECT count(*) FROM vectors v WHERE NOT EXISTS(SELECT 1 FROM chunks c WHERE c.no=v.chunk)" \
      " OR NOT EXISTS(SELECT 1 FROM encoders e WHERE e.pk=v.encoder)")                             \
    X(VECTORS_COUNTED,                                                                             \
      "SELECT count(*) FROM vectors v JOIN chunks c ON c.no=v.chunk JOIN contents t"               \
      " ON t.pk=c.content WHERE v.encoder=?1 AND t.state IN(1,3)")                                 \
    X(RUN_ADD, "INSERT OR REPLACE INTO text_runs VALUES(?1,?2,?3)")                                \
    X(RUNS, "SELECT first,last FROM text_runs WHERE first>=?1 ORDER BY first LIMIT ?2")            \
    X(RUNS_IMAGES,                                                                                 \
      "SELECT first,last,image FROM text_runs WHERE first>=?1 ORDER BY first LIMIT ?2")            \
    X(RUN_DELETE, "DELETE FROM text_runs WHERE first=?1")                                          \
    X(LANGUAGE_ADD,                                                                                \
      "INSERT INTO languages VALUES(?1,?2) ON CONFLICT DO UPDATE SET chunks=chunks+?2")            \
    X(LANGUAGES, "SELECT language,chunks FROM languages WHERE chunks>0 ORDER BY chunks DESC, "     \
                 "language LIMIT 16")                                                              \
    X(INTEGRITY, "PRAGMA quick_check(1)")

#endif
