/* Addresses of machines and ranges of them. IPv4 is ::ffff:a.b.c.d, so that one comparison does for
 * both, however an address was written. Pure. */
#ifndef CARREL_BASE_ADDRESS_H
#define CARREL_BASE_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

#define ADDRESS_TEXT 64

struct address_range {
    uint8_t address[16];
    uint8_t bits; /* how many of the 128 lead */
};

/* "192.0.2.7", "2001:db8::7": no port, no zone, nothing around it. */
bool address_read(struct str text, uint8_t out[16]);
/* As everybody writes it, without a range's length. */
void address_text(const uint8_t address[16], char out[ADDRESS_TEXT]);
/* An address, or "10.0.0.0/8", "2001:db8::/32". */
bool address_range_read(struct str text, struct address_range *out);
/* With its length. */
void address_range_text(const struct address_range *r, char out[ADDRESS_TEXT]);
bool address_in(const uint8_t address[16], const struct address_range *ranges, size_t n);
/* Who can have one address of IPv6 can have all of its 64 bits: what is counted for an address is
 * counted for these. Of IPv4 it is the address itself. */
struct address_range address_household(const uint8_t address[16]);

#endif
