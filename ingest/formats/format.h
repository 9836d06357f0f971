/* One document format: how it is recognised and how it yields blocks. A new format is one file here
 * and one row in formats.def; docs/contributing.md walks through it.
 *
 * Parsers are plain functions over a memory range that hand blocks to an emitter; they run inside
 * the sandbox, allocate from one arena with a ceiling, recurse on nothing that a document controls,
 * and answer damaged input with INVALID, what they do not read (encryption) with UNSUPPORTED and a
 * limit with TOO_LARGE or NO_MEMORY, each with a sentence that the document's owner understands. */
#ifndef CARREL_INGEST_FORMATS_FORMAT_H
#define CARREL_INGEST_FORMATS_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"
#include "extract.pb-c.h"
#include "ingest/formats/emit.h"
#include "ingest/formats/tool.h"

struct extract_input {
    int fd;          /* the document, at its start; -1 in tests and fuzzers of memory formats */
    struct str data; /* the same, mapped */
    struct arena *arena;
    uint64_t max_bytes;              /* of anything unpacked: archive members, a tool's output */
    const struct tool_runner *tools; /* NULL where none may be started */
    uint32_t cpu_s; /* processor time it may have; 0: no limit that is known */
};

struct format {
    const char *name; /* "pdf" */
    enum status (*extract)(const struct extract_input *in, struct emitter *e, struct error *err);
};

/* NULL: no such format. */
const struct format *format_find(const char *name);

enum status pdf_extract(const struct extract_input *in, struct emitter *e,
                        struct error *err) MUST_CHECK;
/* Tells its frames as pages to be read. */
enum status image_extract(const struct extract_input *in, struct emitter *e,
                          struct error *err) MUST_CHECK;
enum status docx_extract(const struct extract_input *in, struct emitter *e,
                         struct error *err) MUST_CHECK;
enum status xlsx_extract(const struct extract_input *in, struct emitter *e,
                         struct error *err) MUST_CHECK;
enum status pptx_extract(const struct extract_input *in, struct emitter *e,
                         struct error *err) MUST_CHECK;
/* Word, Excel and PowerPoint of 1997 to 2003, messages of Outlook: looks itself which it is. */
enum status ole_extract(const struct extract_input *in, struct emitter *e,
                        struct error *err) MUST_CHECK;
/* Texts, sheets and presentations. */
enum status odf_extract(const struct extract_input *in, struct emitter *e,
                        struct error *err) MUST_CHECK;
enum status epub_extract(const struct extract_input *in, struct emitter *e,
                         struct error *err) MUST_CHECK;
enum status html_extract(const struct extract_input *in, struct emitter *e,
                         struct error *err) MUST_CHECK;
enum status markdown_extract(const struct extract_input *in, struct emitter *e,
                             struct error *err) MUST_CHECK;
enum status text_extract(const struct extract_input *in, struct emitter *e,
                         struct error *err) MUST_CHECK;
enum status csv_extract(const struct extract_input *in, struct emitter *e,
                        struct error *err) MUST_CHECK;
enum status json_extract(const struct extract_input *in, struct emitter *e,
                        struct error *err) MUST_CHECK;
enum status eml_extract(const struct extract_input *in, struct emitter *e,
                        struct error *err) MUST_CHECK;
enum status mbox_extract(const struct extract_input *in, struct emitter *e,
                        struct error *err) MUST_CHECK;
enum status rtf_extract(const struct extract_input *in, struct emitter *e,
                        struct error *err) MUST_CHECK;
enum status xml_extract(const struct extract_input *in, struct emitter *e,
                        struct error *err) MUST_CHECK;
enum status code_extract(const struct extract_input *in, struct emitter *e,
                        struct error *err) MUST_CHECK;
enum status rst_extract(const struct extract_input *in, struct emitter *e,
                        struct error *err) MUST_CHECK;
enum status asciidoc_extract(const struct extract_input *in, struct emitter *e,
                        struct error *err) MUST_CHECK;
enum status org_extract(const struct extract_input *in, struct emitter *e,
                        struct error *err) MUST_CHECK;
enum status ipynb_extract(const struct extract_input *in, struct emitter *e,
                          struct error *err) MUST_CHECK;
enum status subtitles_extract(const struct extract_input *in, struct emitter *e,
                              struct error *err) MUST_CHECK;

/* Archives of many files; "gz" also reads a single compressed one. */
enum status zip_extract(const struct extract_input *in, struct emitter *e,
                        struct error *err) MUST_CHECK;
enum status tar_extract(const struct extract_input *in, struct emitter *e,
                        struct error *err) MUST_CHECK;
enum status sevenzip_extract(const struct extract_input *in, struct emitter *e,
                        struct error *err) MUST_CHECK;
enum status rar_extract(const struct extract_input *in, struct emitter *e,
                        struct error *err) MUST_CHECK;
enum status cab_extract(const struct extract_input *in, struct emitter *e,
                        struct error *err) MUST_CHECK;
enum status iso_extract(const struct extract_input *in, struct emitter *e,
                        struct error *err) MUST_CHECK;
enum status gz_extract(const struct extract_input *in, struct emitter *e,
                        struct error *err) MUST_CHECK;

#endif
