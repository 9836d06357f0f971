/* What sources tell of their files, addresses, names on the disk, and the signature. */
#include "tests/unit/test.h"

#include "ingest/sources/listing.h"
#include "ingest/sources/names.h"
#include "ingest/sources/sign.h"

struct seen {
    char text[8192]; /* "key version size|" or "key/|" */
    size_t n;
};

static enum status on_entry(void *data, const struct listed *l, struct error *err)
{
    struct seen *s = data;
    (void)err;
    size_t used = strlen(s->text);
    s->n++;
    if (l->folder) {
        (void)snprintf(s->text + used, sizeof s->text - used, "%.*s/|", STR_ARG(l->key));
    } else {
        (void)snprintf(s->text + used, sizeof s->text - used, "%.*s %s %lld|", STR_ARG(l->key),
                       l->version, (long long)l->size);
    }
    return STATUS_OK;
}

static struct origin docs(void)
{
    struct origin o;
    assert_int_equal(origin_of_url("https://A.example/docs", &o, NULL), STATUS_OK);
    assert_string_equal(o.host, "a.example");
    assert_string_equal(o.path, "/docs/");
    assert_int_equal(o.port, 443);
    return o;
}

static void hrefs_stay_inside(void **state)
{
    static const struct {
        const char *href, *key;
        enum href_kind kind;
    } all[] = {
        {"a.pdf", "x/a.pdf", HREF_FILE},
        {"./a%20b.pdf", "x/a b.pdf", HREF_FILE},
        {"y/", "x/y", HREF_FOLDER},
        {"/docs/b", "b", HREF_FILE},
        {"https://a.example:443/docs/b", "b", HREF_FILE},
        {"HTTPS://A.EXAMPLE/docs/b", "b", HREF_FILE},
        {"//a.example/docs/b", "b", HREF_FILE},
        {"../b", "b", HREF_FILE},
        {"a#part", "x/a", HREF_FILE},
        {"../../etc/passwd", "", HREF_OUTSIDE},
        {"/etc/passwd", "", HREF_OUTSIDE},
        {"/docsx/b", "", HREF_OUTSIDE},
        {"https://b.example/docs/b", "", HREF_OUTSIDE},
        {"http://a.example/docs/b", "", HREF_OUTSIDE},
        {"https://a.example:444/docs/b", "", HREF_OUTSIDE},
        {"https://u:p@a.example/docs/b", "", HREF_OUTSIDE},
        {"//169.254.169.254/docs/b", "", HREF_OUTSIDE},
        {"%2e%2e/%2e%2e/etc/passwd", "", HREF_OUTSIDE},
        {"..%2f..%2fetc", "", HREF_OUTSIDE},
        {"a%00b", "", HREF_OUTSIDE},
        {"a?C=N;O=D", "", HREF_OUTSIDE},
        {"mailto:a@b", "", HREF_OUTSIDE},
        {"javascript:alert(1)", "", HREF_OUTSIDE},
        {"file:///etc/passwd", "", HREF_OUTSIDE},
    };
    (void)state;
    struct origin o = docs();
    struct buf key;
    buf_init(&key, 16384);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        enum href_kind kind =
            origin_key(&o, "https://a.example/docs/x/", str_from(all[i].href), &key);
        if (kind != all[i].kind ||
            (kind != HREF_OUTSIDE && !str_eq(buf_view(&key), str_from(all[i].key)))) {
            fail_msg("%s is %d: %.*s", all[i].href, (int)kind, STR_ARG(buf_view(&key)));
        }
    }
    buf_reset(&key);
    origin_url(&o, STR("a b/\xc3\xbc?#%.pdf"), &key);
    buf_char(&key, '\0');
    assert_string_equal(key.ptr, "https://a.example/docs/a%20b/%C3%BC%3F%23%25.pdf");
    buf_deinit(&key);
}

static void s3_pages(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct listing l = {.on_entry = on_entry, .data = &seen};
    struct buf token;
    struct error err;
    bool more = false;
    buf_init(&token, 8192);
    static const char page[] =
        "<?xml version=\"1.0\"?><ListBucketResult "
        "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
        "<IsTruncated>true</IsTruncated><Contents><Key>a&amp;b.txt</Key><LastModified>2025-01-01"
        "</LastModified><ETag>&quot;12&quot;</ETag><Size>7</Size></Contents><Contents><Key>f/</Key>"
        "<Size>0</Size></Contents><Contents><Key> x </Key></Contents>"
        "<NextContinuationToken>t/+=</NextContinuationToken></ListBucketResult>";
    assert_int_equal(listing_s3(&l, STR(page), &more, &token, &err), STATUS_OK);
    assert_string_equal(seen.text, "a&b.txt e\"12\" 7|f//| x   -1|");
    assert_true(more);
    assert_true(str_eq(buf_view(&token), STR("t/+=")));
    seen = (struct seen){0};
    static const char encoded[] =
        "<ListBucketResult><Contents><Key>a%00b+c%2B%01</Key><Size>1</Size></Contents>"
        "<EncodingType>url</EncodingType></ListBucketResult>";
    assert_int_equal(listing_s3(&l, STR(encoded), &more, &token, &err), STATUS_OK);
    assert_int_equal(seen.n, 1);
    assert_false(more);
    static const char *const bad[] = {
        "",
        "<html></html>",
        "<Error><Code>AccessDenied</Code></Error>",
        "<ListBucketResult><Contents><Key>a</Key>",
        "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;\">]>"
        "<ListBucketResult><Contents><Key>&b;</Key></Contents></ListBucketResult>",
        "<!DOCTYPE x SYSTEM \"file:///etc/passwd\"><ListBucketResult/>",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (listing_s3(&l, str_from(bad[i]), &more, &token, &err) != STATUS_PROTOCOL) {
            fail_msg("%s", bad[i]);
        }
    }
    for (size_t cut = 0; cut + 1 < sizeof page; cut++) {
        assert_int_equal(listing_s3(&l, (struct str){page, cut}, &more, &token, &err),
                         STATUS_PROTOCOL);
    }
    buf_deinit(&token);
}

static void webdav(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct listing l = {.on_entry = on_entry, .data = &seen};
    struct origin o = docs();
    struct error err;
    static const char page[] =
        "<D:multistatus xmlns:D=\"DAV:\">"
        "<D:response><D:href>/docs/x/</D:href><D:propstat><D:prop><D:resourcetype><D:collection/>"
        "</D:resourcetype></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"
        "<D:response><D:href>/docs/x/sub</D:href><D:propstat><D:prop><D:resourcetype><D:collection/"
        ">"
        "</D:resourcetype></D:prop></D:propstat></D:response>"
        "<D:response><D:href>https://a.example/docs/x/a%20b.txt</D:href><D:propstat><D:prop>"
        "<D:getetag>W/\"5\"</D:getetag><D:getcontentlength>12</D:getcontentlength></D:prop>"
        "<D:status>HTTP/1.1 404 of a property</D:status></D:propstat></D:response>"
        "<D:response><D:href>/docs/x/m</D:href><D:propstat><D:prop><D:getlastmodified>Mon</D:"
        "getlastmodified><D:getcontentlength>3</D:getcontentlength></D:prop></D:propstat>"
        "</D:response>"
        "<D:response><D:href>/docs/x/gone</D:href><D:status>HTTP/1.1 404 Not Found</D:status>"
        "</D:response>"
        "<D:response><D:href>/etc/passwd</D:href></D:response>"
        "</D:multistatus>";
    assert_int_equal(listing_dav(&l, &o, "https://a.example/docs/x/", STR(page), &err), STATUS_OK);
    assert_string_equal(seen.text, "x/sub/|x/a b.txt eW/\"5\" 12|x/m mMon 3 3|");
    assert_int_equal(l.passed_over, 2);
    static const char loop[] =
        "<multistatus xmlns=\"DAV:\"><response><href>/docs/</href></response>"
        "<response><href>/docs/y/</href></response><response><href>/docs/x</href></response>"
        "<response><href>/docs/xx/</href></response></multistatus>";
    seen = (struct seen){0};
    assert_int_equal(listing_dav(&l, &o, "https://a.example/docs/x/", STR(loop), &err), STATUS_OK);
    assert_string_equal(seen.text, "");
}

static void links(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct listing l = {.on_entry = on_entry, .data = &seen};
    struct origin o = docs();
    struct error err;
    static const char page[] =
        "<html><title>Index of /docs/x/</title><body><a href=\"?C=N;O=D\">Name</a>"
        "<a href=\"../\">../</a><a href='a%20b.pdf'>a b</a><A HREF=c.txt>c</A><a href=\"y/\">y</a>"
        "<a name=x>n</a><a href=\"/docs/x/abs.md\">abs</a><a href=\"deep/er.md\">no</a>"
        "<a href=\"http://evil.example/docs/x/z\">z</a><a href=\"a&amp;b.txt\">&</a>";
    assert_int_equal(listing_html(&l, &o, "https://a.example/docs/x/", STR(page), &err), STATUS_OK);
    assert_string_equal(seen.text, "x/a b.pdf  -1|x/c.txt  -1|x/y/|x/abs.md  -1|x/a&b.txt  -1|");
    seen = (struct seen){0};
    assert_int_equal(listing_lines(&l, &o,
                                   STR("# remark\r\nhttps://a.example/docs/q/a.md\r\n\nb.md\n"
                                       "https://b.example/docs/c.md\n/docs/d.md"),
                                   &err),
                     STATUS_OK);
    assert_string_equal(seen.text, "q/a.md  -1|b.md  -1|d.md  -1|");
    char *tag = malloc(1 << 20);
    assert_non_null(tag);
    memset(tag, ' ', 1 << 20);
    memcpy(tag, "<a ", 3);
    for (size_t i = 3; i + 4 < 1 << 20; i += 4) {
        memcpy(tag + i, "a=b ", 4);
    }
    assert_int_equal(
        listing_html(&l, &o, "https://a.example/docs/x/", (struct str){tag, 1 << 20}, &err),
        STATUS_PROTOCOL);
    free(tag);
}

static void places(void **state)
{
#define T(literal)                                                                                 \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }
    static const struct {
        struct str key;
        const char *place; /* NULL: passed over */
    } all[] = {
        {T("a/b c.txt"), "a/b c.txt"},
        {T("../../etc/x"), "%2E%2E/%2E%2E/etc/x"},
        {T("./x"), "%2E/x"},
        {T("/x"), "%2F/x"},
        {T("a//b"), "a/%2F/b"},
        {T("a\0b.txt"), "a%00b.txt"},
        {T("a\\b"), "a%5Cb"},
        {T("\xff\xc3\xbc"), "%FF\xc3\xbc"},
        {T("a\nb"), "a%0Ab"},
        {T(".carrel.yaml"), NULL},
        {T("a/.carrelignore"), NULL},
        {T(".git/x"), NULL},
        {T("a.tmp"), NULL},
        {T(""), NULL},
    };
#undef T
    (void)state;
    uint8_t id[SHA256_BYTES] = {1, 2, 3};
    char place[PLACE_MAX];
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        bool taken = source_place(all[i].key, id, false, place);
        if (taken != (all[i].place != NULL) || (taken && strcmp(place, all[i].place) != 0)) {
            fail_msg("%.*s: %s", STR_ARG(all[i].key), taken ? place : "passed over");
        }
    }
    assert_true(source_place(STR("d/a.txt"), id, true, place));
    assert_string_equal(place, "d/a%0102030000000000.txt");
    char big[4000];
    memset(big, 'x', sizeof big);
    memcpy(big + sizeof big - 4, ".pdf", 4);
    assert_true(source_place((struct str){big, sizeof big}, id, false, place));
    assert_int_equal(strlen(place), 120 + 17 + 4);
    assert_true(strcmp(place + strlen(place) - 4, ".pdf") == 0);
    for (size_t i = 0; i + 2 < sizeof big; i += 2) {
        memcpy(big + i, "d/", 2);
    }
    assert_true(source_place((struct str){big, sizeof big}, id, false, place));
    assert_true(strncmp(place, "%deep/01020300", 14) == 0);
    char folded[PLACE_MAX];
    source_fold("A/bC\xc3\x9c", folded);
    assert_string_equal(folded, "a/bc\xc3\x9c");
}

/* Authenticating Requests (AWS Signature Version 4), Amazon S3 API reference: "GET Object" without
 * its Range line, and "GET Bucket (List Objects)", which is given word for word. */
static void signature(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 8192);
    struct sign s = {.method = "GET",
                     .host = "examplebucket.s3.amazonaws.com",
                     .path = "/",
                     .query = "max-keys=2&prefix=J",
                     .region = "us-east-1",
                     .service = "s3",
                     .access_key = "AKIAIOSFODNN7EXAMPLE",
                     .secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                     .token = "",
                     .now_s = 1369353600}; /* 20130524T000000Z */
    sign_lines(&s, &out);
    buf_char(&out, '\0');
    assert_non_null(strstr(
        out.ptr, "Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7\n"));
    assert_non_null(strstr(out.ptr, "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/"
                                    "aws4_request, SignedHeaders=host;x-amz-content-sha256;"
                                    "x-amz-date, "));
    assert_non_null(strstr(out.ptr, "x-amz-date: 20130524T000000Z\n"));
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hrefs_stay_inside),
        cmocka_unit_test(s3_pages),
        cmocka_unit_test(webdav),
        cmocka_unit_test(links),
        cmocka_unit_test(places),
        cmocka_unit_test(signature),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
