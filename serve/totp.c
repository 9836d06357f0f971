#include "serve/totp.h"

#include "base/hash.h"

#define NAME_BYTES_MAX 120

uint32_t totp_code(const uint8_t secret[TOTP_SECRET_BYTES], int64_t step)
{
    uint8_t counter[8];
    uint8_t mac[HMAC_SHA1_BYTES];
    for (unsigned i = 0; i < 8; i++) {
        counter[7 - i] = (uint8_t)((uint64_t)step >> (8 * i));
    }
    hmac_sha1(secret, TOTP_SECRET_BYTES, counter, sizeof counter, mac);
    const uint8_t *at = mac + (mac[HMAC_SHA1_BYTES - 1] & 15);
    uint32_t n =
        (uint32_t)(at[0] & 0x7f) << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
    return n % 1000000;
}

bool totp_check(const uint8_t secret[TOTP_SECRET_BYTES], struct str code, int64_t now_s,
                int64_t last, int64_t *step)
{
    uint32_t given = 0;
    bool digits = code.len == 6;
    bool found = false;
    for (size_t i = 0; digits && i < code.len; i++) {
        digits = code.ptr[i] >= '0' && code.ptr[i] <= '9';
        given = given * 10 + (uint32_t)(digits ? code.ptr[i] - '0' : 0);
    }
    for (int64_t s = now_s / TOTP_STEP_S - 1; s <= now_s / TOTP_STEP_S + 1; s++) {
        uint32_t differ = totp_code(secret, s) ^ given;
        if (digits && differ == 0 && s > last) {
            found = true;
            *step = s;
        }
    }
    return found;
}

void totp_text(const uint8_t secret[TOTP_SECRET_BYTES], char out[TOTP_TEXT_CAP])
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    for (size_t i = 0; i < TOTP_TEXT_CAP - 1; i++) { /* 160 bits: 32 characters, none left */
        size_t bit = i * 5;
        unsigned two = (unsigned)secret[bit / 8] << 8;
        two |= bit / 8 + 1 < TOTP_SECRET_BYTES ? secret[bit / 8 + 1] : 0;
        out[i] = alphabet[(two >> (11 - bit % 8)) & 31];
    }
    out[TOTP_TEXT_CAP - 1] = '\0';
}

void totp_uri(const uint8_t secret[TOTP_SECRET_BYTES], struct str name, struct buf *out)
{
    char text[TOTP_TEXT_CAP];
    totp_text(secret, text);
    buf_z(out, "otpauth://totp/Carrel:");
    size_t most =
        out->len + NAME_BYTES_MAX; /* so that the whole fits a QR code; it is a label only */
    for (size_t i = 0; i < name.len && out->len + 3 <= most; i++) {
        unsigned char c = (unsigned char)name.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '-' || c == '.' || c == '_' || c == '~' || c == '@';
        if (plain) {
            buf_char(out, (char)c);
        } else {
            buf_printf(out, "%%%02X", c);
        }
    }
    buf_printf(out, "?secret=%s&issuer=Carrel", text);
    explicit_bzero(text, sizeof text);
}
