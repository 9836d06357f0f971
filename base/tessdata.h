/* What text recognition is installed: tesseract's languages, as files of its data folder. */
#ifndef CARREL_BASE_TESSDATA_H
#define CARREL_BASE_TESSDATA_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

#define TESSERACT "/usr/bin/tesseract"
#define TESSDATA_NAMES 64
#define TESSDATA_LIST 256

struct tessdata {
    bool program;       /* tesseract itself can be run */
    const char *folder; /* NULL: none of the usual ones is there */
    bool orientation;   /* can tell which way a page is turned */
    size_t n;
    char names[TESSDATA_NAMES][16]; /* "deu", in the order of the alphabet */
};

/* Looks at the disk; blocks. */
void tessdata_look(struct tessdata *out);
bool tessdata_has(const struct tessdata *t, struct str name);
/* What to hand to tesseract's -l: of `wanted` ("deu+eng", or "auto": all that is installed, English
 * first) what is installed, with `first` (a language's code of two letters, as "de", or tesseract's
 * name; NULL or not installed: none) in front. missing: those of `wanted` that are not installed,
 * "" none. out is "" when nothing is left. */
void tessdata_choose(const struct tessdata *t, const char *wanted, const char *first,
                     char out[TESSDATA_LIST], char missing[TESSDATA_LIST]);
/* The Debian packages of languages such as "deu+chi_sim": " tesseract-ocr-deu tesseract-ocr-chi-sim".
 */
void tessdata_packages(const char *languages, char *out, size_t cap);
/* Each name is 1 to 15 small letters, digits or underscores; no path comes out of a setting. */
bool tessdata_valid(const char *wanted);

#endif
