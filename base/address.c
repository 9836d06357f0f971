#include "base/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define V4_LEAD 96U

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool is_v4(const uint8_t address[16])
{
    return memcmp(address, mapped, sizeof mapped) == 0;
}

bool address_read(struct str text, uint8_t out[16])
{
    char z[INET6_ADDRSTRLEN];
    if (text.len == 0 || text.len >= sizeof z || memchr(text.ptr, '\0', text.len) != NULL) {
        return false;
    }
    memcpy(z, text.ptr, text.len);
    z[text.len] = '\0';
    memcpy(out, mapped, sizeof mapped);
    return inet_pton(AF_INET, z, out + sizeof mapped) == 1 || inet_pton(AF_INET6, z, out) == 1;
}

void address_text(const uint8_t address[16], char out[ADDRESS_TEXT])
{
    bool v4 = is_v4(address);
    out[0] = '\0';
    (void)inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? address + sizeof mapped : address, out,
                    ADDRESS_TEXT);
}

/* At most three digits, and no sign. */
static bool read_bits(struct str digits, unsigned *out)
{
    *out = 0;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.ptr[i] < '0' || digits.ptr[i] > '9') {
            return false;
        }
        *out = *out * 10 + (unsigned)(digits.ptr[i] - '0');
    }
    return digits.len > 0 && digits.len < 4;
}

bool address_range_read(struct str text, struct address_range *out)
{
    const char *slash = text.len == 0 ? NULL : memchr(text.ptr, '/', text.len);
    size_t len = slash == NULL ? text.len : (size_t)(slash - text.ptr);
    struct address_range r = {.bits = 128};
    unsigned bits = 0;
    if (!address_read((struct str){text.ptr, len}, r.address)) {
        return false;
    }
    if (slash != NULL) {
        if (!read_bits((struct str){slash + 1, text.len - len - 1}, &bits)) {
            return false;
        }
        bool dotted = memchr(text.ptr, ':', len) == NULL;
        bits += dotted ? V4_LEAD : 0;
        if (bits > 128) {
            return false;
        }
        r.bits = (uint8_t)bits;
    }
    *out = r;
    return true;
}

void address_range_text(const struct address_range *r, char out[ADDRESS_TEXT])
{
    bool v4 = r->bits >= V4_LEAD && is_v4(r->address);
    char text[INET6_ADDRSTRLEN] = "";
    (void)inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? r->address + sizeof mapped : r->address, text,
                    sizeof text);
    (void)snprintf(out, ADDRESS_TEXT, "%s/%u", text, r->bits - (v4 ? V4_LEAD : 0U));
}

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    if (memcmp(a, b, bits / 8) != 0) {
        return false;
    }
    unsigned rest = bits % 8;
    return rest == 0 || ((a[bits / 8] ^ b[bits / 8]) >> (8 - rest)) == 0;
}

bool address_in(const uint8_t address[16], const struct address_range *ranges, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (same_bits(address, ranges[i].address, ranges[i].bits)) {
            return true;
        }
    }
    return false;
}

struct address_range address_household(const uint8_t address[16])
{
    struct address_range r = {.bits = is_v4(address) ? 128 : 64};
    memcpy(r.address, address, r.bits / 8U);
    return r;
}
