/* carrel-ingest as a process on real folders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "tests/service/ingest_world.h"
#include "vectorstore/vectorstore_rpc.h"

static void files_become_documents(void **state)
{
    struct world *w = *state;
    write_file(w, "a.md", "# Heading\n\nThe heron stands in the reeds.\n");
    write_file(w, "law/b.txt", "The kingfisher dives.\n");
    write_file(w, "law/copy.txt", "The kingfisher dives.\n");
    write_file(w, "bad.exe", "MZ");
    write_file(w, "empty.txt", "");
    struct answer a = until_state(w, "a.md", "ready");
    assert_true(a.chunks > 0);
    assert_content(w, "a.md", "# Heading\n\nThe heron stands in the reeds.\n");
    (void)until_state(w, "law/b.txt", "ready");
    (void)until_state(w, "law/copy.txt", "ready");
    assert_string_equal(stored(w, "law/b.txt")->collection, "law");
    struct answer bad = until_state(w, "bad.exe", "failed");
    assert_non_null(strstr(bad.error, "kind of file"));
    struct answer empty = until_state(w, "empty.txt", "failed");
    assert_non_null(strstr(empty.error, "empty"));
    /* a new content for a file that was readable */
    write_file(w, "a.md", "");
    (void)until_state(w, "a.md", "failed");
    assert_null(stored(w, "a.md")); /* search must not quote what the file no longer says */
    /* rename, remove */
    char from[256];
    char to[256];
    (void)snprintf(from, sizeof from, "%s/law/b.txt", w->watch);
    (void)snprintf(to, sizeof to, "%s/c.txt", w->watch);
    char before[ID_CAP];
    uint32_t puts = stored(w, "law/b.txt")->puts;
    (void)snprintf(before, sizeof before, "%s", stored(w, "law/b.txt")->id);
    assert_int_equal(rename(from, to), 0);
    (void)until_state(w, "c.txt", "ready");
    assert_string_equal(stored(w, "c.txt")->id, before);
    assert_int_equal(stored(w, "c.txt")->puts, puts); /* moved, not put */
    assert_int_equal(unlink(to), 0);
    int64_t end = clock_monotonic_ms() + PATIENCE_MS;
    while (stored(w, "c.txt") != NULL && clock_monotonic_ms() < end) {
        spin(w, 10);
    }
    assert_null(stored(w, "c.txt"));
    assert_non_null(stored(w, "law/copy.txt"));
}

static void back_to_earlier_content_with_kills(void **state)
{
    struct world *w = *state;
    char a[64];
    char b[64];
    for (int round = 0; round < 4; round++) {
        (void)snprintf(a, sizeof a, "The content A of the tide table.\n");
        (void)snprintf(b, sizeof b, "The content B of round %d.\n", round);
        write_file(w, "tide.txt", a);
        spin(w, 40 + 60 * round);
        kill_ingest(w);
        write_file(w, "tide.txt", b);
        start_ingest(w);
        spin(w, 30 + 100 * round);
        kill_ingest(w);
        write_file(w, "tide.txt", a);
        start_ingest(w);
        spin(w, 400);
        (void)until_state(w, "tide.txt", "ready");
        assert_content(w, "tide.txt", a);
    }
    assert_int_equal(list_for(w, NULL).n, 1);
    size_t there = 0;
    for (size_t i = 0; i < w->store.n; i++) {
        there += w->store.docs[i].there;
    }
    assert_int_equal(there, 1);
}

static void killed_among_many(void **state)
{
    struct world *w = *state;
    char name[64];
    char text[96];
    for (int i = 0; i < 120; i++) {
        (void)snprintf(name, sizeof name, "many/%d.txt", i);
        (void)snprintf(text, sizeof text, "File number %d has its own sentence.\n", i);
        write_file(w, name, text);
        if (i % 40 == 20) {
            spin(w, 150);
            kill_ingest(w);
            start_ingest(w);
        }
    }
    for (int i = 0; i < 120; i++) {
        (void)snprintf(name, sizeof name, "many/%d.txt", i);
        (void)snprintf(text, sizeof text, "File number %d has its own sentence.\n", i);
        (void)until_state(w, name, "ready");
        assert_content(w, name, text);
    }
    assert_int_equal(list_for(w, NULL).n, 120);
}

static void a_part_is_down_or_full(void **state)
{
    struct world *w = *state;
    w->store.refuse = STATUS_UNAVAILABLE;
    write_file(w, "a.txt", "The lighthouse keeper sleeps.\n");
    spin(w, 600);
    struct answer a = until_state(w, "a.txt", "queued");
    assert_non_null(strstr(a.error, "store"));
    w->store.refuse = STATUS_DISK_FULL;
    write_file(w, "b.txt", "The harbour is full.\n");
    int64_t end = clock_monotonic_ms() + PATIENCE_MS;
    while (strstr(a.error, "disk is full") == NULL && clock_monotonic_ms() < end) {
        spin(w, 50);
        a = list_for(w, "a.txt");
    }
    assert_non_null(strstr(a.error, "disk is full"));
    assert_int_equal(list_for(w, NULL).n, 2);
    w->store.refuse = STATUS_OK;
    (void)until_state(w, "a.txt", "ready");
    (void)until_state(w, "b.txt", "ready");
}

static void uploads_and_deletes(void **state)
{
    struct world *w = *state;
    struct answer up = upload(w, "inbox/guide.md", "The glacier guide wears crampons.\n", false);
    assert_int_equal(up.err.code, STATUS_OK);
    assert_true(id_valid(up.id));
    (void)until_state(w, "inbox/guide.md", "ready");
    assert_int_equal(upload(w, "inbox/guide.md", "other", false).err.code, STATUS_CONFLICT);
    assert_int_equal(upload(w, "../guide.md", "other", false).err.code, STATUS_INVALID);
    struct answer again = upload(w, "inbox/guide.md", "The guide went home.\n", true);
    assert_int_equal(again.err.code, STATUS_OK);
    assert_string_equal(again.id, up.id);
    (void)until_state(w, "inbox/guide.md", "ready");
    spin(w, 300);
    assert_content(w, "inbox/guide.md", "The guide went home.\n");
    struct answer gone = delete_document(w, up.id);
    assert_int_equal(gone.err.code, STATUS_OK);
    assert_true(gone.trashed);
    assert_null(stored(w, "inbox/guide.md"));
    char command[256];
    (void)snprintf(command, sizeof command, "test -n \"$(find %s/trash/main -name guide.md)\"",
                   w->service.home);
    assert_int_equal(system(command), 0);
    spin(w, 300);
    assert_int_equal(list_for(w, NULL).n, 0);
    assert_int_equal(delete_document(w, up.id).err.code, STATUS_NOT_FOUND);
}

/* The store tells of them when all are there: it is growth by so many, however fast they come. */
static void grow(struct world *w, int from, int to)
{
    char name[64];
    char text[96];
    w->store.told = count_chunks(&w->store, NULL);
    w->store.arriving = true;
    for (int i = from; i < to; i++) {
        (void)snprintf(name, sizeof name, "%d.txt", i);
        (void)snprintf(text, sizeof text, "Sentence number %d about the theatre.\n", i);
        write_file(w, name, text);
    }
    for (int i = from; i < to; i++) {
        (void)snprintf(name, sizeof name, "%d.txt", i);
        (void)until_state(w, name, "ready");
    }
    w->store.arriving = false;
}

static void until_settled(struct world *w, const char *is, const char *expected)
{
    int64_t end = clock_monotonic_ms() + PATIENCE_MS;
    while (strcmp(is, expected) != 0 && clock_monotonic_ms() < end) {
        spin(w, 20);
    }
    assert_string_equal(is, expected);
}

static void the_encoder_is_fitted_filled_and_published(void **state)
{
    struct world *w = *state;
    char name[64];
    char text[96];
    for (int i = 0; i < 9; i++) {
        (void)snprintf(name, sizeof name, "%d.txt", i);
        (void)snprintf(text, sizeof text, "Sentence number %d about the orchard.\n", i);
        write_file(w, name, text);
    }
    (void)until_state(w, "8.txt", "ready");
    spin(w, 300);
    assert_int_equal(w->store.fits, 0); /* below the threshold, and embed is down */
    for (int i = 9; i < 14; i++) {
        (void)snprintf(name, sizeof name, "%d.txt", i);
        (void)snprintf(text, sizeof text, "Sentence number %d about the quarry.\n", i);
        write_file(w, name, text);
    }
    for (int i = 0; i < 14; i++) {
        (void)snprintf(name, sizeof name, "%d.txt", i);
        (void)until_state(w, name, "ready"); /* words are findable without embed */
    }
    listen_as(w, PEER_EMBED, embed_handlers, 2, &w->embed);
    int64_t end = clock_monotonic_ms() + PATIENCE_MS;
    while (w->store.encoder[0] == '\0' && clock_monotonic_ms() < end) {
        spin(w, 20);
    }
    assert_string_equal(w->store.encoder, "carrel-lsa-0000000000000001");
    assert_int_equal(w->store.fitted_on, 14);
    assert_int_equal(count_chunks(&w->store, w->store.encoder), 0);
    spin(w, 1200); /* ingest has noticed */
    write_file(w, "new.txt", "A new sentence about the railway.\n");
    (void)until_state(w, "new.txt", "ready");
    end = clock_monotonic_ms() + PATIENCE_MS;
    while (count_chunks(&w->store, w->store.encoder) > 0 && clock_monotonic_ms() < end) {
        spin(w, 20);
    }
    assert_int_equal(count_chunks(&w->store, w->store.encoder), 0);
    assert_int_equal(w->store.fits, 1);
    assert_string_equal(w->store.verdict, ""); /* there was nothing to compare it with */

    grow(w, 20, 32); /* by more than 60 % */
    end = clock_monotonic_ms() + PATIENCE_MS;
    while (w->store.fits < 2 && clock_monotonic_ms() < end) {
        spin(w, 20);
    }
    spin(w, 1500); /* retrieve is down: nothing is published meanwhile */
    assert_string_equal(w->store.encoder, "carrel-lsa-0000000000000001");
    w->store.questions = 100;
    w->store.difference = -0.1;
    listen_as(w, PEER_RETRIEVE, retrieve_handlers, 1, &w->retrieve);
    until_settled(w, w->store.held, "carrel-lsa-0000000000000002");
    assert_string_equal(w->store.verdict, "worse");
    assert_string_equal(w->store.encoder, "carrel-lsa-0000000000000001");
    spin(w, 1500);
    assert_int_equal(w->store.fits, 2); /* growth counts from here */

    grow(w, 40, 64);
    w->store.difference = 0;
    until_settled(w, w->store.encoder, "carrel-lsa-0000000000000003");
    assert_string_equal(w->store.verdict, "same");

    grow(w, 70, 110);
    w->store.questions = 0;
    until_settled(w, w->store.encoder, "carrel-lsa-0000000000000004");
    assert_string_equal(w->store.verdict, "unmeasured");
}

static struct answer render(struct world *w, char *id, uint32_t page)
{
    struct answer a = {0};
    Ig__RenderRequest q = IG__RENDER_REQUEST__INIT;
    buf_init(&a.png, 16 << 20);
    q.document = id;
    q.page = page;
    assert_non_null(ig_render(w->serve, &patient, &q, &answers, &a));
    one_service_until(&w->loop, &a.done);
    return a;
}

static void pages_have_pictures(void **state)
{
    struct world *w = *state;
    static const char pdf[] =
        "%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
        "2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
        "3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 4 0 R"
        "/Resources<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>endobj\n"
        "4 0 obj<</Length 65>>stream\nBT /F 14 Tf 20 100 Td (The heron stands in the reeds) Tj ET "
        "      \nendstream endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n";
    write_file(w, "page.pdf", pdf);
    write_file(w, "plain.txt", "No pages here.\n");
    struct answer doc = until_state(w, "page.pdf", "ready");
    struct answer plain = until_state(w, "plain.txt", "ready");
    for (int i = 0; i < 2; i++) { /* the second from the pictures that are kept */
        struct answer a = render(w, doc.id, 1);

        assert_int_equal(a.err.code, STATUS_OK);
        assert_true(a.png.len > 100);
        assert_memory_equal(a.png.ptr, "\x89PNG", 4);
        assert_true(a.width > 299 && a.width < 301);
        buf_deinit(&a.png);
    }
    assert_int_equal(w->store.originals, 1);
    assert_int_equal(render(w, doc.id, 9).err.code == STATUS_OK, 0);
    assert_int_equal(render(w, plain.id, 1).err.code, STATUS_UNSUPPORTED);
    assert_int_equal(render(w, doc.id, 0).err.code, STATUS_INVALID);
    w->store.refuse = STATUS_FORBIDDEN; /* the store says who may see it, kept picture or not */
    assert_int_equal(render(w, doc.id, 1).err.code, STATUS_FORBIDDEN);
    w->store.refuse = STATUS_OK;
}

static void in_a_read_only_folder_deleted_is_excluded(void **state)
{
    struct world *w = *state;
    if (geteuid() != 0 || mount("none", w->watch, "tmpfs", 0, "size=1m") != 0) {
        skip(); /* mounting needs root */
    }
    kill_ingest(w);
    write_file(w, "a.txt", "The lighthouse is white.\n");
    write_file(w, "b.txt", "The lighthouse is tall.\n");
    assert_int_equal(mount("none", w->watch, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL), 0);
    start_ingest(w);
    struct answer a = until_state(w, "a.txt", "ready");
    (void)until_state(w, "b.txt", "ready");
    struct answer gone = delete_document(w, a.id);
    struct answer up = upload(w, "c.txt", "The lighthouse is closed.\n", false);
    kill_ingest(w);
    start_ingest(w); /* a scan does not bring it back */
    spin(w, 500);
    size_t listed = list_for(w, NULL).n;
    kill_ingest(w);
    assert_int_equal(umount2(w->watch, MNT_DETACH), 0);
    start_ingest(w);
    assert_int_equal(gone.err.code, STATUS_OK);
    assert_true(gone.excluded && !gone.trashed);
    assert_null(stored(w, "a.txt"));
    assert_int_equal(up.err.code, STATUS_FORBIDDEN);
    assert_int_equal(listed, 1);
}

static void a_folder_closes_while_a_file_is_read(void **state)
{
    struct world *w = *state;
    write_file(w, "first.txt", "A sentence that everybody may read.\n");
    (void)until_state(w, "first.txt", "ready");
    assert_int_equal(stored(w, "first.txt")->for_all, 1);
    int n = snprintf(w->store.closing, sizeof w->store.closing, "%s/pay/.carrel.yaml", w->watch);
    assert_true(n > 0 && (size_t)n < sizeof w->store.closing);
    write_file(w, "pay/slip.txt", "A sentence that nobody may read.\n");
    (void)until_state(w, "pay/slip.txt", "ready");
    assert_string_equal(w->store.closing, "");
    assert_int_equal(stored(w, "pay/slip.txt")->for_all, 0); /* not for a moment */
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(files_become_documents),
        TEST(back_to_earlier_content_with_kills),
        TEST(killed_among_many),
        TEST(a_part_is_down_or_full),
        TEST(uploads_and_deletes),
        TEST(the_encoder_is_fitted_filled_and_published),
        TEST(pages_have_pictures),
        TEST(in_a_read_only_folder_deleted_is_excluded),
        TEST(a_folder_closes_while_a_file_is_read),
    };
    assert_true(signal(SIGPIPE, SIG_IGN) != SIG_ERR); /* peers are killed here */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
