/* The pool with the real carrel-extract, the real PDF tools, and programs that play a bad one. */
#include "ingest/extractor.h"
#include "ingest/formats/detect.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "tests/unit/ingest/fixtures.h"

static char folder[] = "/tmp/carrel-extractor-XXXXXX";

struct run {
    uv_loop_t loop;
    struct settings settings;
    struct extractor_pool *pool;
    struct arena arena;
    unsigned done, failed, closed;
    struct error err;
    struct extracted out;
    size_t png_len;
    char png_head[8];
    float width, height;
};

static void on_closed(void *data)
{
    ((struct run *)data)->closed++;
}

static void begin(struct run *r, const char *program)
{
    memset(r, 0, sizeof *r);
    arena_init(&r->arena, 256U << 20);
    assert_int_equal(uv_loop_init(&r->loop), 0);
    r->settings.extract.memory_mb = 512;
    r->settings.extract.cpu_s = 20;
    r->settings.extract.wall_s = 30;
    r->settings.extract.output_mb = 4;
    r->settings.extract.processes = 16;
    r->settings.extract.open_files = 64;
    r->settings.ingest.workers = 2;
    r->settings.ingest.max_file_bytes = 300LL << 20;
    assert_int_equal(extractor_pool_new(&r->loop, &r->settings, program, &r->pool, NULL),
                     STATUS_OK);
}

static void end(struct run *r)
{
    extractor_pool_close(r->pool, on_closed, r);
    assert_int_equal(r->closed, 0); /* later, never at once */
    assert_int_equal(uv_run(&r->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(r->closed, 1);
    assert_int_equal(uv_loop_close(&r->loop), 0);     /* nothing is left open */
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* and no child */
    assert_int_equal(errno, ECHILD);
    arena_reset(&r->arena);
}

/* The programs of this build, or of another one that the environment names. */
static const char *program(const char *variable, const char *ours)
{
    const char *other = getenv(variable);
    return other == NULL ? ours : other;
}
#define REAL program("CARREL_EXTRACT", CARREL_BIN_DIR "/carrel-extract")
#define BAD program("CARREL_BAD_EXTRACTOR", CARREL_BAD_PROGRAM)

/* As ingest hands it over: read-only, without a name. */
static int sized_file_of(struct str content, size_t size)
{
    char path[96];
    struct error err = {0};
    snprintf(path, sizeof path, "%s/document", folder);
    assert_int_equal(file_write_atomic(path, content.ptr, content.len, 0600, &err), STATUS_OK);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    if (size > content.len) {
        assert_int_equal(truncate(path, (off_t)size), 0);
    }
    assert_int_equal(unlink(path), 0);
    return fd;
}

static int file_of(struct str content)
{
    return sized_file_of(content, 0);
}

static void on_done(const struct error *err, const struct extracted *out, void *data)
{
    struct run *r = data;
    r->done++;
    if (err != NULL) {
        r->failed++;
        r->err = *err;
    } else {
        r->out = *out;
    }
}

static void on_page(const struct error *err, struct str png, float width, float height, void *data)
{
    struct run *r = data;
    r->done++;
    r->failed += err != NULL;
    if (err != NULL) {
        r->err = *err;
        return;
    }
    r->png_len = png.len;
    memcpy(r->png_head, png.ptr, sizeof r->png_head);
    r->width = width;
    r->height = height;
}

static void extract(struct run *r, const char *format, struct str content)
{
    struct error err = {0};
    if (extractor_start(r->pool, file_of(content), format, &r->arena, on_done, r, &err) == NULL) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(r->done, 0);
    (void)uv_run(&r->loop, UV_RUN_DEFAULT);
    assert_int_equal(r->done, 1);
    r->done = 0;
}

static void expect_failure(struct run *r, const char *words)
{
    assert_int_equal(r->failed, 1);
    r->failed = 0;
    if (strstr(r->err.text, words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", r->err.text, words);
    }
}

static const struct pdf_line lines[] = {
    {1, 9, 72, 810, "Acme annual report"},
    {1, 24, 72, 760, "Results"},
    {1, 11, 72, 720, "The first page tells of growth and of informa-"},
    {1, 11, 72, 706, "tion that was joined."},
    {1, 9, 290, 30, "Page 1"},
    {2, 9, 72, 810, "Acme annual report"},
    {2, 11, 72, 720, "The second page is plain."},
    {2, 9, 290, 30, "Page 2"},
    {3, 9, 72, 810, "Acme annual report"},
    {3, 11, 72, 720, "The third page ends it."},
    {3, 9, 290, 30, "Page 3"},
};
#define N_LINES (sizeof lines / sizeof lines[0])

static void test_pdf(void **state)
{
    struct run r;
    struct buf pdf;
    (void)state;
    make_pdf(lines, N_LINES, "The report", "", &pdf);
    begin(&r, REAL);
    extract(&r, "pdf", buf_view(&pdf));
    if (r.failed) {
        fail_msg("%s", r.err.text);
    }
    assert_string_equal(r.out.document->title, "The report");
    assert_int_equal(r.out.document->pages, 3);
    struct buf text;
    buf_init(&text, 1U << 20);
    for (size_t i = 0; i < r.out.n_blocks; i++) {
        buf_printf(&text, "%d/%u %.*s\n", (int)r.out.blocks[i]->kind,
                   (unsigned)r.out.blocks[i]->page, (int)r.out.blocks[i]->text.len,
                   (const char *)r.out.blocks[i]->text.data);
    }
    assert_string_equal(
        buf_view(&text).ptr,
        "2/1 Results\n1/1 The first page tells of growth and of information that was joined.\n"
        "1/2 The second page is plain.\n1/3 The third page ends it.\n"
        "8/1 Acme annual report\n8/1 Page 1\n8/2 Acme annual report\n8/2 Page 2\n"
        "8/3 Acme annual report\n8/3 Page 3\n");
    const Ex__Line *box = r.out.blocks[1]->lines[0];
    assert_true(box->page == 1 && box->x0 > 71 && box->x0 < 73 && box->y0 > 100 && box->y1 < 130);
    /* cut anywhere: read, or refused with a reason */
    for (size_t i = 0; i < 16; i++) {
        extract(&r, "pdf", (struct str){pdf.ptr, pdf.len * i / 16});
        assert_true(!r.failed || r.err.text[0] != '\0');
        r.failed = 0;
    }
    expect_failure((extract(&r, "pdf", STR("")), &r), "empty");
    expect_failure((extract(&r, "pdf", STR("%PDF-1.4 nonsense")), &r), "damaged");
    end(&r);
    buf_deinit(&text);
    buf_deinit(&pdf);
}

static void test_encrypted_pdf(void **state)
{
    struct run r;
    struct buf pdf;
    (void)state;
    make_pdf(lines, N_LINES, "x",
             "/ID [<00112233445566778899aabbccddeeff> <00112233445566778899aabbccddeeff>] "
             "/Encrypt << /Filter /Standard /V 1 /R 2 /Length 40 /P -4 "
             "/O <0101010101010101010101010101010101010101010101010101010101010101> "
             "/U <0202020202020202020202020202020202020202020202020202020202020202> >>",
             &pdf);
    begin(&r, REAL);
    expect_failure((extract(&r, "pdf", buf_view(&pdf)), &r), "encrypted");
    end(&r);
    buf_deinit(&pdf);
}

static void test_render(void **state)
{
    struct run r;
    struct buf pdf;
    struct error err = {0};
    (void)state;
    make_pdf(lines, N_LINES, "x", "", &pdf);
    begin(&r, REAL);
    assert_non_null(
        extractor_render(r.pool, file_of(buf_view(&pdf)), false, 2, 100, on_page, &r, &err));
    (void)uv_run(&r.loop, UV_RUN_DEFAULT);
    assert_int_equal(r.done, 1);
    assert_int_equal(r.failed, 0);
    assert_memory_equal(r.png_head, "\x89PNG\r\n\x1A\n", 8);
    assert_true(r.png_len > 1000);
    assert_true(r.width > 594 && r.width < 596.5F && r.height > 841 && r.height < 843.5F);
    assert_non_null(
        extractor_render(r.pool, file_of(buf_view(&pdf)), false, 9, 100, on_page, &r, &err));
    (void)uv_run(&r.loop, UV_RUN_DEFAULT);
    assert_int_equal(r.failed, 1);
    end(&r);
    buf_deinit(&pdf);
}

static void test_limits(void **state)
{
    struct run r;
    struct buf big;
    struct error err = {0};
    (void)state;
    begin(&r, REAL);
    buf_init(&big, 16U << 20);
    while (big.len < (8U << 20)) {
        buf_z(&big, "A line of text among very many.\n\n");
    }
    expect_failure((extract(&r, "txt", buf_view(&big)), &r), "more than 4 MB of text");
    expect_failure((extract(&r, "txt", STR("")), &r), "empty");
    int fd = sized_file_of(STR("x"), 400U << 20);
    assert_null(extractor_start(r.pool, fd, "txt", &r.arena, on_done, &r, &err));
    assert_non_null(strstr(err.text, "larger than the limit of 300 MB"));
    assert_int_equal(fcntl(fd, F_GETFD), -1); /* it was taken all the same */
    fd = sized_file_of(STR("x"), 200U << 20); /* of NUL */
    assert_non_null(extractor_start(r.pool, fd, "txt", &r.arena, on_done, &r, &err));
    (void)uv_run(&r.loop, UV_RUN_DEFAULT);
    expect_failure(&r, "not text");
    end(&r);
    buf_deinit(&big);
}

static void begin_bad(struct run *r, int64_t wall_s)
{
    begin(r, BAD);
    extractor_pool_close(r->pool, NULL, NULL);
    (void)uv_run(&r->loop, UV_RUN_DEFAULT);
    r->settings.extract.wall_s = wall_s;
    assert_int_equal(extractor_pool_new(&r->loop, &r->settings, BAD, &r->pool, NULL), STATUS_OK);
}

static void test_bad_programs(void **state)
{
    static const struct {
        const char *how, *words;
    } cases[] = {
        {"hang", "took longer than 1 s (extract.wall_s in carrel.yaml)"},
        {"segv", "crashed on it (signal 11): save it anew"},
        {"kill", "more memory or processor time"},
        {"xcpu", "20 s of processor time (extract.cpu_s in carrel.yaml)"},
        {"exit", "failed on it (exit status 0)"},
        {"huge", "malformed"},
        {"wrong", "malformed"},
        {"cut", "failed on it"},
        {"starter", "went away"},
        {"stop", "took longer than 1 s"},
        {"diskfull", "so it says"},
    };
    (void)state;
    struct run r;
    begin_bad(&r, 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) { /* one after the other's end */
        expect_failure((extract(&r, cases[i].how, STR("hello")), &r), cases[i].words);
    }
    assert_int_equal(r.err.code, STATUS_INTERNAL); /* a document does not hold the queue */
    end(&r);
    struct error err = {0};
    begin(&r, "/nonexistent/carrel-extract");
    assert_null(extractor_start(r.pool, file_of(STR("x")), "txt", &r.arena, on_done, &r, &err));
    assert_non_null(strstr(err.text, "could not be started"));
    end(&r);
    begin(&r, "/bin/false"); /* a starter that goes at once */
    if (extractor_start(r.pool, file_of(STR("x")), "txt", &r.arena, on_done, &r, &err) == NULL) {
        assert_non_null(strstr(err.text, "could not be started")); /* it has gone already */
    } else {
        (void)uv_run(&r.loop, UV_RUN_DEFAULT);
        expect_failure(&r, "went away");
    }
    end(&r);
}

/* Everything that an exploited parser would try, from where it would try it. */
static void test_escapes(void **state)
{
    static const char *const attempts[] = {"socket", "data", "forks", "disk", "others", "rights"};
    struct run r;
    char data[96];
    (void)state;
    snprintf(data, sizeof data, "%s/data", folder);
    assert_int_equal(file_write_atomic(data, "secret", 6, 0666, NULL), STATUS_OK);
    begin_bad(&r, 30);
    for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++) {
        extract(&r, attempts[i], str_from(data));
        if (r.failed != 0 || strcmp(r.out.document->title, "refused") != 0) {
            fail_msg("%s: %s", attempts[i], r.failed ? r.err.text : r.out.document->title);
        }
    }
    expect_failure((extract(&r, "flood", STR("x")), &r), "malformed");
    end(&r);
    assert_int_equal(unlink(data), 0);
}

/* Readers come from one starter, and none sees what another had. */
static void test_nothing_is_left(void **state)
{
    struct run r;
    (void)state;
    begin_bad(&r, 30);
    for (size_t i = 0; i < 20; i++) {
        extract(&r, i % 2 == 0 ? "leave" : "look", STR("what only one tenant may read"));
        assert_int_equal(r.failed, 0);
        assert_string_equal(r.out.document->title, "refused");
    }
    end(&r);
}

static void count(const struct error *err, const struct extracted *out, void *data)
{
    struct run *r = data;
    (void)out;
    r->done++;
    r->failed += err != NULL;
    if (err != NULL) {
        r->err = *err;
    }
}

/* A crash fails its own document only; the others, and those after it, are read. */
static void test_crash_among_others(void **state)
{
    struct run r;
    struct error err = {0};
    (void)state;
    begin_bad(&r, 30);
    for (size_t i = 0; i < 60; i++) {
        assert_non_null(extractor_start(r.pool, file_of(STR("x")), i % 10 == 5 ? "segv" : "look",
                                        &r.arena, count, &r, &err));
    }
    (void)uv_run(&r.loop, UV_RUN_DEFAULT);
    assert_int_equal(r.done, 60);
    assert_int_equal(r.failed, 6);
    r.failed = 1;
    expect_failure(&r, "crashed");
    end(&r);
}

/* A starter serves so many tasks and then makes room for another, with tasks under way. */
static void test_more_than_one_starter(void **state)
{
    struct run r;
    struct error err = {0};
    (void)state;
    begin_bad(&r, 30);
    for (unsigned sent = 0; sent < 600;) {
        for (unsigned i = 0; i < 150; i++, sent++) {
            assert_non_null(
                extractor_start(r.pool, file_of(STR("x")), "look", &r.arena, count, &r, &err));
        }
        while (r.done < sent) {
            (void)uv_run(&r.loop, UV_RUN_ONCE);
        }
    }
    assert_int_equal(r.failed, 0);
    end(&r);
}

static void test_many_and_cancel(void **state)
{
    struct run r;
    struct error err = {0};
    struct extraction *all[20];
    (void)state;
    begin(&r, REAL);
    for (size_t i = 0; i < 20; i++) {
        all[i] =
            extractor_start(r.pool, file_of(STR("some text")), "txt", &r.arena, on_done, &r, &err);
        assert_non_null(all[i]);
    }
    extractor_cancel(all[0]);  /* running */
    extractor_cancel(all[19]); /* waiting */
    (void)uv_run(&r.loop, UV_RUN_DEFAULT);
    assert_int_equal(r.done, 18);
    assert_int_equal(r.failed, 0);
    for (size_t i = 0; i < 300 && err.code == STATUS_OK; i++) {
        (void)!extractor_start(r.pool, file_of(STR("some text")), "txt", &r.arena, on_done, &r,
                               &err);
    }
    assert_int_equal(err.code, STATUS_BUSY);
    end(&r); /* with all of them under way */
    assert_int_equal(r.done, 18);
}

struct slow_taker {
    struct run *r;
    struct extraction *x;
    bool waited;
    uv_timer_t timer;
};

static bool takes_its_time(void *data)
{
    struct slow_taker *slow = data;
    bool first = !slow->waited;
    slow->waited = true;
    return first;
}

static void goes_on(uv_timer_t *t)
{
    struct slow_taker *slow = t->data;
    if (slow->r->done == 0) {
        extractor_go_on(slow->x);
    }
    uv_close((uv_handle_t *)t, NULL);
}

/* What its members cost whoever stores them is not its own time. */
static void test_time_of_waiting_is_not_counted(void **state)
{
    struct run r;
    struct slow_taker slow = {.r = &r};
    struct error err = {0};
    const struct extract_members members = {
        .members = 1, .bytes = 1024, .settle = takes_its_time, .data = &slow};
    (void)state;
    begin_bad(&r, 1);
    slow.x =
        extractor_unpack(r.pool, file_of(STR("x")), "look", &r.arena, &members, on_done, &r, &err);
    assert_non_null(slow.x);
    assert_int_equal(uv_timer_init(&r.loop, &slow.timer), 0);
    slow.timer.data = &slow;
    assert_int_equal(uv_timer_start(&slow.timer, goes_on, 1800, 0), 0);
    (void)uv_run(&r.loop, UV_RUN_DEFAULT);
    assert_int_equal(r.done, 1);
    if (r.failed != 0) {
        fail_msg("%s", r.err.text);
    }
    end(&r);
}

/* Names of every length get through. */
static void test_long_name(void **state)
{
    struct run r;
    (void)state;
    begin(&r, REAL);
    extract(&r, "asciidoc", STR("= Title\n\nA paragraph.\n"));
    assert_int_equal(r.failed, 0);
    assert_string_equal(r.out.document->format, "asciidoc");
    end(&r);
}

static void test_formats(void **state)
{
    (void)state;
    assert_string_equal(format_detect("a.PDF", "x", 1), "pdf");
    assert_string_equal(format_detect("a.docx", "%PDF-1.4", 8), "pdf");
    assert_string_equal(format_detect("a.docx", "PK", 2), "docx");
    assert_string_equal(format_detect("a.XLSM", "PK", 2), "xlsx");
    assert_string_equal(format_detect("a.fodp", "<", 1), "odp");
    assert_string_equal(format_detect("a.epub", "PK", 2), "epub");
    assert_string_equal(format_detect("x.y.Markdown", "", 0), "md");
    assert_string_equal(format_detect("x.htm", "", 0), "html");
    assert_string_equal(format_detect("letter.docx", "{\\rtf1", 6), "rtf");
    assert_string_equal(format_detect("t.TSV", "a\tb", 3), "csv");
    assert_string_equal(format_detect("m.mbox", "From ", 5), "mbox");
    assert_string_equal(format_detect("x.nxml", "<", 1), "xml");
    assert_string_equal(format_detect("x.py", "", 0), "code");
    assert_null(format_detect(".txt", "", 0));
    assert_null(format_detect("noend", "", 0));
}

static void detects(const char *name, struct str head, const char *format)
{
    const char *got = format_detect(name, head.ptr, head.len);
    if (format == NULL ? got != NULL : got == NULL || strcmp(got, format) != 0) {
        fail_msg("%s is %s, not %s", name, got == NULL ? "nothing" : got,
                 format == NULL ? "nothing" : format);
    }
}

/* What a file is where its name says nothing, or something else. */
static void test_detect_by_content(void **state)
{
#define MAIL                                                                                       \
    "Return-Path: <a@b.de>\r\nReceived: from x\r\n\tby y; Sat\r\nFrom: A <a@b.de>\r\n\r\nHi\r\n"
    (void)state;
    detects("1732200000.M1P2.host.de:2,S", STR(MAIL), "eml");
    detects("1732200000.M1P2.box.pl", STR(MAIL), "eml");
    detects("1732200000.M1P2V3.mx,S=1234", STR("From: a\nTo: b\nSubject: c\n\nd"), "eml");
    detects("answer.txt", STR(MAIL), "txt");
    detects("notes", STR("To: do\nmilk, eggs, and bread for the week\n"), "txt");
    detects("archive-2003", STR("From a@b Sat Jan  3 01:05:34 1996\nSubject: x\n\ny\n"), "mbox");
    detects("README", STR("# Carrel\n\nReads documents.\n"), "txt");
    detects("LIESMICH",
            STR("Gr\xFC\xDF"
                "e aus M\xFCnchen, ganz in Latin-1\n"),
            "txt");
    detects("wide", STR("\xFF\xFEh\0i\0"), "txt");
    detects("wide", STR("H\0e\0l\0l\0o\0 \0w\0o\0r\0l\0d\0"), "txt");
    detects("settings.conf", STR("[core]\nname = value\n"), "txt");
    detects("tool", STR("#!/bin/sh\nexit 0\n"), "code");
    detects("page", STR("\n <!DOCTYPE HTML>\n<html>"), "html");
    detects("page", STR("<?xml version=\"1.0\"?><html xmlns=\"x\">"), "html");
    detects("feed", STR("\xEF\xBB\xBF<?xml version=\"1.0\"?><rss>"), "xml");
    detects("data", STR("{\n \"a\": 1}"), "json");
    detects("data", STR("[ {\"a\": 1}]"), "json");
    detects("refs", STR("[1] Smith, 1990. [2] Jones.\n"), "txt");
    detects("report", STR("%PDF-1.4\n"), "pdf");
    detects("report.exe", STR("%PDF-1.4\n"), "pdf");
    detects("report", STR("\r\n  %PDF-1.4\n"), "pdf");
    detects("letter", STR("{\\rtf1 x}"), "rtf");
    detects("book",
            STR("PK\3\4\24\0\0\0\0\0\0\0\0\0\0\0\0\0\24\0\0\0\24\0\0\0\10\0\0\0mimetypeapplication/"
                "epub+zip"),
            "epub");
    detects(
        "sheet.docx",
        STR("PK\3\4\24\0\0\0\0\0\0\0\0\0\0\0\0\0\24\0\0\0\24\0\0\0\17\0\0\0xl/workbook.xml....."),
        "xlsx");
    detects("export.docx", STR("<html><body><p>Not Word at all</p>"), "html");
    detects("plain.docx", STR("Only some words, and no archive.\n"), "txt");
    /* no text, no format */
    detects("program", STR("\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\3\0\76\0"), NULL);
    detects("noise.bin", STR("\1\2\3\4\5\6\7\1\2\3\4\5\6\7\1\2\3\4\5\6\7"), NULL);
    detects("program.exe", STR("MZ and some words that look like text"), NULL);
    detects("empty", STR(""), NULL);
    detects("blank", STR(" \n\t\n"), NULL);
    detects("a.docx", STR("PK nothing of the kind, but some words"), "docx");
    /* binary and damaged: the reader of the kind that it is called tells what is wrong */
    detects("a.docx", STR("\0\1\2\3\4\5\6\7\0\1\2\3\4\5\6\7\0\1"), "docx");
#undef MAIL
}

static int set_up(void **state)
{
    (void)state;
    /* open to everyone, so that only the sandbox stands before it */
    return mkdtemp(folder) == NULL || chmod(folder, 0755) != 0 ? -1 : 0;
}

static int tear_down(void **state)
{
    char path[96];
    (void)state;
    snprintf(path, sizeof path, "%s/data", folder);
    unlink(path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pdf),
        cmocka_unit_test(test_encrypted_pdf),
        cmocka_unit_test(test_render),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_bad_programs),
        cmocka_unit_test(test_many_and_cancel),
        cmocka_unit_test(test_time_of_waiting_is_not_counted),
        cmocka_unit_test(test_long_name),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_nothing_is_left),
        cmocka_unit_test(test_crash_among_others),
        cmocka_unit_test(test_more_than_one_starter),
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_detect_by_content),
    };
    return cmocka_run_group_tests_name("extractor", tests, set_up, tear_down);
}
