#include "base/destination.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <strings.h>

static enum status bad_url(struct error *err, const char *why)
{
    return error_set(err, STATUS_INVALID, "%s", why);
}

static bool host_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' ||
           c == ':';
}

static enum status take_host(struct destination *out, struct str host, struct error *err)
{
    while (host.len > 1 && host.ptr[host.len - 1] == '.') {
        host.len--;
    }
    if (host.len == 0 || host.len >= sizeof out->host) {
        return bad_url(err, "it names no host");
    }
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];
        c = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
        if (!host_character(c)) {
            return bad_url(err, "its host has a character that no host name has (write "
                                "international names as xn--...)");
        }
        out->host[i] = c;
    }
    out->host[host.len] = '\0';
    return STATUS_OK;
}

static enum status take_port(struct destination *out, struct str port, struct error *err)
{
    uint32_t n = 0;
    for (size_t i = 0; i < port.len; i++) {
        if (port.ptr[i] < '0' || port.ptr[i] > '9' || n > 65535) {
            n = 0;
            break;
        }
        n = n * 10 + (uint32_t)(port.ptr[i] - '0');
    }
    if (n == 0 || n > 65535) {
        return bad_url(err, "its port is not a number from 1 to 65535");
    }
    out->port = (uint16_t)n;
    return STATUS_OK;
}

enum status destination_of_url(const char *url, struct destination *out, struct error *err)
{
    static const struct {
        const char *scheme;
        uint16_t port;
    } known[] = {{"https", 443}, {"http", 80}, {"ldaps", 636}, {"ldap", 389}, {"tls", 6514}};
    struct str s = {.ptr = NULL};
    struct destination d = {.port = 0};
    for (size_t i = 0; i < sizeof known / sizeof *known && s.ptr == NULL; i++) {
        size_t len = strlen(known[i].scheme);
        if (strncasecmp(url, known[i].scheme, len) == 0 && strncmp(url + len, "://", 3) == 0) {
            s = str_from(url + len + 3);
            memcpy(d.scheme, known[i].scheme, len + 1);
            d.port = known[i].port;
        }
    }
    if (s.ptr == NULL) {
        return bad_url(err, "it must begin with https:// (or another scheme that is known here)");
    }
    s.len = strcspn(s.ptr, "/?#\\");
    if (memchr(s.ptr, '@', s.len) != NULL) {
        return bad_url(err, "it must not hold a user name or password");
    }
    const char *end = s.ptr + s.len, *colon = NULL;
    struct str host = s;
    if (s.len > 0 && s.ptr[0] == '[') {
        const char *close = memchr(s.ptr, ']', s.len);
        if (close == NULL) {
            return bad_url(err, "its [ is not closed");
        }
        host = (struct str){.ptr = s.ptr + 1, .len = (size_t)(close - s.ptr) - 1};
        colon = close + 1 < end ? close + 1 : NULL;
        if (colon != NULL && *colon != ':') {
            return bad_url(err, "something other than a port follows its ]");
        }
    } else {
        colon = memchr(s.ptr, ':', s.len);
        host.len = colon == NULL ? s.len : (size_t)(colon - s.ptr);
    }
    enum status status = take_host(&d, host, err);
    if (status == STATUS_OK && colon != NULL) {
        status =
            take_port(&d, (struct str){.ptr = colon + 1, .len = (size_t)(end - colon) - 1}, err);
    }
    if (status == STATUS_OK) {
        *out = d;
    }
    return status;
}

void destination_format(const struct destination *d, char out[DESTINATION_CAP])
{
    bool v6 = strchr(d->host, ':') != NULL;
    (void)snprintf(out, DESTINATION_CAP, v6 ? "[%s]:%u" : "%s:%u", d->host, (unsigned)d->port);
}

bool destination_matches(const struct destination *d, struct str host, uint16_t port)
{
    if (host.len > 1 && host.ptr[host.len - 1] == '.') {
        host.len--;
    }
    return port == d->port && host.len == strlen(d->host) &&
           strncasecmp(host.ptr, d->host, host.len) == 0;
}

static bool private_v4(uint32_t a)
{
    static const struct {
        uint32_t net;
        unsigned bits;
    } ranges[] = {
        {0x00000000, 8},                    /* this network */
        {0x0a000000, 8},                    /* private */
        {0x64400000, 10},                   /* carrier-grade translation */
        {0x7f000000, 8},                    /* loopback */
        {0xa9fe0000, 16},                   /* link-local, cloud metadata */
        {0xac100000, 12},                   /* private */
        {0xc0000000, 24},                   /* protocol assignments */
        {0xc0000200, 24},                   /* documentation */
        {0xc0586300, 24},                   /* 6to4 relays */
        {0xc0a80000, 16},                   /* private */
        {0xc6120000, 15},                   /* benchmarks */
        {0xc6336400, 24}, {0xcb007100, 24}, /* documentation */
        {0xe0000000, 4},                    /* multicast */
        {0xf0000000, 4},                    /* reserved, broadcast */
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        if ((a ^ ranges[i].net) >> (32 - ranges[i].bits) == 0) {
            return true;
        }
    }
    return false;
}

static uint32_t v4_at(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool private_v6(const uint8_t a[16])
{
    static const uint8_t zero[12] = {0};
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    static const uint8_t translated[12] = {0x00, 0x64, 0xff, 0x9b};
    if (memcmp(a, mapped, 12) == 0 || memcmp(a, translated, 12) == 0) {
        return private_v4(v4_at(a + 12));
    }
    if (memcmp(a, zero, 12) == 0) {
        return true; /* ::, ::1, IPv4-compatible */
    }
    if (a[0] == 0x20 && a[1] == 0x02) {
        return private_v4(v4_at(a + 2)); /* 6to4 */
    }
    if (a[0] == 0x20 && a[1] == 0x01 && a[2] < 2) {
        return true; /* protocol assignments, 2001::/23: Teredo, benchmarks, identifiers */
    }
    if (a[0] == 0x20 && a[1] == 0x01 && a[2] == 0x0d && a[3] == 0xb8) {
        return true; /* documentation */
    }
    /* only 2000::/3 is public unicast, and the last of it for documentation (RFC 9637) */
    return (a[0] & 0xe0) != 0x20 || (a[0] == 0x3f && a[1] == 0xff && a[2] < 0x10);
}

bool address_private(const struct sockaddr *sa)
{
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof in);
        return private_v4(ntohl(in.sin_addr.s_addr));
    }
    if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof in6);
        return private_v6(in6.sin6_addr.s6_addr);
    }
    return true;
}

bool destination_is_private_address(const struct destination *d)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, d->host, &in.sin_addr) == 1) {
        return private_v4(ntohl(in.sin_addr.s_addr));
    }
    return inet_pton(AF_INET6, d->host, &in6.sin6_addr) == 1 && private_v6(in6.sin6_addr.s6_addr);
}

bool destination_same_origin(const struct destination *a, const struct destination *b)
{
    return a->port == b->port && strcmp(a->scheme, b->scheme) == 0 && strcmp(a->host, b->host) == 0;
}
