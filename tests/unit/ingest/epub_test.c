/* Books (EPUB), made here: what is read of them, and that whatever is done to them ends with text
 * or with a reason. */
#include "tests/unit/ingest/package.h"

#define OPF "OPS/book.opf"

static void test_book(void **state)
{
    struct buf b;
    static const char *const parts[] = {
        "META-INF/container.xml",
        "<container xmlns=\"c\"><rootfiles><rootfile full-path=\"" OPF
        "\"/></rootfiles></container>",
        "META-INF/encryption.xml",
        "<encryption><EncryptedData><EncryptionMethod "
        "Algorithm=\"http://www.idpf.org/2008/embedding\"/><CipherReference URI=\"f.otf\"/>"
        "</EncryptedData></encryption>",
        "OPS/text/one two.xhtml",
        "<!DOCTYPE html><html xmlns=\"h\"><head><title/></head><body><h1>One</h1><p>It <ruby>be"
        "<rt>no</rt></ruby>gan.</p><nav><a href=\"x\">away</a></nav></body></html>",
        "OPS/b.html",
        "<html xmlns:epub=\"e\"><body><h2>Two</h2><p>It ended.</p><aside epub:type=\"footnote\"><p>"
        "Not so.</p></aside></body></html>",
        NULL};
    static const char opf[] =
        "<package xmlns=\"o\" xmlns:dc=\"d\"><metadata><dc:title>A "
        "&lt;book&gt;</dc:title><dc:title>"
        "second</dc:title><dc:language>fr</dc:language></metadata><manifest><item id=\"b\" "
        "href=\"b.html\" media-type=\"text/html\"/><item id=\"a\" "
        "href=\"./text/one%20two.xhtml#top\" "
        "media-type=\"application/xhtml+xml\"/><item id=\"p\" href=\"p.png\" "
        "media-type=\"image/png\"/>"
        "<item id=\"out\" href=\"../../../etc/passwd\" media-type=\"text/html\"/></manifest><spine>"
        "<itemref idref=\"a\"/><itemref idref=\"p\"/><itemref idref=\"gone\"/><itemref "
        "idref=\"out\"/><itemref idref=\"b\"/></spine></package>";
    (void)state;
    make_with(parts, OPF, opf, &b);
    expect(epub_extract, buf_view(&b), "A <book>",
           "H1 One\nP It began.\nH2 Two\nP It ended.\nP Not so.\n");
    harm(epub_extract, buf_view(&b));
    buf_deinit(&b);
    attack(epub_extract, parts, OPF);
    static const char *const locked[] = {
        "META-INF/container.xml",
        parts[1],
        "META-INF/encryption.xml",
        "<e><EncryptedData><EncryptionMethod Algorithm=\"aes256-cbc\"/><CipherReference "
        "URI=\"b.html\"/></EncryptedData></e>",
        OPF,
        opf,
        NULL};
    expect_refusal(epub_extract, locked, STATUS_UNSUPPORTED, "DRM");
    static const char *const nowhere[] = {
        "META-INF/container.xml", "<c><rootfile full-path=\"../../etc/passwd\"/></c>", NULL};
    expect_refusal(epub_extract, nowhere, STATUS_INVALID, "where it begins");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_book),
    };
    return cmocka_run_group_tests_name("epub", tests, NULL, NULL);
}
