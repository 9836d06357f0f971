/* carrel-extract: one document on standard input, ex.Piece messages on standard output, nothing
 * else.
 *
 *   carrel-extract --serve [limits]    as ingest runs it: tasks on standard input, each read in a
 *                                      process of its own (extract_serve.h)
 *   carrel-extract --format pdf|docx|html|md|txt [limits] [--members N --unpacked-kb N]
 *                                      with --members what lies in archives and is attached to
 *                                      mails comes out too, so many with so many bytes
 *   carrel-extract --ocr PAGE --languages eng+deu [--dpi N | --picture] [--min-confidence N]
 *                                      the page's text, read from its picture
 *   carrel-extract --render PAGE --dpi N [--picture] [limits]
 *   carrel-extract --detect NAME       prints the format that a file of that name and with this
 *                                      beginning is read as; nothing: none
 *
 * --picture: the document is a picture file and no PDF. Shuts itself in first, starts the tools if
 * any are needed, seals itself, and only then looks at the document. Exit status: 0 the last piece
 * says how it went; 2 wrong arguments; 3 nobody reads the output. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sandbox/sandbox.h"
#include "base/tessdata.h"
#include "ingest/extract_serve.h"
#include "ingest/formats/detect.h"
#include "ingest/formats/format.h"
#include "ingest/formats/ocr.h"
#include "ingest/picture.h"
#include "ingest/piece.h"
#include "ingest/render.h"

#define PDFTOTEXT "/usr/bin/pdftotext"
#define PDFTOPPM "/usr/bin/pdftoppm"

#if defined(__SANITIZE_ADDRESS__)
/* The leak checker starts a thread at exit, which the sandbox refuses; parsers' leaks show in the
 * unit tests. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
#endif

struct job {
    const struct format *format; /* NULL: one of the others */
    const char *detect;
    bool serve;
    uint32_t render, ocr; /* pages; 0: not that */
    uint32_t dpi, min_confidence;
    const char *languages;
    bool picture;
    bool unpack;                /* members of containers come out, */
    uint64_t members, unpacked; /* so many with so many bytes */
    struct sandbox_limits limits;
};

static const char *const readable[] = {"/usr/lib",
                                       "/lib",
                                       "/lib64",
                                       "/usr/share/poppler",
                                       "/usr/share/fonts",
                                       "/usr/local/share/fonts",
                                       "/usr/share/fontconfig",
                                       "/usr/share/tesseract-ocr",
                                       "/usr/share/tessdata",
                                       "/usr/share/tesseract",
                                       "/var/cache/fontconfig",
                                       "/etc/fonts",
                                       "/etc/ld.so.cache",
                                       "/etc/localtime",
                                       "/usr/share/zoneinfo",
                                       "/dev/null",
                                       "/dev/urandom",
                                       NULL};
static const char *const executables[] = {
    PDFTOTEXT, PDFTOPPM, TESSERACT, "/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1",
    NULL};

static bool number(const char *text, uint64_t least, uint64_t most, uint64_t *out)
{
    char *end = NULL;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || v < least || v > most) {
        return false;
    }
    *out = v;
    return true;
}

static uint32_t dpi_of(const struct job *job, uint32_t asked)
{
    return asked != 0 ? asked : job->ocr != 0 ? 300 : 110;
}

static bool parse_arguments(int argc, char *argv[], struct job *job)
{
    enum {
        FORMAT,
        DETECT,
        SERVE,
        LANGUAGES,
        PICTURE,
        RENDER, /* from here on numbers */
        OCR,
        CONFIDENCE,
        DPI,
        MEMORY,
        CPU,
        OUTPUT,
        FILES,
        PROCESSES,
        MEMBERS,
        UNPACKED
    };
    static const struct option options[] = {{"format", required_argument, NULL, FORMAT},
                                            {"serve", no_argument, NULL, SERVE},
                                            {"detect", required_argument, NULL, DETECT},
                                            {"render", required_argument, NULL, RENDER},
                                            {"languages", required_argument, NULL, LANGUAGES},
                                            {"picture", no_argument, NULL, PICTURE},
                                            {"ocr", required_argument, NULL, OCR},
                                            {"min-confidence", required_argument, NULL, CONFIDENCE},
                                            {"dpi", required_argument, NULL, DPI},
                                            {"memory-mb", required_argument, NULL, MEMORY},
                                            {"cpu-s", required_argument, NULL, CPU},
                                            {"output-mb", required_argument, NULL, OUTPUT},
                                            {"open-files", required_argument, NULL, FILES},
                                            {"processes", required_argument, NULL, PROCESSES},
                                            {"members", required_argument, NULL, MEMBERS},
                                            {"unpacked-kb", required_argument, NULL, UNPACKED},
                                            {NULL, 0, NULL, 0}};
    static const uint64_t most[] = {[RENDER] = 100000,
                                    [OCR] = 100000,
                                    [CONFIDENCE] = 100,
                                    [DPI] = 600,
                                    [MEMORY] = 1048576,
                                    [CPU] = 86400,
                                    [OUTPUT] = 65536,
                                    [FILES] = 4096,
                                    [PROCESSES] = 65536,
                                    [MEMBERS] = 1000000,
                                    [UNPACKED] = (uint64_t)1 << 32};
    uint64_t got[] = {
        [RENDER] = 0,  [OCR] = 0,    [CONFIDENCE] = 0, [DPI] = 0,     [MEMORY] = 512, [CPU] = 60,
        [OUTPUT] = 64, [FILES] = 64, [PROCESSES] = 16, [MEMBERS] = 0, [UNPACKED] = 0};
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == FORMAT) {
            job->format = format_find(optarg);
            if (job->format == NULL) {
                fprintf(stderr, "carrel-extract: no such format: %s\n", optarg);
                return false;
            }
        } else if (c == DETECT) {
            job->detect = optarg;
        } else if (c == SERVE) {
            job->serve = true;
        } else if (c == LANGUAGES && tessdata_valid(optarg)) {
            job->languages = optarg;
        } else if (c == PICTURE) {
            job->picture = true;
        } else if (c < RENDER || c > UNPACKED ||
                   !number(optarg, c >= MEMBERS ? 0 : 1, most[c], &got[c])) {
            fprintf(stderr, "carrel-extract: wrong argument (see the head of extract_main.c)\n");
            return false;
        } else if (c == MEMBERS) {
            job->unpack = true;
        }
    }
    job->render = (uint32_t)got[RENDER];
    job->ocr = (uint32_t)got[OCR];
    job->min_confidence = (uint32_t)got[CONFIDENCE];
    job->dpi = dpi_of(job, (uint32_t)got[DPI]);
    job->members = got[MEMBERS];
    job->unpacked = got[UNPACKED] << 10;
    job->limits = (struct sandbox_limits){
        .memory_bytes = got[MEMORY] << 20,
        .output_bytes = got[OUTPUT] << 20,
        .cpu_s = (uint32_t)got[CPU],
        .open_files = (uint32_t)got[FILES],
        .processes = (uint32_t)got[PROCESSES],
    };
    if (optind != argc ||
        (job->format != NULL) + (job->render != 0) + (job->ocr != 0) + (job->detect != NULL) +
                job->serve !=
            1 ||
        (job->ocr != 0 && job->languages == NULL)) {
        fprintf(stderr,
                "carrel-extract: needs one of --serve, --format NAME, --render PAGE, --ocr PAGE "
                "--languages LIST and --detect NAME\n");
        return false;
    }
    return true;
}

/* What is begun before the process is sealed. */
struct beside {
    struct tool tool;
    struct picture_library *library; /* NULL: not needed */
};

static bool needs_library(const struct job *job)
{
    return job->render != 0 && job->picture;
}

static bool needs_tool(const struct job *job)
{
    return job->format == NULL ? !needs_library(job) : job->format->extract == pdf_extract;
}

/* A page's picture for reading, or a file that is one: to tesseract, which writes a table of words.
 */
static enum status start_ocr(const struct job *job, struct tool *tool, struct error *err)
{
    char page[16], dpi[16], frame[40];
    struct tessdata installed;
    tessdata_look(&installed);
    (void)snprintf(page, sizeof page, "%u", (unsigned)job->ocr);
    (void)snprintf(dpi, sizeof dpi, "%u", (unsigned)job->dpi);
    (void)snprintf(frame, sizeof frame, "tessedit_page_number=%u", (unsigned)job->ocr - 1);
    const char *draw[] = {PDFTOPPM, "-gray", "-r", dpi, "-f", page, "-l", page, "-", NULL};
    const char *read[20] = {TESSERACT,
                            "stdin",
                            "stdout",
                            "-l",
                            job->languages,
                            "--psm",
                            installed.orientation ? "1" : "3",
                            "--tessdata-dir",
                            installed.folder == NULL ? "/" : installed.folder,
                            "-c",
                            "tessedit_create_tsv=1"};
    size_t n = 11;
    read[n++] = job->picture ? "-c" : "--dpi"; /* a file mostly tells its own */
    read[n++] = job->picture ? frame : dpi;
    return tool_start_two(tool, job->picture ? NULL : draw, read, STDIN_FILENO, &job->limits, err);
}

static enum status start_tool(const struct job *job, struct tool *tool, struct error *err)
{
    char page[16], dpi[16];
    if (job->ocr != 0) {
        return start_ocr(job, tool, err);
    }
    (void)snprintf(page, sizeof page, "%u", (unsigned)job->render);
    (void)snprintf(dpi, sizeof dpi, "%u", (unsigned)job->dpi);
    const char *text[] = {PDFTOTEXT, "-bbox-layout", "-", "-", NULL};
    const char *picture[] = {PDFTOPPM, "-png", "-r", dpi, "-f", page, "-l", page, "-", NULL};
    return tool_start(tool, job->format != NULL ? text : picture, STDIN_FILENO, &job->limits, err);
}

static enum status sink(void *data, const Ex__Piece *piece, struct error *err)
{
    (void)data;
    return piece_write(STDOUT_FILENO, piece, err);
}

/* The document in memory: mapped where it is a file, else read. */
static enum status load(const struct job *job, const struct stat *st, struct buf *held,
                        struct str *out, struct error *err)
{
    if (S_ISREG(st->st_mode)) {
        void *p = mmap(NULL, (size_t)st->st_size, PROT_READ, MAP_PRIVATE, STDIN_FILENO, 0);
        if (p == MAP_FAILED) {
            return errno == ENOMEM
                       ? error_set(err, STATUS_TOO_LARGE,
                                   "reading it needs more memory than the limit of %llu MB "
                                   "(extract.memory_mb in carrel.yaml)",
                                   (unsigned long long)(job->limits.memory_bytes >> 20))
                       : error_errno(err, errno, "mapping the document");
        }
        *out = (struct str){p, (size_t)st->st_size};
        return STATUS_OK;
    }
    for (;;) {
        char *room = buf_reserve(held, 65536);
        if (room == NULL) {
            return error_set(err, STATUS_TOO_LARGE,
                             "reading it needs more memory than the limit of %llu MB "
                             "(extract.memory_mb in carrel.yaml)",
                             (unsigned long long)(job->limits.memory_bytes >> 20));
        }
        ssize_t n = read(STDIN_FILENO, room, 65536);
        if (n < 0 && errno != EINTR) {
            return error_errno(err, errno, "reading the document");
        }
        if (n == 0) {
            break;
        }
        held->len += n > 0 ? (size_t)n : 0;
    }
    *out = buf_view(held);
    return STATUS_OK;
}

static enum status render(const struct job *job, const struct stat *st,
                          const struct tool_runner *runner, const struct picture_library *library,
                          struct arena *a, struct buf *held, struct error *err)
{
    struct str data;
    if (!job->picture) {
        return render_page(runner, job->render, job->dpi, sink, NULL, err);
    }
    enum status s = load(job, st, held, &data, err);
    return s == STATUS_OK ? picture_render(library, data, job->render, a, sink, NULL, err) : s;
}

static enum status extract(const struct job *job, const struct stat *st, struct beside *beside,
                           struct error *err)
{
    struct tool_runner runner = {.run = tool_run, .data = &beside->tool};
    struct arena arena;
    struct buf held;
    struct emitter e;
    struct extract_input in = {
        .fd = STDIN_FILENO,
        .arena = &arena,
        .max_bytes = job->limits.memory_bytes / 4,
        .tools = needs_tool(job) ? &runner : NULL,
        .cpu_s = job->limits.cpu_s,
    };
    arena_init(&arena, job->limits.memory_bytes / 2);
    buf_init(&held, job->limits.memory_bytes / 2);
    emit_init(&e, job->limits.output_bytes, sink, NULL);
    if (job->unpack) {
        emit_children_allow(&e, job->members, job->unpacked);
    }
    enum status s = STATUS_OK;
    if (job->render != 0) {
        s = render(job, st, &runner, beside->library, &arena, &held, err);
        goto out;
    }
    if (job->ocr != 0) {
        struct ocr_options o = {
            .page = job->ocr,
            .scale = job->picture ? 1 : 72.0F / (float)job->dpi,
            .min_confidence = (float)job->min_confidence,
        };
        s = ocr_page(&runner, &o, &arena, &e, err);
        if (s == STATUS_OK) {
            s = emit_finish(&e, err);
        }
        goto out;
    }
    if (!needs_tool(job)) {
        s = load(job, st, &held, &in.data, err);
    } else if (S_ISREG(st->st_mode)) { /* beside the tool, if there is room for both */
        struct error unused = {0};
        (void)(load(job, st, &held, &in.data, &unused) == STATUS_OK);
    }
    if (s == STATUS_OK && !needs_tool(job) && in.data.len == 0) {
        s = error_set(err, STATUS_INVALID, "the file is empty");
    }
    if (s == STATUS_OK) {
        s = job->format->extract(&in, &e, err);
    }
    if (s == STATUS_OK) {
        s = emit_finish(&e, err);
    }
out:
    emit_deinit(&e);
    buf_deinit(&held);
    arena_reset(&arena);
    return s;
}

/* In the sandbox: the tools, if any are needed, the seal, and then the document. */
static enum status run(const struct job *job, struct error *err)
{
    struct beside beside = {.library = NULL};
    struct stat st;
    enum status s = STATUS_OK;
    if (fstat(STDIN_FILENO, &st) != 0) {
        s = error_errno(err, errno, "the document on standard input");
    }
    if (s == STATUS_OK && S_ISREG(st.st_mode) && st.st_size == 0) {
        s = error_set(err, STATUS_INVALID, "the file is empty");
    }
    if (s == STATUS_OK && S_ISREG(st.st_mode) && lseek(STDIN_FILENO, 0, SEEK_SET) != 0) {
        s = error_errno(err, errno, "the document on standard input");
    }
    if (s == STATUS_OK && needs_tool(job)) {
        s = start_tool(job, &beside.tool, err);
    }
    if (s == STATUS_OK && needs_library(job)) {
        s = picture_open(&beside.library, err);
    }
    if (s == STATUS_OK) {
        s = sandbox_seal_parser(&job->limits, err);
    }
    return s == STATUS_OK ? extract(job, &st, &beside, err) : s;
}

/* Says with the last piece how it went. */
static int finish(enum status s, const struct error *err)
{
    Ex__Piece last = EX__PIECE__INIT;
    Ex__Failure failure = EX__FAILURE__INIT;
    char text[sizeof err->text];
    if (s == STATUS_OK) {
        last.has_done = true;
        last.done = true;
    } else {
        memcpy(text, err->text, sizeof text);
        failure.status = (uint32_t)s;
        failure.text = text;
        last.failure = &failure;
    }
    return piece_write(STDOUT_FILENO, &last, NULL) == STATUS_OK ? 0 : 3;
}

/* What is asked of a reader, checked as arguments are. */
static bool take_task(const Ex__Task *task, struct job *job)
{
    job->format = task->format == NULL ? NULL : format_find(task->format);
    job->render = task->page;
    job->ocr = task->ocr;
    job->dpi = dpi_of(job, task->dpi);
    job->languages = task->languages;
    job->min_confidence = task->min_confidence;
    job->picture = task->picture;
    job->unpack = task->has_members;
    job->members = task->members;
    job->unpacked = task->unpacked_kb << 10;
    return (job->format != NULL) + (job->render != 0) + (job->ocr != 0) == 1 &&
           (job->ocr == 0 || (job->languages != NULL && tessdata_valid(job->languages)));
}

static int run_task(const Ex__Task *task, void *data)
{
    const struct job *common = data;
    struct job job = {.limits = common->limits};
    struct error err = {0};
    enum status s = take_task(task, &job)
                        ? run(&job, &err)
                        : error_set(&err, STATUS_INVALID, "it cannot be read that way");
    return finish(s, &err);
}

static int serve(struct job *job)
{
    const struct sandbox_paths paths = {readable, executables};
    struct error err = {0};
    enum status s = sandbox_enter(&job->limits, &paths, &err);
    if (s == STATUS_OK) {
        s = extract_serve(STDIN_FILENO, run_task, job, &err);
    }
    if (s != STATUS_OK) {
        fprintf(stderr, "carrel-extract: %s\n", err.text);
    }
    return s == STATUS_OK ? 0 : 3;
}

static int detect(const char *name)
{
    char head[FORMAT_HEAD];
    size_t n = fread(head, 1, sizeof head, stdin);
    const char *format = format_detect(name, head, n);
    (void)printf("%s\n", format == NULL ? "" : format);
    return 0;
}

int main(int argc, char *argv[])
{
    struct job job = {0};
    struct error err = {0};
    if (!parse_arguments(argc, argv, &job)) {
        return 2;
    }
    if (job.detect != NULL) {
        return detect(job.detect);
    }
    if (job.serve) {
        return serve(&job);
    }
    const struct sandbox_paths paths = {readable, executables};
    enum status s = sandbox_enter(&job.limits, &paths, &err);
    return finish(s == STATUS_OK ? run(&job, &err) : s, &err);
}
