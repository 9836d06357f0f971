/* Archives (zip, tar, 7z, rar, cab, iso) and single compressed files, read with libarchive from
 * memory. Their members come out as children; their own text is the list of names, so that an
 * archive is found by what lies in it.
 *
 * An archive is walked once, front to back, and what cannot be unpacked (encrypted, damaged, over a
 * limit) is left out and said; the rest stays. Links, devices and pipes are no documents. */
#include <archive.h>
#include <archive_entry.h>
#include <locale.h>
#include <string.h>
#include <time.h>

#include "base/text/text.h"
#include "ingest/formats/charset.h"
#include "ingest/formats/format.h"
#include "ingest/member_name.h"

#define MEMBERS_LOOKED_AT 200000 /* headers, folders and links among them */
#define NAMES_MAX 20000          /* in the text */
#define BLOCK_BYTES ((size_t)64 << 10)
#define LOCKED_NAMED 3
#define DATA_RUN 64 /* blocks between two looks at the clock */

struct unpack {
    const struct extract_input *in;
    struct emitter *e;
    struct archive *a;
    char *block;
    bool zip;
    uint64_t files, links, specials, locked, damaged, named;
    bool out_of_time;
    struct buf locked_names;
};

/* Most of the processor time that it may have is gone: what is out by now stays. */
static bool time_is_up(struct unpack *u)
{
    struct timespec now;
    if (u->in->cpu_s > 0 && clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) == 0 &&
        (uint64_t)now.tv_sec * 4 >= (uint64_t)u->in->cpu_s * 3) {
        u->out_of_time = true;
    }
    return u->out_of_time;
}

/* What libarchive says, for people: it names no file of ours, but may quote the archive's bytes. */
static const char *complaint(struct archive *a)
{
    const char *said = archive_error_string(a);
    return said == NULL ? "its structure is damaged" : said;
}

static enum status open_archive(struct unpack *u, const char *format, struct error *err)
{
    struct archive *a = u->a;
    int r = ARCHIVE_OK;
    bool ok = archive_read_support_format_tar(a) >= ARCHIVE_WARN &&
              archive_read_support_format_zip(a) >= ARCHIVE_WARN &&
              archive_read_support_format_7zip(a) >= ARCHIVE_WARN &&
              archive_read_support_format_cab(a) >= ARCHIVE_WARN &&
              archive_read_support_format_rar(a) >= ARCHIVE_WARN &&
              archive_read_support_format_rar5(a) >= ARCHIVE_WARN &&
              archive_read_support_format_iso9660(a) >= ARCHIVE_WARN;
    (void)archive_read_support_filter_gzip(a);
    (void)archive_read_support_filter_bzip2(a);
    (void)archive_read_support_filter_xz(a);
    (void)archive_read_support_filter_lzma(a);
    (void)archive_read_support_filter_zstd(a);
    (void)archive_read_support_filter_lz4(a);
    (void)archive_read_support_filter_compress(a);
    if (strcmp(format, "gz") == 0) { /* else any file at all would be an archive of itself */
        ok = ok && archive_read_support_format_raw(a) >= ARCHIVE_WARN;
    }
    if (!ok) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    r = archive_read_open_memory(a, u->in->data.ptr, u->in->data.len);
    return r < ARCHIVE_WARN ? error_set(err, STATUS_INVALID,
                                        "it is no archive that can be read: %.200s", complaint(a))
                            : STATUS_OK;
}

/* The member's name as its archive has it. A zip that does not say UTF-8 says code page 437. */
static struct str name_of(struct unpack *u, struct archive_entry *entry, struct buf *held)
{
    const char *raw = archive_entry_pathname(entry);
    if (raw == NULL) {
        raw = archive_entry_pathname_utf8(entry);
    }
    struct str name = raw == NULL ? STR("") : str_from(raw);
    buf_reset(held);
    if (u->zip && !text_utf8_valid(name) &&
        charset_decode(name, "CP437", held, NULL) == STATUS_OK && held->len > 0) {
        return buf_view(held);
    }
    return name;
}

static void list_name(struct unpack *u, struct str raw)
{
    char name[MEMBER_NAME_CAP];
    if (u->named < NAMES_MAX) {
        size_t n = member_name_clean(raw, "unnamed", name);
        emit_text(u->e, EX__BLOCK__KIND__LIST_ITEM, 0, (struct str){name, n});
        u->named++;
    }
}

static void note_locked(struct unpack *u, struct str raw)
{
    char name[MEMBER_NAME_CAP];
    if (++u->locked <= LOCKED_NAMED) {
        size_t n = member_name_clean(raw, "unnamed", name);
        buf_printf(&u->locked_names, "%s%.*s", u->locked > 1 ? ", " : "", (int)(n < 80 ? n : 80),
                   name);
    }
}

/* The member's bytes; false: the archive is at its end, or beyond reading. */
static bool unpack_data(struct unpack *u, struct str raw)
{
    for (size_t run = 1; !emit_failed(u->e); run++) {
        if (run % DATA_RUN == 0 && time_is_up(u)) {
            emit_child_drop(u->e);
            return false;
        }
        la_ssize_t n = archive_read_data(u->a, u->block, BLOCK_BYTES);
        if (n > 0 && !emit_child_data(u->e, (struct str){u->block, (size_t)n})) {
            return u->e->children.bytes > 0;
        }
        if (n == 0) {
            emit_child_end(u->e);
            return true;
        }
        if (n < 0 && archive_read_has_encrypted_entries(u->a) > 0) {
            emit_child_drop(u->e);
            note_locked(u, raw);
            return n != ARCHIVE_FATAL;
        }
        if (n < 0) {
            emit_child_drop(u->e);
            u->damaged++;
            return n != ARCHIVE_FATAL;
        }
    }
    return false;
}

/* One member; false: no further. */
static bool take_member(struct unpack *u, struct archive_entry *entry, struct buf *held)
{
    unsigned kind = archive_entry_filetype(entry);
    bool link = archive_entry_hardlink(entry) != NULL || kind == AE_IFLNK;
    if (link || (kind != AE_IFREG && kind != 0)) {
        u->links += link;
        u->specials += !link && kind != AE_IFDIR;
        return true;
    }
    bool bare = archive_format(u->a) == ARCHIVE_FORMAT_RAW;
    struct str raw = bare ? STR("") : name_of(u, entry, held);
    if (raw.len > 0 && (raw.ptr[raw.len - 1] == '/' || raw.ptr[raw.len - 1] == '\\')) {
        return true; /* a folder, from a tool that says so by its name only */
    }
    u->files++;
    if (!bare) {
        list_name(u, raw);
    }
    if (archive_entry_is_encrypted(entry)) {
        note_locked(u, raw);
        return true;
    }
    int64_t size = archive_entry_size_is_set(entry) ? archive_entry_size(entry) : 0;
    int64_t modified = archive_entry_mtime_is_set(entry) ? (int64_t)archive_entry_mtime(entry) : 0;
    modified = modified > 0 && modified < INT64_MAX / 1000 ? modified * 1000 : 0;
    if (!emit_child_begin(u->e, raw, size > 0 ? (uint64_t)size : 0, modified)) {
        return !emit_failed(u->e); /* libarchive passes over what is not read */
    }
    return unpack_data(u, raw);
}

static void say_what_is_missing(struct unpack *u)
{
    if (u->locked > 0) {
        emit_note(u->e, "%llu encrypted file%s in it cannot be read: %.200s%s",
                  (unsigned long long)u->locked, u->locked == 1 ? "" : "s",
                  u->locked_names.len > 0 ? u->locked_names.ptr : "",
                  u->locked > LOCKED_NAMED ? ", ..." : "");
    }
    if (u->links > 0) {
        emit_note(u->e, "%llu link%s left out", (unsigned long long)u->links,
                  u->links == 1 ? " in it was" : "s in it were");
    }
    if (u->specials > 0) {
        emit_note(u->e, "%llu device%s left out", (unsigned long long)u->specials,
                  u->specials == 1 ? " or pipe in it was" : "s and pipes in it were");
    }
    if (u->damaged > 0) {
        emit_note(u->e, "%llu damaged file%s left out", (unsigned long long)u->damaged,
                  u->damaged == 1 ? " in it was" : "s in it were");
    }
    if (u->out_of_time) {
        emit_note(u->e, "what comes behind %llu files in it was left out: it took too long",
                  (unsigned long long)u->files);
    }
}

static enum status walk(struct unpack *u, struct error *err)
{
    struct archive_entry *entry = NULL;
    struct buf held;
    int r = ARCHIVE_OK;
    size_t looked = 0;
    bool more = true;
    buf_init(&held, (size_t)256 << 10);
    while (more && !emit_failed(u->e) && !time_is_up(u)) {
        r = archive_read_next_header(u->a, &entry);
        if (r == ARCHIVE_EOF || r == ARCHIVE_FATAL) {
            break;
        }
        if (++looked > MEMBERS_LOOKED_AT) {
            emit_note(u->e, "what comes behind the first %d entries in it was left out",
                      MEMBERS_LOOKED_AT);
            break;
        }
        if (r >= ARCHIVE_WARN) {
            more = take_member(u, entry, &held);
        } else {
            u->damaged++;
        }
    }
    buf_deinit(&held);
    bool locked = archive_read_has_encrypted_entries(u->a) > 0;
    if (r == ARCHIVE_FATAL && locked && u->files == 0) {
        return error_set(
            err, STATUS_UNSUPPORTED,
            "the archive is encrypted: unpack it into the folder, or pack it without a "
            "password");
    }
    if (r == ARCHIVE_FATAL && u->files == 0) {
        return error_set(err, STATUS_INVALID, "the archive cannot be read: %.200s",
                         complaint(u->a));
    }
    if (r == ARCHIVE_FATAL) {
        emit_note(u->e, "it is damaged: what comes behind %llu files in it was left out (%.120s)",
                  (unsigned long long)u->files, complaint(u->a));
    }
    say_what_is_missing(u);
    return STATUS_OK;
}

static enum status extract_as(const struct extract_input *in, struct emitter *e, const char *format,
                              struct error *err)
{
    struct unpack u = {.in = in, .e = e, .zip = strcmp(format, "zip") == 0};
    /* names in UTF-8 are given as they are only in a locale of UTF-8 */
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    locale_t before = utf8 != (locale_t)0 ? uselocale(utf8) : (locale_t)0;
    buf_init(&u.locked_names, 1024);
    u.a = archive_read_new();
    u.block = arena_alloc(in->arena, BLOCK_BYTES);
    enum status s = u.a == NULL || u.block == NULL
                        ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                        : open_archive(&u, format, err);
    if (s == STATUS_OK) {
        emit_document(e, format, STR(""), STR(""), 0);
        s = walk(&u, err);
    }
    if (s == STATUS_OK && u.files == 0 && !emit_failed(e)) {
        s = e->children.over_bytes > 0
                ? error_set(err, STATUS_TOO_LARGE,
                            "what is in it is larger than what may be unpacked")
                : error_set(err, STATUS_INVALID, "there are no files in it");
    }
    if (u.a != NULL) {
        (void)archive_read_free(u.a);
    }
    if (utf8 != (locale_t)0) {
        (void)uselocale(before);
        freelocale(utf8);
    }
    buf_deinit(&u.locked_names);
    return s;
}

#define ARCHIVE_FORMAT(name, called)                                                               \
    enum status name##_extract(const struct extract_input *in, struct emitter *e,                  \
                               struct error *err)                                                  \
    {                                                                                              \
        return extract_as(in, e, called, err);                                                     \
    }
ARCHIVE_FORMAT(zip, "zip")
ARCHIVE_FORMAT(tar, "tar")
ARCHIVE_FORMAT(sevenzip, "7z")
ARCHIVE_FORMAT(rar, "rar")
ARCHIVE_FORMAT(cab, "cab")
ARCHIVE_FORMAT(iso, "iso")
ARCHIVE_FORMAT(gz, "gz")
