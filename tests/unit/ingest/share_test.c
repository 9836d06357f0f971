/* Rights of shares: the three kinds of access lists, whom they let read, and what folders above
 * take away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "ingest/share.h"

#define SID_HR "S-1-5-21-1-2-3-1105"
#define SID_BOARD "S-1-5-21-1-2-3-1106"

static struct rules_group groups[] = {
    {"hr", KNOWN_BY_GID, 4000001, "4000001"},   {"board", KNOWN_BY_GID, 4000002, "4000002"},
    {"anna", KNOWN_BY_UID, 4000101, "4000101"}, {"hr", KNOWN_BY_SID, 0, SID_HR},
    {"board", KNOWN_BY_SID, 0, SID_BOARD},      {"hr", KNOWN_BY_NFS, 0, "hr@example.org"},
    {"users", KNOWN_BY_SID, 0, "S-1-5-32-545"},
};
static const struct rules rules = {.groups = groups, .n_groups = sizeof groups / sizeof groups[0]};

/* "*" for everyone, else the names with a space before each. */
static void say(const struct share_readers *r, char out[256])
{
    size_t at = (size_t)snprintf(out, 256, "%s", r->everyone ? "*" : "");
    for (size_t i = 0; i < r->n; i++) {
        at += (size_t)snprintf(out + at, 256 - at, " %s", r->names[i]);
    }
}

static void level(const struct share_acl *acl, uint32_t wanted, struct arena *a,
                  const char *expected)
{
    struct share_readers r;
    struct error err;
    char got[256];
    assert_int_equal(share_level(acl, wanted, &rules, a, &r, &err), STATUS_OK);
    say(&r, got);
    assert_string_equal(got, expected);
}

/* ---- POSIX ---- */

struct posix {
    uint16_t tag, perm;
    uint32_t id;
};

static struct str posix_blob(const struct posix *e, size_t n, unsigned char *out)
{
    const unsigned char version[4] = {2, 0, 0, 0};
    memcpy(out, version, 4);
    for (size_t i = 0; i < n; i++) {
        unsigned char *p = out + 4 + 8 * i;
        for (size_t b = 0; b < 2; b++) {
            p[b] = (unsigned char)(e[i].tag >> (8 * b));
            p[2 + b] = (unsigned char)(e[i].perm >> (8 * b));
        }
        for (size_t b = 0; b < 4; b++) {
            p[4 + b] = (unsigned char)(e[i].id >> (8 * b));
        }
    }
    return (struct str){(char *)out, 4 + 8 * n};
}

static void by_mode(uint32_t mode, uint32_t wanted, const char *expected)
{
    struct arena a;
    struct share_acl acl;
    struct error err;
    arena_init(&a, 1 << 20);
    assert_int_equal(share_posix((struct str){"", 0}, mode, 4000101, 4000001, &a, &acl, &err),
                     STATUS_OK);
    level(&acl, wanted, &a, expected);
    arena_reset(&a);
}

static void by_list(const struct posix *e, size_t n, uint32_t wanted, const char *expected)
{
    struct arena a;
    struct share_acl acl;
    struct error err;
    unsigned char blob[512];
    arena_init(&a, 1 << 20);
    assert_int_equal(share_posix(posix_blob(e, n, blob), 0777, 4000101, 4000001, &a, &acl, &err),
                     STATUS_OK);
    level(&acl, wanted, &a, expected);
    arena_reset(&a);
}

static void test_posix(void **state)
{
    (void)state;
    by_mode(0644, SHARE_READ, "*");
    by_mode(0640, SHARE_READ, " anna hr");
    by_mode(0600, SHARE_READ, " anna");
    by_mode(0000, SHARE_READ, "");
    by_mode(0604, SHARE_READ, " anna"); /* all but the group: cannot be said by groups */
    by_mode(0755, SHARE_READ | SHARE_PASS, "*");
    by_mode(0750, SHARE_READ | SHARE_PASS, " anna hr");
    by_mode(0754, SHARE_READ | SHARE_PASS, " anna hr");
    by_mode(0710, SHARE_READ | SHARE_PASS, " anna"); /* passing is not reading */
    const struct posix board[] = {{1, 6, 0}, {4, 0, 0}, {8, 4, 4000002}, {16, 4, 0}, {32, 0, 0}};
    by_list(board, 5, SHARE_READ, " anna board");
    const struct posix masked[] = {{1, 6, 0}, {4, 4, 0}, {8, 4, 4000002}, {16, 0, 0}, {32, 0, 0}};
    by_list(masked, 5, SHARE_READ, " anna");
    const struct posix denied[] = {{1, 6, 0}, {2, 0, 4000777}, {4, 4, 0}, {16, 4, 0}, {32, 4, 0}};
    by_list(denied, 5, SHARE_READ, " anna"); /* one user is not to read: he may be in the group */
    const struct posix unknown[] = {{1, 0, 0}, {4, 0, 0}, {8, 4, 4000999}, {16, 7, 0}, {32, 0, 0}};
    by_list(unknown, 5, SHARE_READ, "");
    const struct posix other[] = {{1, 6, 0}, {4, 4, 0}, {8, 0, 4000002}, {16, 7, 0}, {32, 4, 0}};
    by_list(other, 5, SHARE_READ, " anna hr"); /* not everybody: not the board */
    const struct posix all[] = {{1, 6, 0}, {4, 4, 0}, {8, 4, 4000002}, {16, 7, 0}, {32, 4, 0}};
    by_list(all, 5, SHARE_READ, "*");
}

static void test_posix_malformed(void **state)
{
    struct arena a;
    struct share_acl acl;
    struct error err;
    unsigned char blob[512];
    const struct posix good[] = {{1, 6, 0}, {4, 4, 0}, {32, 0, 0}};
    const struct posix twice[] = {{1, 6, 0}, {1, 6, 0}, {4, 4, 0}, {32, 0, 0}};
    const struct posix odd[] = {{1, 6, 0}, {4, 9, 0}, {32, 0, 0}};
    const struct posix lacking[] = {{1, 6, 0}, {4, 4, 0}};
    (void)state;
    arena_init(&a, 1 << 20);
    struct str s = posix_blob(good, 3, blob);
    for (size_t n = 1; n < s.len; n++) {
        assert_int_equal(share_posix((struct str){s.ptr, n}, 0, 0, 0, &a, &acl, &err),
                         STATUS_INVALID);
    }
    assert_int_equal(share_posix(posix_blob(twice, 4, blob), 0, 0, 0, &a, &acl, &err),
                     STATUS_INVALID);
    assert_int_equal(share_posix(posix_blob(odd, 3, blob), 0, 0, 0, &a, &acl, &err),
                     STATUS_INVALID);
    assert_int_equal(share_posix(posix_blob(lacking, 2, blob), 0, 0, 0, &a, &acl, &err),
                     STATUS_INVALID);
    blob[0] = 3;
    assert_int_equal(share_posix((struct str){(char *)blob, 20}, 0, 0, 0, &a, &acl, &err),
                     STATUS_INVALID);
    arena_reset(&a);
}

/* ---- Windows ---- */

static void put(struct buf *b, uint32_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        buf_char(b, (char)(v >> (8 * i)));
    }
}

static void put_sid(struct buf *b, const char *text)
{
    unsigned long long authority;
    int used = 0;
    uint32_t parts[15];
    unsigned n = 0;
    assert_int_equal(sscanf(text, "S-1-%llu%n", &authority, &used), 1);
    for (const char *p = text + used; *p == '-';) {
        char *end;
        parts[n++] = (uint32_t)strtoul(p + 1, &end, 10);
        p = end;
    }
    put(b, 1, 1);
    put(b, n, 1);
    put(b, 0, 4);
    put(b, 0, 1);
    put(b, (uint32_t)authority, 1);
    for (unsigned i = 0; i < n; i++) {
        put(b, parts[i], 4);
    }
}

struct ace {
    unsigned type, flags;
    uint32_t mask;
    const char *sid;
};

static void windows_blob(const struct ace *e, size_t n, struct buf *b)
{
    struct buf aces;
    buf_init(&aces, 1 << 16);
    for (size_t i = 0; i < n; i++) {
        struct buf sid;
        buf_init(&sid, 256);
        put_sid(&sid, e[i].sid);
        put(&aces, e[i].type, 1);
        put(&aces, e[i].flags, 1);
        put(&aces, (uint32_t)(8 + sid.len), 2);
        put(&aces, e[i].mask, 4);
        buf_str(&aces, buf_view(&sid));
        buf_deinit(&sid);
    }
    buf_init(b, 1 << 17);
    put(b, 1, 2);      /* revision */
    put(b, 0x8004, 2); /* self-relative, with a DACL */
    put(b, 0, 4);
    put(b, 0, 4);
    put(b, 0, 4);
    put(b, 20, 4);
    put(b, 2, 2);
    put(b, (uint32_t)(8 + aces.len), 2);
    put(b, (uint32_t)n, 2);
    put(b, 0, 2);
    buf_str(b, buf_view(&aces));
    buf_deinit(&aces);
}

static void by_aces(const struct ace *e, size_t n, uint32_t wanted, const char *expected)
{
    struct arena a;
    struct share_acl acl;
    struct error err;
    struct buf b;
    arena_init(&a, 1 << 20);
    windows_blob(e, n, &b);
    assert_int_equal(share_windows(buf_view(&b), &a, &acl, &err), STATUS_OK);
    level(&acl, wanted, &a, expected);
    for (size_t cut = 0; cut < b.len; cut++) { /* truncated: refused, never more than it says */
        enum status s = share_windows((struct str){b.ptr, cut}, &a, &acl, &err);
        assert_int_equal(s, STATUS_INVALID);
    }
    buf_deinit(&b);
    arena_reset(&a);
}

#define READ_DATA 0x1U
#define FULL 0x1F01FFU

static void test_windows(void **state)
{
    (void)state;
    const struct ace plain[] = {
        {0, 0x10, FULL, SID_HR}, {0, 0x10, 0x1200A9, SID_BOARD}, {0, 0x10, 0x2, "S-1-1-0"}};
    by_aces(plain, 3, SHARE_READ, " hr board");
    by_aces(plain, 3, SHARE_READ | SHARE_PASS, " hr board");
    const struct ace everyone[] = {{0, 0, READ_DATA, "S-1-1-0"}};
    by_aces(everyone, 1, SHARE_READ, "*");
    by_aces(everyone, 1, SHARE_READ | SHARE_PASS, "");
    const struct ace signed_in[] = {{0, 0, 0x80000000, "S-1-5-11"}};
    by_aces(signed_in, 1, SHARE_READ, "*");
    const struct ace users[] = {{0, 0, 0x10000000, "S-1-5-32-545"}};
    by_aces(users, 1, SHARE_READ, " users"); /* only because it is named */
    const struct ace denied[] = {{1, 0, READ_DATA, SID_HR}, {0, 0, FULL, "S-1-1-0"}};
    by_aces(denied, 2, SHARE_READ, ""); /* all but hr */
    const struct ace both[] = {
        {1, 0, READ_DATA, SID_HR}, {0, 0, FULL, SID_BOARD}, {0, 0, FULL, SID_HR}};
    by_aces(both, 3, SHARE_READ, ""); /* somebody of the board may be of hr */
    const struct ace late[] = {
        {0, 0, FULL, SID_BOARD}, {1, 0, READ_DATA, SID_HR}, {0, 0, FULL, SID_HR}};
    by_aces(late, 3, SHARE_READ, " board"); /* in order: it stands before the denial */
    const struct ace guests[] = {
        {1, 0, FULL, "S-1-5-32-546"}, {1, 0, FULL, "S-1-5-7"}, {0, 0, FULL, SID_HR}};
    by_aces(guests, 3, SHARE_READ, " hr"); /* guests have no key */
    const struct ace writing[] = {{1, 0, 0x2, SID_BOARD}, {0, 0, FULL, SID_HR}};
    by_aces(writing, 2, SHARE_READ, " hr"); /* what is denied is not reading */
    const struct ace below[] = {{0, 0x0B, FULL, SID_HR}, {0, 0, FULL, "S-1-5-21-9-9-9-9"}};
    by_aces(below, 2, SHARE_READ, ""); /* inherit only; unknown */
    const struct ace objects[] = {
        {5, 0, FULL, SID_HR}, {0, 0, FULL, SID_BOARD}, {6, 0, FULL, SID_HR}, {0, 0, FULL, SID_HR}};
    by_aces(objects, 4, SHARE_READ, " board");
    by_aces(NULL, 0, SHARE_READ, ""); /* an empty list lets nobody in */
}

static void test_windows_without_list(void **state)
{
    struct arena a;
    struct share_acl acl;
    struct error err;
    unsigned char d[20] = {1, 0, 0, 0x80};
    (void)state;
    arena_init(&a, 1 << 20);
    assert_int_equal(share_windows((struct str){(char *)d, 20}, &a, &acl, &err), STATUS_OK);
    level(&acl, SHARE_READ, &a, "*"); /* no list at all is everybody's */
    d[3] = 0;                         /* not self-relative */
    assert_int_equal(share_windows((struct str){(char *)d, 20}, &a, &acl, &err), STATUS_INVALID);
    arena_reset(&a);
}

/* ---- NFSv4 ---- */

static void put_be(struct buf *b, uint32_t v)
{
    for (int i = 3; i >= 0; i--) {
        buf_char(b, (char)(v >> (8 * i)));
    }
}

static void by_nfs(const struct ace *e, size_t n, uint32_t wanted, const char *expected)
{
    struct arena a;
    struct share_acl acl;
    struct error err;
    struct buf b;
    arena_init(&a, 1 << 20);
    buf_init(&b, 1 << 16);
    put_be(&b, (uint32_t)n);
    for (size_t i = 0; i < n; i++) {
        put_be(&b, e[i].type);
        put_be(&b, e[i].flags);
        put_be(&b, e[i].mask);
        put_be(&b, (uint32_t)strlen(e[i].sid));
        buf_z(&b, e[i].sid);
        while (b.len % 4 != 0) {
            buf_char(&b, '\0');
        }
    }
    assert_int_equal(share_nfs4(buf_view(&b), 4000101, 4000001, &a, &acl, &err), STATUS_OK);
    level(&acl, wanted, &a, expected);
    for (size_t cut = 0; cut < b.len; cut++) {
        assert_int_equal(share_nfs4((struct str){b.ptr, cut}, 0, 0, &a, &acl, &err),
                         STATUS_INVALID);
    }
    buf_deinit(&b);
    arena_reset(&a);
}

static void test_nfs(void **state)
{
    (void)state;
    const struct ace plain[] = {
        {0, 0, 1, "OWNER@"}, {0, 0x40, 1, "GROUP@"}, {0, 0, 2, "EVERYONE@"}};
    by_nfs(plain, 3, SHARE_READ, " anna hr");
    const struct ace named[] = {{0, 0x40, 0x21, "hr@example.org"},
                                {0, 0x40, 0x21, "x@example.org"},
                                {0, 0x40, 0x21, "4000002"}};
    by_nfs(named, 3, SHARE_READ | SHARE_PASS, " hr board");
    const struct ace all[] = {{1, 0x40, 2, "GROUP@"}, {0, 0, 1, "EVERYONE@"}};
    by_nfs(all, 2, SHARE_READ, "*");
    const struct ace denied[] = {{1, 0x40, 1, "GROUP@"}, {0, 0, 1, "EVERYONE@"}};
    by_nfs(denied, 2, SHARE_READ, "");
}

/* ---- files and folders ---- */

static void look(int root, const char *path, const char *expected)
{
    struct arena a;
    struct share_readers r;
    struct error err;
    char got[256];
    arena_init(&a, 1 << 20);
    assert_int_equal(share_look(root, str_from(path), &rules, &a, &r, &err), STATUS_OK);
    assert_true(r.asked);
    say(&r, got);
    assert_string_equal(got, expected);
    assert_int_equal(r.why[0] != '\0',
                     strcmp(expected, "") == 0 && strstr(path, "missing") != NULL);
    arena_reset(&a);
}

static void test_folders(void **state)
{
    char dir[] = "/tmp/carrel-share-XXXXXX";
    char path[128];
    (void)state;
    assert_non_null(mkdtemp(dir));
    int root = open(dir, O_RDONLY | O_DIRECTORY);
    assert_true(root >= 0);
    assert_int_equal(mkdirat(root, "a", 0755), 0);
    assert_int_equal(mkdirat(root, "a/b", 0755), 0);
    int fd = openat(root, "a/b/f", O_CREAT | O_WRONLY, 0644);
    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(fchmodat(root, "a", 0755, 0), 0);
    assert_int_equal(fchmodat(root, "a/b", 0755, 0), 0);
    assert_int_equal(fchmodat(root, "a/b/f", 0644, 0), 0);
    look(root, "a/b/f", "*");
    look(root, "a/b/f/member.txt", "*"); /* in an archive */
    look(root, "a/b/missing", "");
    if (geteuid() == 0) {
        (void)snprintf(path, sizeof path, "%s/a/b/f", dir);
        assert_int_equal(chown(path, 4000101, 4000001), 0);
        assert_int_equal(chmod(path, 0640), 0);
        look(root, "a/b/f", " anna hr");
        (void)snprintf(path, sizeof path, "%s/a/b", dir);
        assert_int_equal(chown(path, 0, 4000002), 0);
        assert_int_equal(chmod(path, 0750), 0);
        look(root, "a/b/f", ""); /* the folder is the board's */
        assert_int_equal(chown(path, 0, 4000001), 0);
        look(root, "a/b/f", " hr");
        (void)snprintf(path, sizeof path, "%s/a", dir);
        assert_int_equal(chmod(path, 0711), 0); /* may be passed, not looked into */
        look(root, "a/b/f", "");
    } else {
        print_message("changing owners needs root: not tried\n");
        assert_int_equal(fchmodat(root, "a/b", 0700, 0), 0);
        look(root, "a/b/f", "");
    }
    (void)close(root);
    char command[64];
    (void)snprintf(command, sizeof command, "rm -rf %s", dir);
    assert_int_equal(system(command), 0);
}

static void test_bound(void **state)
{
    struct arena a;
    struct share_acl acl;
    struct error err;
    static struct posix many[1100];
    static unsigned char blob[1100 * 8 + 4];
    (void)state;
    arena_init(&a, 1 << 20);
    for (size_t i = 0; i < 1100; i++) {
        many[i] = (struct posix){8, 4, (uint32_t)i};
    }
    assert_int_equal(share_posix(posix_blob(many, 1100, blob), 0, 0, 0, &a, &acl, &err),
                     STATUS_TOO_LARGE);
    arena_reset(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_posix),   cmocka_unit_test(test_posix_malformed),
        cmocka_unit_test(test_windows), cmocka_unit_test(test_windows_without_list),
        cmocka_unit_test(test_nfs),     cmocka_unit_test(test_folders),
        cmocka_unit_test(test_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
