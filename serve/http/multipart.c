#include "serve/http/multipart.h"

#include <string.h>
#include <strings.h>

enum {
    IN_PREAMBLE, /* looking for the first delimiter; a virtual CR LF precedes the body */
    AFTER_DELIMITER,
    AFTER_CR,
    AFTER_DASH,
    IN_HEADER,
    HEADER_LF,
    IN_DATA,
    AT_PART_END,
    ENDED,
    FAILED,
};

static bool boundary_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("'()+_,-./:=? ", c) != NULL);
}

/* One parameter of a header value: name="quoted" or name=token. False when it is absent. \" and
 * \\ are undone; %22 is what browsers write for a quote. */
static bool parameter(struct str v, const char *name, char *out, size_t cap, size_t *len)
{
    size_t n = strlen(name);
    bool quoted = false;
    for (size_t i = 0; i + n + 1 < v.len; i++) {
        if (v.ptr[i] == '"' && (i == 0 || v.ptr[i - 1] != '\\')) {
            quoted = !quoted;
        }
        if (quoted || v.ptr[i] != ';') {
            continue;
        }
        size_t k = i + 1;
        while (k < v.len && (v.ptr[k] == ' ' || v.ptr[k] == '\t')) {
            k++;
        }
        if (v.len - k <= n || strncasecmp(v.ptr + k, name, n) != 0 || v.ptr[k + n] != '=') {
            continue;
        }
        k += n + 1;
        bool q = k < v.len && v.ptr[k] == '"';
        k += q;
        size_t w = 0;
        for (; k < v.len && (q ? v.ptr[k] != '"' : v.ptr[k] != ';' && v.ptr[k] != ' '); k++) {
            char c = v.ptr[k];
            if (q && c == '\\' && k + 1 < v.len && (v.ptr[k + 1] == '"' || v.ptr[k + 1] == '\\')) {
                c = v.ptr[++k];
            } else if (q && c == '%' && k + 2 < v.len && v.ptr[k + 1] == '2' &&
                       v.ptr[k + 2] == '2') {
                c = '"';
                k += 2;
            }
            if (w + 1 >= cap) {
                return false;
            }
            out[w++] = c;
        }
        out[w] = '\0';
        *len = w;
        return true;
    }
    return false;
}

enum status multipart_init(struct multipart *m, struct str content_type, struct error *err)
{
    *m = (struct multipart){.state = IN_PREAMBLE, .matched = 2};
    static const char wanted[] = "multipart/form-data";
    char boundary[MULTIPART_BOUNDARY_MAX + 1];
    size_t len = 0;
    bool ok = content_type.len > sizeof wanted - 1 &&
              strncasecmp(content_type.ptr, wanted, sizeof wanted - 1) == 0 &&
              parameter(content_type, "boundary", boundary, sizeof boundary, &len) && len > 0 &&
              boundary[len - 1] != ' ';
    for (size_t i = 0; ok && i < len; i++) {
        ok = boundary_char(boundary[i]);
    }
    if (!ok) {
        return error_set(err, STATUS_INVALID,
                         "Content-Type: multipart/form-data without a valid boundary");
    }
    memcpy(m->delimiter, "\r\n--", 4);
    memcpy(m->delimiter + 4, boundary, len);
    m->delimiter_len = len + 4;
    return STATUS_OK;
}

static enum multipart_event fail(struct multipart *m, const char *reason)
{
    m->state = FAILED;
    m->reason = reason;
    return MULTIPART_BAD;
}

/* A header line of a part, without its end. */
static bool header_line(struct multipart *m)
{
    const char *colon = memchr(m->line, ':', m->line_len);
    if (colon == NULL) {
        return false;
    }
    struct str name = {m->line, (size_t)(colon - m->line)};
    struct str v = str_trim((struct str){colon + 1, m->line_len - name.len - 1});
    if (name.len == 19 && strncasecmp(name.ptr, "content-disposition", 19) == 0) {
        size_t n;
        if (v.len < 9 || strncasecmp(v.ptr, "form-data", 9) != 0 ||
            !parameter(v, "name", m->name, sizeof m->name, &n) || n != strlen(m->name)) {
            return false;
        }
        m->is_file = parameter(v, "filename", m->filename, sizeof m->filename, &m->filename_len);
        return !m->is_file || m->filename_len == strlen(m->filename);
    }
    if (name.len == 12 && strncasecmp(name.ptr, "content-type", 12) == 0 &&
        v.len < sizeof m->type) {
        memcpy(m->type, v.ptr, v.len);
        m->type[v.len] = '\0';
    }
    return true;
}

static void begin_part(struct multipart *m)
{
    m->state = IN_HEADER;
    m->line_len = 0;
    m->name[0] = m->filename[0] = m->type[0] = '\0';
    m->filename_len = 0;
    m->is_file = false;
}

/* Bytes outside data, one at a time. MORE: go on. */
static enum multipart_event framing(struct multipart *m, char c)
{
    switch (m->state) {
    case AFTER_DELIMITER:
        if (c == '\r') {
            m->state = AFTER_CR;
        } else if (c == '-') {
            m->state = AFTER_DASH;
        } else if (c != ' ' && c != '\t') {
            return fail(m, "a delimiter is followed by neither a line end nor --");
        }
        return MULTIPART_MORE;
    case AFTER_CR:
        if (c != '\n') {
            return fail(m, "a delimiter line does not end in CR LF");
        }
        if (++m->parts > MULTIPART_PARTS_MAX) {
            return fail(m, "more parts than allowed");
        }
        begin_part(m);
        return MULTIPART_MORE;
    case AFTER_DASH:
        if (c != '-') {
            return fail(m, "a delimiter is followed by neither a line end nor --");
        }
        m->state = ENDED;
        return MULTIPART_END;
    case IN_HEADER:
        if (c == '\r') {
            m->state = HEADER_LF;
        } else if (c == '\n' || c == '\0') {
            return fail(m, "a part's header holds a control character");
        } else if (m->line_len == sizeof m->line) {
            return fail(m, "a part's header is longer than allowed");
        } else {
            m->line[m->line_len++] = c;
        }
        return MULTIPART_MORE;
    default: /* HEADER_LF */
        if (c != '\n') {
            return fail(m, "a part's header line does not end in CR LF");
        }
        if (m->line_len == 0) {
            if (m->name[0] == '\0') {
                return fail(m, "a part without Content-Disposition: form-data; name=...");
            }
            m->state = IN_DATA;
            m->matched = 0;
            return MULTIPART_PART;
        }
        if (!header_line(m)) {
            return fail(m, "a part's header is malformed");
        }
        m->line_len = 0;
        m->state = IN_HEADER;
        return MULTIPART_MORE;
    }
}

/* The delimiter begins with CR and holds no other, so after a mismatch only the byte at hand can
 * begin it anew. Held-back bytes equal the delimiter's own beginning: they are handed out from
 * there. */
static enum multipart_event in_data(struct multipart *m, const char *p, size_t len, size_t *used,
                                    struct str *data)
{
    size_t start = *used;
    while (*used < len) {
        if (m->matched == 0) {
            const char *cr = memchr(p + *used, '\r', len - *used);
            *used = cr == NULL ? len : (size_t)(cr - p);
            if (*used > start) {
                *data = (struct str){p + start, *used - start};
                return MULTIPART_DATA;
            }
        }
        if (p[*used] == m->delimiter[m->matched]) {
            (*used)++;
            if (++m->matched == m->delimiter_len) {
                m->matched = 0;
                m->state = m->state == IN_DATA ? AT_PART_END : AFTER_DELIMITER;
                return MULTIPART_MORE;
            }
            continue;
        }
        *data = (struct str){m->delimiter, m->matched};
        m->matched = 0;
        return MULTIPART_DATA;
    }
    return MULTIPART_MORE;
}

enum multipart_event multipart_next(struct multipart *m, const char *p, size_t len, size_t *used,
                                    struct str *data)
{
    *used = 0;
    for (;;) {
        enum multipart_event e = MULTIPART_MORE;
        int before = m->state;
        switch (m->state) {
        case FAILED:
            return MULTIPART_BAD;
        case ENDED:
            *used = len;
            return MULTIPART_MORE;
        case AT_PART_END:
            m->state = AFTER_DELIMITER;
            return MULTIPART_PART_END;
        case IN_PREAMBLE:
        case IN_DATA:
            e = in_data(m, p, len, used, data);
            if (e == MULTIPART_DATA && before == IN_PREAMBLE) {
                continue; /* text before the first delimiter means nothing */
            }
            break;
        default:
            if (*used < len) {
                e = framing(m, p[(*used)++]);
            }
            break;
        }
        if (e != MULTIPART_MORE || (m->state == before && *used == len)) {
            return e;
        }
    }
}
