#include "serve/password.h"

#include <sodium.h>
#include <string.h>
#include <strings.h>

#include "base/hash.h"
#include "base/text/text.h"

#define OPERATIONS 2U
#define MEMORY_BYTES ((size_t)64 * 1024 * 1024)

_Static_assert(PASSWORD_HASH_CAP == crypto_pwhash_argon2id_STRBYTES, "libsodium's text");

/* Nobody's password: the same costs as everybody's. */
static const char nobody[] = "$argon2id$v=19$m=65536,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$"
                             "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/* What people take first, of ten characters and more. */
static const char *const common[] = {
    "1234567890",     "0123456789",  "0987654321",   "12345678910",
    "123456789a",     "123456789q",  "qwertyuiop",   "qwertzuiop",
    "asdfghjkl1",     "1q2w3e4r5t",  "q1w2e3r4t5",   "1qaz2wsx3edc",
    "1qaz@wsx3edc",   "password12",  "password123",  "password1234",
    "password1!",     "passw0rd123", "p@ssw0rd123",  "p@ssword123",
    "passwort123",    "passwort12",  "passwort1234", "motdepasse1",
    "motdepasse",     "contrasena1", "welcome123",   "welcome1234",
    "willkommen",     "willkommen1", "bienvenue1",   "administrator",
    "administrator1", "letmein1234", "changeme123",  "changemenow",
    "iloveyou123",    "abcdefghij",  "abcdefghijkl", "abcd123456",
    "abc1234567",     "qwerty12345", "qwerty123456", "sunshine123",
    "football123",    "baseball123", "superman123",  "correcthorsebatterystaple",
    "hospital123",    "spital12345", "sommer2024",   "sommer2025",
    "sommer2026",     "summer2024!", "winter2024!",  "summer2025!",
    "winter2025!",    "summer2026!", "winter2026!",  "carrelcarrel",
};

static bool same_letters(struct str a, const char *b)
{
    return strlen(b) == a.len && strncasecmp(a.ptr, b, a.len) == 0;
}

static bool holds(struct str text, struct str part)
{
    for (size_t i = 0; part.len > 0 && i + part.len <= text.len; i++) {
        if (strncasecmp(text.ptr + i, part.ptr, part.len) == 0) {
            return true;
        }
    }
    return false;
}

/* How many different bytes there are, and whether each follows from the last by the same step. */
static bool is_pattern(struct str p)
{
    bool seen[256] = {false};
    size_t different = 0;
    size_t steps = 0;
    for (size_t i = 0; i < p.len; i++) {
        unsigned char c = (unsigned char)p.ptr[i];
        different += seen[c] ? 0 : 1;
        seen[c] = true;
        steps += i > 1 && p.ptr[i] - p.ptr[i - 1] == p.ptr[i - 1] - p.ptr[i - 2];
    }
    return different < 5 || steps + 2 >= p.len;
}

const char *password_problem(struct str password, struct str name)
{
    if (password.len > PASSWORD_BYTES_MAX) {
        return "The password is too long: 256 bytes at most.";
    }
    if (!text_utf8_valid(password)) {
        return "The password is not text.";
    }
    if (text_code_points(password) < PASSWORD_CHARACTERS_MIN) {
        return "The password is too short: at least 10 characters. A few words are a good one.";
    }
    if (name.len >= 4 && holds(password, name)) {
        return "The password must not have the user's name in it.";
    }
    if (is_pattern(password)) {
        return "The password is too simple: it repeats itself, or counts up or down.";
    }
    for (size_t i = 0; i < sizeof common / sizeof common[0]; i++) {
        if (same_letters(password, common[i])) {
            return "The password is one of those that everybody tries first.";
        }
    }
    return NULL;
}

enum status password_hash(struct str password, char out[PASSWORD_HASH_CAP], struct error *err)
{
    if (sodium_init() < 0 || crypto_pwhash_argon2id_str(out, password.ptr, password.len, OPERATIONS,
                                                        MEMORY_BYTES) != 0) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory for the password's hash");
    }
    return STATUS_OK;
}

bool password_check(const char *hash, struct str password)
{
    bool somebody = hash[0] != '\0';
    char text[PASSWORD_HASH_CAP] = {0};
    memcpy(text, somebody ? hash : nobody, strlen(somebody ? hash : nobody));
    bool same = sodium_init() >= 0 &&
                crypto_pwhash_argon2id_str_verify(text, password.ptr, password.len) == 0;
    return same && somebody;
}

void password_new(char out[PASSWORD_NEW_CAP])
{
    static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";
    uint8_t r[20];
    size_t n = 0;
    random_bytes(r, sizeof r);
    for (size_t i = 0; i < sizeof r; i++) {
        if (i > 0 && i % 5 == 0) {
            out[n++] = '-';
        }
        out[n++] = alphabet[r[i] & 31];
    }
    out[n] = '\0';
    explicit_bzero(r, sizeof r);
}
