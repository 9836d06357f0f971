#include "ingest/formats/detect.h"

#include <stdio.h>
#include <strings.h>

#include "ingest/formats/binary.h"
#include "ingest/formats/format_names.h"

static const struct {
    const char *name, *endings; /* between spaces */
} formats[] = {
#define FORMAT(name, parser, endings) {#name, endings},
#include "ingest/formats/formats.def"
#undef FORMAT
};

#define ENDING_MAX 16
#define JUNK_MAX 1024 /* before the PDF begins: what readers forgive */
#define HEADERS_LOOK 64
#define DIGITS_MIN 9 /* of the time that a message in a maildir is named by */

/* The format that ".docx" is read as. */
static const char *by_ending(const char *ending)
{
    char words[ENDING_MAX + 3];
    if (strlen(ending) > ENDING_MAX || strchr(ending, ' ') != NULL) {
        return NULL;
    }
    (void)snprintf(words, sizeof words, " %s ", ending);
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (strcasestr(formats[i].endings, words) != NULL) {
            return formats[i].name;
        }
    }
    return NULL;
}

static bool is_one_of(const char *format, const char *words)
{
    char word[ENDING_MAX + 3];
    int n = snprintf(word, sizeof word, " %s ", format);
    return n > 0 && (size_t)n < sizeof word && strstr(words, word) != NULL;
}

static bool holds(struct str s, struct str what)
{
    return s.len >= what.len && memmem(s.ptr, s.len, what.ptr, what.len) != NULL;
}

static bool begins(struct str s, const char *word) /* whatever the case */
{
    size_t n = strlen(word);
    return s.len >= n && strncasecmp(s.ptr, word, n) == 0;
}

/* ---- ZIP: the kind is in the first member of some, in the members' names of others ---- */

static const char *zip_declared(struct str type)
{
    static const struct {
        const char *type, *ending;
    } known[] = {{"application/epub+zip", ".epub"},
                 {"application/vnd.oasis.opendocument.text", ".odt"},
                 {"application/vnd.oasis.opendocument.spreadsheet", ".ods"},
                 {"application/vnd.oasis.opendocument.presentation", ".odp"}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (str_starts(type, str_from(known[i].type))) {
            return by_ending(known[i].ending);
        }
    }
    return NULL;
}

static const char *zip_kind(struct str h)
{
    static const struct {
        const char *folder, *ending;
    } known[] = {{"word/", ".docx"}, {"xl/", ".xlsx"}, {"ppt/", ".pptx"}};
    bool first = true;
    while (h.len > 30) {
        const unsigned char *p = (const unsigned char *)h.ptr;
        size_t n_name = p[26] | (size_t)p[27] << 8;
        size_t n_extra = p[28] | (size_t)p[29] << 8;
        struct str rest = {h.ptr + 30, h.len - 30};
        struct str name = {rest.ptr, n_name < rest.len ? n_name : rest.len};
        if (first && str_eq(name, STR("mimetype")) && n_name + n_extra < rest.len) {
            return zip_declared(
                (struct str){rest.ptr + n_name + n_extra, rest.len - n_name - n_extra});
        }
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
            if (str_starts(name, str_from(known[i].folder))) {
                return by_ending(known[i].ending);
            }
        }
        const char *next = memmem(rest.ptr, rest.len, "PK\3\4", 4);
        h = next == NULL ? STR("") : (struct str){next, (size_t)(rest.ptr + rest.len - next)};
        first = false;
    }
    return NULL;
}

/* ---- what the first bytes say for certain ---- */

static const char *by_magic(struct str h)
{
    static const struct {
        struct str magic;
        const char *ending;
    } known[] = {
        {{"%PDF-", 5}, ".pdf"},
        {{"{\\rtf", 5}, ".rtf"},
        {{"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", 8}, ".doc"}, /* its reader looks what it is */
        {{"\x89PNG\r\n\x1A\n", 8}, ".png"},
        {{"\xFF\xD8\xFF", 3}, ".jpg"},
        {{"II*\0", 4}, ".tif"},
        {{"MM\0*", 4}, ".tif"},
        {{"\x1F\x8B\x08", 3}, ".gz"},
        {{"7z\xBC\xAF\x27\x1C", 6}, ".7z"}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (str_starts(h, known[i].magic)) {
            return by_ending(known[i].ending);
        }
    }
    if (h.len >= 263 && memcmp(h.ptr + 257, "ustar", 5) == 0) {
        return by_ending(".tar");
    }
    return str_starts(h, STR("PK\3\4")) ? zip_kind(h) : NULL;
}

/* ---- mail ---- */

static struct str take_line(struct str *s)
{
    const char *nl = s->len == 0 ? NULL : memchr(s->ptr, '\n', s->len);
    struct str line = {s->ptr, nl == NULL ? s->len : (size_t)(nl - s->ptr)};
    size_t n = nl == NULL ? s->len : line.len + 1;
    s->ptr += n;
    s->len -= n;
    return line;
}

/* The length of "Name:" at the line's beginning; 0: it is no header. */
static size_t header_name(struct str line)
{
    for (size_t i = 0; i < line.len; i++) {
        if (line.ptr[i] == ':') {
            return i;
        }
        if (line.ptr[i] <= ' ' || line.ptr[i] > '~') {
            return 0;
        }
    }
    return 0;
}

/* Headers from the first line on, one of those that only mail has, or who wrote and one more. */
static bool is_mail(struct str h)
{
    static const char only[] = " received return-path delivered-to message-id mime-version "
                               "x-mailer dkim-signature envelope-to ";
    static const char also[] = " from to cc date subject sender reply-to ";
    unsigned certain = 0, likely = 0, lines = 0;
    for (; h.len > 0 && lines < HEADERS_LOOK; lines++) {
        struct str line = take_line(&h);
        char name[32];
        size_t n = header_name(line);
        if (lines > 0 && line.len > 0 && (line.ptr[0] == ' ' || line.ptr[0] == '\t')) {
            continue;
        }
        if (n == 0) {
            bool blank = line.len == 0 || str_eq(line, STR("\r"));
            if (lines == 0 || !blank) {
                return false;
            }
            break;
        }
        if (n < sizeof name - 2) {
            for (size_t i = 0; i < n; i++) {
                name[i] = (char)(line.ptr[i] >= 'A' && line.ptr[i] <= 'Z' ? line.ptr[i] + 32
                                                                          : line.ptr[i]);
            }
            name[n] = '\0';
            certain += is_one_of(name, only);
            likely += is_one_of(name, also);
        }
    }
    return certain + likely >= 2 && (certain > 0 || likely >= 3);
}

/* "From someone Sat Jan  3 01:05:34 1996", then headers. */
static bool is_mailbox(struct str h)
{
    struct str line = take_line(&h);
    return str_starts(line, STR("From ")) && holds(line, STR(":")) &&
           header_name(take_line(&h)) > 0;
}

/* A message in a maildir is named "1732200000.M1P2.host:2,S": what stands behind its last point is
 * no ending. */
static bool is_maildir_name(const char *name)
{
    size_t digits = strspn(name, "0123456789");
    return digits >= DIGITS_MIN && name[digits] == '.';
}

/* ---- text ---- */

static const char *markup(struct str h)
{
    static const char *const html[] = {"<!doctype html", "<html", "<head>", "<body", "<table"};
    for (size_t i = 0; i < sizeof html / sizeof html[0]; i++) {
        if (begins(h, html[i])) {
            return by_ending(".html");
        }
    }
    if (!begins(h, "<?xml") && !begins(h, "<!doctype")) {
        return NULL;
    }
    if (holds(h, STR("<office:document"))) {
        return holds(h, STR("opendocument.spreadsheet"))    ? by_ending(".fods")
               : holds(h, STR("opendocument.presentation")) ? by_ending(".fodp")
                                                            : by_ending(".fodt");
    }
    return by_ending(holds(h, STR("<html")) ? ".html" : ".xml");
}

/* An object, or an array of objects or texts: "[1] Smith" and "[x](y)" are none. */
static bool is_json(struct str h)
{
    size_t i = 1;
    if (h.len < 2 || (h.ptr[0] != '{' && h.ptr[0] != '[')) {
        return false;
    }
    while (i < h.len && strchr(" \t\r\n", h.ptr[i]) != NULL && h.ptr[i] != '\0') {
        i++;
    }
    char c = i < h.len ? h.ptr[i] : '\0';
    return c == '"' || (h.ptr[0] == '{' ? c == '}' && i + 1 == h.len : c == '{');
}

/* Text that no name says anything of. NULL: none. */
static const char *by_text(struct str h)
{
    static const struct str marks[] = {
        {"\xFF\xFE", 2}, {"\xFE\xFF", 2}, {"\0\0\xFE\xFF", 4}, {"\xEF\xBB\xBF", 3}};
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        if (str_starts(h, marks[i]) && marks[i].len != 3) {
            return by_ending(".txt");
        }
        if (str_starts(h, marks[i])) {
            h = (struct str){h.ptr + 3, h.len - 3};
        }
    }
    if (h.len == 0) {
        return NULL;
    }
    if (text_wide_without_mark(h) != NULL) {
        return by_ending(".txt");
    }
    if (memchr(h.ptr, '\0', h.len) != NULL || text_is_binary(h, "")) {
        return NULL;
    }
    struct str s = h;
    while (s.len > 0 && strchr(" \t\r\n", s.ptr[0]) != NULL) {
        s.ptr++;
        s.len--;
    }
    const char *format = s.len == 0        ? NULL
                         : is_mailbox(h)   ? by_ending(".mbox")
                         : is_mail(h)      ? by_ending(".eml")
                         : begins(h, "#!") ? by_ending(".sh")
                         : s.ptr[0] == '<' ? markup(s)
                         : is_json(s)      ? by_ending(".json")
                                           : NULL;
    return format != NULL ? format : s.len > 0 ? by_ending(".txt") : NULL;
}

/* ---- both ---- */

/* Formats that no text is: what is called so and is text was misnamed. */
#define BINARY " pdf docx xlsx pptx epub doc xls ppt msg rtf image "
/* What is called so holds nothing to read, whatever its first bytes happen to be. */
#define PROGRAMS " .exe .dll .com .sys .so .o .a "
/* Members of an archive may be an unpacked document's; it stays what it is called. */
#define KEEPS_ZIP " archive zip tar sevenzip gz "

static const char *misnamed(const char *named, struct str h)
{
    const char *text = by_text(h);
    /* a web page or a table in plain text called .xls: what many programs "export to Excel" */
    if (text != NULL && strcmp(named, "xls") == 0 && strcmp(text, "txt") == 0) {
        text = by_ending(".csv");
    }
    return text;
}

const char *format_detect(const char *file_name, const void *head, size_t head_len)
{
    struct str h = {head_len == 0 ? "" : head, head_len};
    const char *dot = strrchr(file_name, '.');
    const char *named = dot == NULL || dot == file_name ? NULL : by_ending(dot);
    const char *magic = by_magic(h);
    if (magic != NULL) {
        bool keep = named != NULL && str_starts(h, STR("PK")) && is_one_of(named, KEEPS_ZIP);
        /* the reader of all the old Office files looks itself which one it is */
        keep = keep ||
               (named != NULL && strcmp(magic, "doc") == 0 && is_one_of(named, " xls ppt msg "));
        return keep ? named : magic;
    }
    if (named == NULL) {
        const char *pdf =
            h.len < 5 ? NULL : memmem(h.ptr, h.len < JUNK_MAX ? h.len : JUNK_MAX, "%PDF-", 5);
        bool program = dot != NULL && is_one_of(dot, PROGRAMS);
        return pdf != NULL ? by_ending(".pdf") : program ? NULL : by_text(h);
    }
    if (is_maildir_name(file_name) && is_mail(h)) {
        return by_ending(".eml");
    }
    if (is_one_of(named, BINARY) && h.len >= 16 && !str_starts(h, STR("PK"))) {
        const char *text = misnamed(named, h);
        /* a PDF may have junk in front, and so may RTF */
        bool own = strcmp(named, "pdf") == 0 || strcmp(named, "rtf") == 0;
        return text != NULL && !own ? text : named;
    }
    return named;
}

const char *format_name(const char *name)
{
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (strcmp(formats[i].name, name) == 0) {
            return formats[i].name;
        }
    }
    return NULL;
}

bool format_has_members(const char *name)
{
    return is_one_of(name, " zip tar 7z rar cab iso gz eml mbox msg pdf ");
}
