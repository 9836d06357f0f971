/* Members of archives and attachments of mails: what comes out as children, and what is said of the
 * rest. */
#include "tests/unit/test.h"

#include <archive.h>
#include <archive_entry.h>

#include "ingest/formats/format.h"
#include "ingest/member_name.h"

struct taken {
    struct buf log;     /* "name=bytes;" of whole children, bytes beyond 40 as their number */
    struct buf notes;   /* one a line */
    struct buf texts;   /* of blocks, one a line */
    struct buf current; /* of the child that is coming */
    char name[2048];
    bool inside;
};

static enum status take(void *data, const Ex__Piece *p, struct error *err)
{
    struct taken *t = data;
    (void)err;
    for (size_t i = 0; i < p->n_blocks; i++) {
        buf_append(&t->texts, p->blocks[i]->text.data, p->blocks[i]->text.len);
        buf_char(&t->texts, '\n');
    }
    for (size_t i = 0; i < p->n_notes; i++) {
        buf_z(&t->notes, p->notes[i]);
        buf_char(&t->notes, '\n');
    }
    const Ex__Child *c = p->child;
    if (c != NULL && c->has_name) {
        assert_false(t->inside);
        t->inside = true;
        (void)member_name_clean((struct str){(const char *)c->name.data, c->name.len}, "?",
                                t->name);
    }
    if (c != NULL && c->has_data) {
        assert_true(t->inside);
        assert_true(c->data.len <= EMIT_CHILD_PIECE);
        buf_append(&t->current, c->data.data, c->data.len);
    }
    if (c != NULL && (c->has_end || c->has_drop)) {
        assert_true(t->inside);
        t->inside = false;
        if (c->has_end && t->current.len <= 40) {
            buf_printf(&t->log, "%s=%.*s;", t->name, (int)t->current.len, t->current.ptr);
        } else if (c->has_end) {
            buf_printf(&t->log, "%s=%zu;", t->name, t->current.len);
        }
        buf_reset(&t->current);
    }
    return STATUS_OK;
}

typedef enum status (*extract_fn)(const struct extract_input *in, struct emitter *e,
                                  struct error *err);

static enum status unpack(extract_fn f, struct str data, uint64_t members, uint64_t bytes,
                          struct taken *t, struct error *err)
{
    struct arena arena;
    struct emitter e;
    memset(t, 0, sizeof *t);
    buf_init(&t->log, (size_t)1 << 20);
    buf_init(&t->notes, (size_t)1 << 20);
    buf_init(&t->texts, (size_t)1 << 20);
    buf_init(&t->current, (size_t)64 << 20);
    arena_init(&arena, (size_t)64 << 20);
    emit_init(&e, (size_t)64 << 20, take, t);
    emit_children_allow(&e, members, bytes);
    struct extract_input in = {
        .fd = -1, .data = data, .arena = &arena, .max_bytes = (size_t)64 << 20};
    enum status s = f(&in, &e, err);
    if (s == STATUS_OK) {
        s = emit_finish(&e, err);
    }
    emit_deinit(&e);
    arena_reset(&arena);
    return s;
}

static void taken_free(struct taken *t)
{
    buf_deinit(&t->log);
    buf_deinit(&t->notes);
    buf_deinit(&t->texts);
    buf_deinit(&t->current);
}

struct entry {
    const char *name, *text; /* text NULL: a folder */
    const char *link;
    unsigned type; /* 0: a file */
};

/* An archive of these, ended by one without a name. */
static struct str make(int format, int filter, const char *password, const struct entry *entries,
                       char *out, size_t cap)
{
    struct archive *a = archive_write_new();
    size_t used = 0;
    assert_int_equal(archive_write_set_format(a, format), ARCHIVE_OK);
    if (filter != 0) {
        assert_int_equal(archive_write_add_filter(a, filter), ARCHIVE_OK);
    }
    if (password != NULL) {
        assert_int_equal(archive_write_set_options(a, "zip:encryption=aes256"), ARCHIVE_OK);
        assert_int_equal(archive_write_set_passphrase(a, password), ARCHIVE_OK);
    }
    (void)archive_write_set_bytes_in_last_block(a, 1);
    assert_int_equal(archive_write_open_memory(a, out, cap, &used), ARCHIVE_OK);
    for (const struct entry *m = entries; m->name != NULL; m++) {
        struct archive_entry *e = archive_entry_new();
        size_t len = m->text == NULL ? 0 : strlen(m->text);
        archive_entry_set_pathname(e, m->name);
        archive_entry_set_filetype(e, m->type != 0 ? m->type : AE_IFREG);
        archive_entry_set_perm(e, 0644);
        archive_entry_set_size(e, (la_int64_t)len);
        archive_entry_set_mtime(e, 1600000000, 0);
        if (m->link != NULL && m->type == AE_IFLNK) {
            archive_entry_set_symlink(e, m->link);
        } else if (m->link != NULL) {
            archive_entry_set_hardlink(e, m->link);
        }
        assert_true(archive_write_header(a, e) >= ARCHIVE_WARN);
        if (len > 0) {
            assert_int_equal(archive_write_data(a, m->text, len), (int)len);
        }
        archive_entry_free(e);
    }
    assert_int_equal(archive_write_close(a), ARCHIVE_OK);
    (void)archive_write_free(a);
    return (struct str){out, used};
}

static void expect(extract_fn f, struct str data, const char *log, const char *notes)
{
    struct taken t;
    struct error err = {0};
    if (unpack(f, data, 100, 1 << 20, &t, &err) != STATUS_OK) {
        fail_msg("%s", err.text);
    }
    assert_string_equal(t.log.ptr == NULL ? "" : t.log.ptr, log);
    assert_string_equal(t.notes.ptr == NULL ? "" : t.notes.ptr, notes);
    taken_free(&t);
}

static char space[1 << 20];

static void test_kinds(void **state)
{
    static const struct entry two[] = {{"letters/", NULL, NULL, AE_IFDIR},
                                       {"letters/a.txt", "Dear", NULL, 0},
                                       {"b.md", "# B", NULL, 0},
                                       {0}};
    const char *both = "letters/a.txt=Dear;b.md=# B;";
    (void)state;
    expect(zip_extract, make(ARCHIVE_FORMAT_ZIP, 0, NULL, two, space, sizeof space), both, "");
    expect(sevenzip_extract, make(ARCHIVE_FORMAT_7ZIP, 0, NULL, two, space, sizeof space),
           "letters/a.txt=Dear;b.md=# B;", "");
    static const int filters[] = {0,
                                  ARCHIVE_FILTER_GZIP,
                                  ARCHIVE_FILTER_BZIP2,
                                  ARCHIVE_FILTER_XZ,
                                  ARCHIVE_FILTER_ZSTD,
                                  ARCHIVE_FILTER_LZ4};
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        struct str tar =
            make(ARCHIVE_FORMAT_TAR_PAX_RESTRICTED, filters[i], NULL, two, space, sizeof space);
        expect(tar_extract, tar, both, "");
        expect(gz_extract, tar, both, ""); /* x.tar.gz ends in .gz */
    }
}

static void test_text_is_the_names(void **state)
{
    static const struct entry two[] = {
        {"q1/Umsatz.txt", "1", NULL, 0}, {"notes", "2", NULL, 0}, {0}};
    struct taken t;
    struct error err = {0};
    (void)state;
    assert_int_equal(unpack(zip_extract,
                            make(ARCHIVE_FORMAT_ZIP, 0, NULL, two, space, sizeof space), 9, 100, &t,
                            &err),
                     STATUS_OK);
    assert_string_equal(t.texts.ptr, "q1/Umsatz.txt\nnotes\n");
    taken_free(&t);
}

static void test_single_file(void **state)
{
    static const struct entry one[] = {{"x", "Minutes of the meeting", NULL, 0}, {0}};
    (void)state;
    struct str gz = make(ARCHIVE_FORMAT_RAW, ARCHIVE_FILTER_GZIP, NULL, one, space, sizeof space);
    expect(gz_extract, gz, "?=Minutes of the meeting;", ""); /* named after the container */
}

static void test_names_from_strangers(void **state)
{
    static const struct entry bad[] = {{"../../etc/passwd", "a", NULL, 0},
                                       {"/etc/shadow", "b", NULL, 0},
                                       {"C:\\Users\\me\\x.doc", "c", NULL, 0},
                                       {"a//./b/../c.txt", "d", NULL, 0},
                                       {"bell\a.txt", "e", NULL, 0},
                                       {"...", "f", NULL, 0},
                                       {0}};
    (void)state;
    expect(tar_extract, make(ARCHIVE_FORMAT_TAR_USTAR, 0, NULL, bad, space, sizeof space),
           "etc/passwd=a;etc/shadow=b;Users/me/x.doc=c;a/b/c.txt=d;bell.txt=e;...=f;", "");
}

static void test_names_in_any_bytes(void **state)
{
    static const struct entry latin[] = {{"gr\x81n.txt", "x", NULL, 0}, {0}};
    static const struct entry utf8[] = {{"gr\xC3\xBCn.txt", "x", NULL, 0}, {0}};
    (void)state;
    /* code page 437 in a zip; bytes as they are in a tar */
    expect(zip_extract, make(ARCHIVE_FORMAT_ZIP, 0, NULL, latin, space, sizeof space),
           "gr\xC3\xBCn.txt=x;", "");
    expect(tar_extract, make(ARCHIVE_FORMAT_TAR_USTAR, 0, NULL, latin, space, sizeof space),
           "gr\x81n.txt=x;", "");
    expect(zip_extract, make(ARCHIVE_FORMAT_ZIP, 0, NULL, utf8, space, sizeof space),
           "gr\xC3\xBCn.txt=x;", "");
    expect(tar_extract,
           make(ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE, 0, NULL, utf8, space, sizeof space),
           "gr\xC3\xBCn.txt=x;", "");
}

static void test_links_and_devices(void **state)
{
    static const struct entry odd[] = {
        {"a.txt", "A", NULL, 0},        {"passwd", NULL, "/etc/passwd", AE_IFLNK},
        {"hard", NULL, "a.txt", 0},     {"pipe", NULL, NULL, AE_IFIFO},
        {"disk", NULL, NULL, AE_IFBLK}, {0}};
    (void)state;
    expect(tar_extract, make(ARCHIVE_FORMAT_TAR_PAX_RESTRICTED, 0, NULL, odd, space, sizeof space),
           "a.txt=A;", "2 links in it were left out\n2 devices and pipes in it were left out\n");
}

static void test_encrypted(void **state)
{
    static const struct entry one[] = {{"secret.txt", "psst", NULL, 0}, {0}};
    (void)state;
    expect(zip_extract, make(ARCHIVE_FORMAT_ZIP, 0, "pass", one, space, sizeof space), "",
           "1 encrypted file in it cannot be read: secret.txt\n");
}

static void test_limits(void **state)
{
    static char zeros[200001];
    struct entry many[] = {
        {"a", "1", NULL, 0}, {"b", zeros, NULL, 0}, {"c", "3", NULL, 0}, {"d", "4", NULL, 0}, {0}};
    struct taken t;
    struct error err = {0};
    (void)state;
    memset(zeros, '0', sizeof zeros - 1);
    struct str zip = make(ARCHIVE_FORMAT_ZIP, 0, NULL, many, space, sizeof space);
    assert_int_equal(unpack(zip_extract, zip, 2, 1 << 20, &t, &err), STATUS_OK);
    assert_string_equal(t.log.ptr, "a=1;b=200000;");
    assert_string_equal(t.notes.ptr,
                        "2 of the files in it were left out: more than 2 are not unpacked\n");
    taken_free(&t);
    assert_int_equal(unpack(zip_extract, zip, 9, 100000, &t, &err), STATUS_OK);
    assert_string_equal(t.log.ptr, "a=1;c=3;d=4;"); /* the one that is too large is not begun */
    taken_free(&t);
    assert_int_equal(unpack(zip_extract, zip, 0, 1 << 20, &t, &err), STATUS_OK);
    assert_true(t.log.len == 0);
    assert_string_equal(t.notes.ptr,
                        "4 files in it were left out: nothing more is unpacked this deep\n");
    taken_free(&t);
}

static void test_bomb_that_lies(void **state)
{
    static char zeros[400001];
    static const struct entry one[] = {{"b", zeros, NULL, 0}, {0}};
    struct taken t;
    struct error err = {0};
    (void)state;
    memset(zeros, '0', sizeof zeros - 1);
    /* a compressed stream says no size: the bytes are counted as they come */
    struct str gz = make(ARCHIVE_FORMAT_RAW, ARCHIVE_FILTER_GZIP, NULL, one, space, sizeof space);
    assert_int_equal(unpack(gz_extract, gz, 9, 100000, &t, &err),
                     STATUS_INVALID); /* nothing is left */
    assert_true(t.log.len == 0);
    assert_string_equal(t.notes.ptr,
                        "1 of the files in it was left out: more than 0 MB are not unpacked\n");
    taken_free(&t);
}

static void test_damage(void **state)
{
    static const struct entry some[] = {{"a.txt", "The first of the files", NULL, 0},
                                        {"b/c.txt", "The second of the files", NULL, 0},
                                        {"d.txt", "The third, with more words in it", NULL, 0},
                                        {0}};
    static const int formats[] = {ARCHIVE_FORMAT_ZIP, ARCHIVE_FORMAT_7ZIP,
                                  ARCHIVE_FORMAT_TAR_PAX_RESTRICTED};
    static const extract_fn parsers[] = {zip_extract, sevenzip_extract, gz_extract};
    struct taken t;
    (void)state;
    for (size_t k = 0; k < 3; k++) {
        struct str good =
            make(formats[k], k == 2 ? ARCHIVE_FILTER_GZIP : 0, NULL, some, space, sizeof space);
        char *copy = malloc(good.len);
        for (size_t i = 0; i < 16; i++) {
            struct error err = {0};
            memcpy(copy, good.ptr, good.len);
            enum status s =
                unpack(parsers[k], (struct str){copy, good.len * i / 16}, 9, 1 << 20, &t, &err);
            assert_true(s == STATUS_OK || err.text[0] != '\0');
            taken_free(&t);
        }
        for (size_t bit = 0; bit < good.len * 8; bit += bit < 512 ? 1 : 13) {
            struct error err = {0};
            memcpy(copy, good.ptr, good.len);
            copy[bit / 8] = (char)(copy[bit / 8] ^ (1 << bit % 8));
            enum status s = unpack(parsers[k], (struct str){copy, good.len}, 9, 1 << 20, &t, &err);
            assert_true(s == STATUS_OK || err.text[0] != '\0');
            taken_free(&t);
        }
        free(copy);
    }
}

static void test_what_is_no_archive(void **state)
{
    struct taken t;
    struct error err = {0};
    (void)state;
    assert_int_equal(unpack(zip_extract, STR("just a text"), 9, 100, &t, &err), STATUS_INVALID);
    assert_non_null(strstr(err.text, "archive"));
    taken_free(&t);
}

#define MAIL                                                                                       \
    "From: a@example.org\r\nSubject: Offer\r\nMIME-Version: 1.0\r\n"                               \
    "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nSee below.\r\n"                   \
    "--x\r\nContent-Type: application/pdf; name=\"offer.pdf\"\r\n"                                 \
    "Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment\r\n\r\n"                 \
    "JVBERi0xLjQ=\r\n"                                                                             \
    "--x\r\nContent-Type: image/png\r\nContent-ID: <logo>\r\n"                                     \
    "Content-Transfer-Encoding: base64\r\n\r\nAAAA\r\n"                                            \
    "--x\r\nContent-Type: message/rfc822\r\nContent-Disposition: attachment\r\n\r\n"               \
    "Subject: Old\r\n\r\nOld words.\r\n"                                                           \
    "--x\r\nContent-Type: text/plain; name=notes.txt\r\n"                                          \
    "Content-Disposition: attachment; filename=notes.txt\r\n\r\nNotes.\r\n--x--\r\n"

static void test_mail(void **state)
{
    struct taken t;
    struct error err = {0};
    (void)state;
    assert_int_equal(unpack(eml_extract, STR(MAIL), 9, 1000, &t, &err), STATUS_OK);
    assert_string_equal(t.log.ptr,
                        "offer.pdf=%PDF-1.4;message.eml=Subject: Old\r\n\r\nOld words.\r\n;"
                        "notes.txt=Notes.\r\n;");
    assert_null(strstr(t.texts.ptr, "Old words"));
    assert_non_null(strstr(t.texts.ptr, "Attachment: offer.pdf"));
    taken_free(&t);
    assert_int_equal(
        unpack(mbox_extract, STR("From x\n" MAIL "\nFrom y\n" MAIL), 9, 1000, &t, &err), STATUS_OK);
    assert_string_equal(t.log.ptr,
                        "offer.pdf=%PDF-1.4;message.eml=Subject: Old\r\n\r\nOld words.\r\n;"
                        "notes.txt=Notes.\r\n;offer.pdf=%PDF-1.4;message.eml=Subject: Old\r\n\r\n"
                        "Old words.\r\n;notes.txt=Notes.\r\n;");
    taken_free(&t);
}

static void test_uuencoded(void **state)
{
    (void)state;
    expect(eml_extract,
           STR("Subject: Old\r\nContent-Type: application/octet-stream; name=cat.txt\r\n"
               "Content-Transfer-Encoding: x-uuencode\r\nContent-Disposition: attachment\r\n\r\n"
               "begin 644 cat.txt\r\n#0V%T\r\n%:&5L;&\\\r\n`\r\nend\r\n"),
           "cat.txt=Cathello;", "");
}

/* ---- names ---- */

static void clean(const char *raw, size_t len, const char *expected)
{
    char out[MEMBER_NAME_CAP];
    size_t n = member_name_clean((struct str){raw, len}, "unnamed", out);
    assert_string_equal(out, expected);
    assert_int_equal(n, strlen(expected));
}

static void test_member_names(void **state)
{
    (void)state;
    clean("", 0, "unnamed");
    clean("..", 2, "unnamed");
    clean("/", 1, "unnamed");
    clean("../", 3, "unnamed");
    clean("a\0b", 3, "a/b");
    clean(" a \\ b ", 7, "a/b");
    clean("a\\b/c", 5, "a\\b/c"); /* where slashes divide, a backslash is a letter */
    clean("\x01\x7f", 2, "unnamed");
    char long_name[3000];
    memset(long_name, 'x', sizeof long_name);
    memcpy(long_name + sizeof long_name - 4, ".pdf", 4);
    char out[MEMBER_NAME_CAP];
    assert_int_equal(member_name_clean((struct str){long_name, sizeof long_name}, "", out),
                     MEMBER_PART_MAX);
    assert_string_equal(out + MEMBER_PART_MAX - 4, ".pdf");
    for (size_t i = 1; i < sizeof long_name; i += 2) {
        long_name[i] = '/';
    }
    assert_int_equal(member_name_clean((struct str){long_name, sizeof long_name}, "", out),
                     2 * MEMBER_PARTS_MAX - 1);
    for (size_t i = 0; i < sizeof long_name; i += 3) { /* characters of three bytes */
        memcpy(long_name + i, "\xE2\x82\xAC", 3);
    }
    assert_int_equal(member_name_clean((struct str){long_name, sizeof long_name}, "", out) % 3, 0);
    member_name_number(STR("a/b.pdf"), 2, out);
    assert_string_equal(out, "a/b (2).pdf");
    member_name_number(STR("a.b/c"), 3, out);
    assert_string_equal(out, "a.b/c (3)");
    member_name_inner(STR("notes.txt.gz"), out);
    assert_string_equal(out, "notes.txt");
    member_name_inner(STR("old.tgz"), out);
    assert_string_equal(out, "old.tar");
    member_name_inner(STR("x"), out);
    assert_string_equal(out, "x.out");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_text_is_the_names),
        cmocka_unit_test(test_single_file),
        cmocka_unit_test(test_names_from_strangers),
        cmocka_unit_test(test_names_in_any_bytes),
        cmocka_unit_test(test_links_and_devices),
        cmocka_unit_test(test_encrypted),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_bomb_that_lies),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_what_is_no_archive),
        cmocka_unit_test(test_mail),
        cmocka_unit_test(test_uuencoded),
        cmocka_unit_test(test_member_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
