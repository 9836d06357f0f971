/* One word: what belongs to it, and its normal form. The foldings are those that were measured to
 * help (docs/decisions/text-analysis.md); they go by script, not by language, so that a word means
 * the same in every document. */
#include <utf8proc.h>

#include "base/text/internal.h"

static bool dense(uint32_t c)
{
    if (c < 0x0E00) {
        return false;
    }
    return c <= 0x0EFF ||                  /* Thai, Lao */
           (c >= 0x1000 && c <= 0x109F) || /* Myanmar */
           (c >= 0x1100 && c <= 0x11FF) || /* Hangul jamo */
           (c >= 0x1780 && c <= 0x17FF) || /* Khmer */
           (c >= 0x3005 && c <= 0x3007) || (c >= 0x3021 && c <= 0x3029) ||
           (c >= 0x3031 && c <= 0x303B) || /* iteration marks and the like */
           (c >= 0x3041 && c <= 0x31FF) || /* kana, bopomofo, compatibility jamo */
           (c >= 0x3400 && c <= 0x9FFF) || (c >= 0xA960 && c <= 0xA97F) ||
           (c >= 0xAC00 && c <= 0xD7FF) || (c >= 0xF900 && c <= 0xFAFF) ||
           (c >= 0xFF66 && c <= 0xFFDC) || (c >= 0x20000 && c <= 0x3FFFF);
}

enum text_class text_class_of(uint32_t cp)
{
    if (cp == 0xAD || cp == 0x200D || cp == 0x2060 || cp == 0xFEFF || cp == 0x200C) {
        return TEXT_CLASS_IGNORE;
    }
    /* conjoining vowels and finals, and half-width voice marks, continue the character before them
     */
    if ((cp >= 0x1160 && cp <= 0x11FF) || cp == 0xFF9E || cp == 0xFF9F) {
        return TEXT_CLASS_MARK;
    }
    if ((cp >= 0xBC && cp <= 0xBE) || (cp >= 0x2150 && cp <= 0x215F)) {
        return TEXT_CLASS_SEPARATOR; /* fractions: 5½ is not 512 */
    }
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)cp);
    if (category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC) {
        return TEXT_CLASS_MARK;
    }
    bool letter = category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
    bool digit = category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
    if (!letter && !digit) {
        return TEXT_CLASS_SEPARATOR;
    }
    return dense(cp) ? TEXT_CLASS_DENSE : TEXT_CLASS_WORD;
}

static uint32_t fold_arabic(uint32_t c)
{
    if ((c >= 0x0610 && c <= 0x061A) || (c >= 0x064B && c <= 0x065F) || c == 0x0670 ||
        (c >= 0x06D6 && c <= 0x06ED && c != 0x06DD && c != 0x06DE && c != 0x06E9) || c == 0x0640) {
        return 0; /* vowel signs, Koranic marks, tatweel */
    }
    if (c >= 0x0660 && c <= 0x0669) {
        return '0' + (c - 0x0660);
    }
    if (c >= 0x06F0 && c <= 0x06F9) {
        return '0' + (c - 0x06F0);
    }
    switch (c) {
    case 0x0623: /* alef with hamza, with hamza below, with madda; wasla */
    case 0x0625:
    case 0x0622:
    case 0x0671:
        return 0x0627;
    case 0x0649: /* alef maksura, hamza on yeh, Farsi yeh */
    case 0x0626:
    case 0x06CC:
        return 0x064A;
    case 0x0629:
        return 0x0647;
    case 0x0624:
        return 0x0648;
    case 0x06A9: /* keheh */
        return 0x0643;
    default:
        return c;
    }
}

static uint32_t fold_devanagari(uint32_t c)
{
    if (c >= 0x0966 && c <= 0x096F) {
        return '0' + (c - 0x0966);
    }
    switch (c) {
    case 0x093C: /* nukta */
        return 0;
    case 0x0901: /* chandrabindu */
        return 0x0902;
    case 0x0908:
        return 0x0907;
    case 0x090A:
        return 0x0909;
    case 0x0940:
        return 0x093F;
    case 0x0942:
        return 0x0941;
    default:
        return c;
    }
}

static uint32_t fold(uint32_t c)
{
    if (c >= 0x0600 && c <= 0x06FF) {
        return fold_arabic(c);
    }
    if (c >= 0x0900 && c <= 0x097F) {
        return fold_devanagari(c);
    }
    if (c == 0x0451) {
        return 0x0435; /* yo */
    }
    return c == 0x03C2 ? 0x03C3 : c; /* final sigma */
}

size_t text_normalise(const char *raw, size_t len, bool turkish, char out[TEXT_WORD_MAX_BYTES])
{
    utf8proc_int32_t cps[TEXT_WORD_MAX_DECOMPOSED];
    const utf8proc_option_t options = UTF8PROC_COMPAT | UTF8PROC_COMPOSE | UTF8PROC_STABLE;
    utf8proc_ssize_t n = utf8proc_decompose((const utf8proc_uint8_t *)raw, (utf8proc_ssize_t)len,
                                            cps, TEXT_WORD_MAX_DECOMPOSED, options);
    if (n <= 0 || n > TEXT_WORD_MAX_DECOMPOSED) {
        return 0;
    }
    n = utf8proc_normalize_utf32(cps, n, options);
    size_t used = 0;
    bool solid = false; /* something other than marks */
    for (utf8proc_ssize_t i = 0; i < n; i++) {
        uint32_t c = (uint32_t)cps[i];
        c = turkish && c == 'I' ? 0x0131 : (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
        enum text_class class = text_class_of(c);
        if (class == TEXT_CLASS_SEPARATOR || class == TEXT_CLASS_IGNORE) {
            continue;
        }
        c = fold(c);
        if (c == 0) {
            continue;
        }
        char bytes[4];
        size_t k = text_encode(c, bytes);
        if (used + k > TEXT_WORD_MAX_BYTES) {
            break;
        }
        memcpy(out + used, bytes, k);
        used += k;
        solid = solid || class != TEXT_CLASS_MARK;
    }
    return solid ? used : 0;
}

/* Letters that Unicode does not decompose. */
static const char *plain_letter(uint32_t c)
{
    switch (c) {
    case 0xDF:
        return "ss";
    case 0xE6:
        return "ae";
    case 0xF0:
    case 0x0111:
        return "d";
    case 0xF8:
        return "o";
    case 0xFE:
        return "th";
    case 0x0131:
        return "i";
    case 0x0142:
        return "l";
    case 0x0153:
        return "oe";
    default:
        return NULL;
    }
}

size_t text_strip_accents(char *s, size_t len, size_t cap)
{
    char out[TEXT_WORD_MAX_BYTES * 2];
    size_t n = 0, used;
    bool latin = false, plain = true;
    for (size_t i = 0; i < len && plain; i++) {
        plain = (unsigned char)s[i] < 0x80;
    }
    if (plain) {
        return len;
    }
    for (size_t i = 0; i < len; i += used) {
        uint32_t c = text_decode(s + i, len - i, &used);
        char bytes[4];
        const char *piece = s + i;
        size_t k = used;
        if (c >= 0x0300 && c <= 0x036F && latin) {
            continue;
        }
        if ((c >= 0xDF && c <= 0x024F) || (c >= 0x1E00 && c <= 0x1EFF)) {
            utf8proc_int32_t parts[8];
            const char *letter = plain_letter(c);
            if (letter != NULL) {
                piece = letter;
                k = strlen(letter);
            } else if (utf8proc_decompose_char((utf8proc_int32_t)c, parts, 8, UTF8PROC_DECOMPOSE,
                                               NULL) > 1) {
                k = text_encode((uint32_t)parts[0], bytes);
                piece = bytes;
            }
            latin = true;
        } else {
            latin = c < 0x80;
        }
        if (n + k > cap || n + k > sizeof(out)) {
            break;
        }
        memcpy(out + n, piece, k);
        n += k;
    }
    memcpy(s, out, n);
    return n;
}
