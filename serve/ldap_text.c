#include "serve/ldap_text.h"

void ldap_escape_filter(struct buf *out, struct str value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if (c < 0x20 || c >= 0x7f || strchr("*()\\&|!=<>~/", c) != NULL) {
            buf_printf(out, "\\%02x", c);
        } else {
            buf_char(out, (char)c);
        }
    }
}

void ldap_escape_dn(struct buf *out, struct str value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        bool end = i == 0 || i + 1 == value.len;
        if (c < 0x20 || c >= 0x7f || strchr("\"+,;<>\\=#/", c) != NULL || (c == ' ' && end)) {
            buf_printf(out, "\\%02X", c);
        } else {
            buf_char(out, (char)c);
        }
    }
}

enum status ldap_fill(const char *template, struct str u, const char *d, ldap_escape_fn escape,
                      struct buf *out, struct error *err)
{
    for (const char *p = template; *p != '\0'; p++) {
        if (*p != '%') {
            buf_char(out, *p);
        } else if (p[1] == 'u') {
            escape(out, u);
            p++;
        } else if (p[1] == 'd' && d != NULL) {
            escape(out, str_from(d));
            p++;
        } else if (p[1] == '%') {
            buf_char(out, '%');
            p++;
        } else {
            return error_set(err, STATUS_INVALID, "\"%.100s\": %% is followed by u, d or %%",
                             template);
        }
    }
    enum status s = buf_status(out);
    return s == STATUS_OK ? s : error_set(err, s, "a name of the directory is too long");
}

bool ldap_user_ok(struct str user)
{
    bool ok =
        user.len > 0 && user.len <= 128 && user.ptr[0] != ' ' && user.ptr[user.len - 1] != ' ';
    for (size_t i = 0; ok && i < user.len; i++) {
        ok = (unsigned char)user.ptr[i] >= 0x20 && user.ptr[i] != 0x7f;
    }
    return ok;
}
