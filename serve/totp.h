/* One-time codes by time (RFC 6238: HMAC-SHA-1, six digits, steps of 30 seconds), as every
 * authenticator has them. Pure. */
#ifndef CARREL_SERVE_TOTP_H
#define CARREL_SERVE_TOTP_H

#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

#define TOTP_SECRET_BYTES 20
#define TOTP_TEXT_CAP 33 /* the secret in base32, and NUL */
#define TOTP_STEP_S 30

/* Six digits. */
uint32_t totp_code(const uint8_t secret[TOTP_SECRET_BYTES], int64_t step);
/* Is it the code of this step, the one before or the one after, and later than `last`, the step of
 * the one taken last? *step: which. Looks at all of them, always. */
bool totp_check(const uint8_t secret[TOTP_SECRET_BYTES], struct str code, int64_t now_s,
                int64_t last, int64_t *step);
/* RFC 4648, without padding. */
void totp_text(const uint8_t secret[TOTP_SECRET_BYTES], char out[TOTP_TEXT_CAP]);
/* otpauth://totp/Carrel:name?secret=...&issuer=Carrel */
void totp_uri(const uint8_t secret[TOTP_SECRET_BYTES], struct str name, struct buf *out);

#endif
