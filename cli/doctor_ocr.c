/* Whether text in pictures can be read, and in which languages. */
#include <stdio.h>
#include <string.h>

#include "base/tessdata.h"
#include "cli/doctor.h"

#define SAY(f, ...) ((void)snprintf((f)->text, sizeof((f)->text), __VA_ARGS__))
#define MEND(f, ...) ((void)snprintf((f)->mend, sizeof((f)->mend), __VA_ARGS__))

void doctor_ocr(struct doctor *d)
{
    const char *wanted = d->settings == NULL ? "auto" : d->settings->ocr.languages;
    struct tessdata installed;
    char languages[TESSDATA_LIST], missing[TESSDATA_LIST], names[240];
    struct finding *f;

    if (d->settings != NULL && !d->settings->ocr.enabled) {
        SAY(doctor_add(d, "tools", FINDING_OK),
            "text in pictures is not read (ocr.enabled: false)");
        return;
    }
    tessdata_look(&installed);
    tessdata_choose(&installed, wanted, NULL, languages, missing);
    if (!installed.program || languages[0] == '\0') {
        tessdata_packages(missing[0] == '\0' ? "eng" : missing, names, sizeof(names));
        f = doctor_add(d, "tools", FINDING_WRONG);
        SAY(f, installed.program ? "tesseract has no language: scans and pictures cannot be read"
                                 : "tesseract is missing: scans and pictures cannot be read");
        MEND(f, "apt-get install tesseract-ocr%s, or set ocr.enabled: false", names);
        return;
    }
    SAY(doctor_add(d, "tools", FINDING_OK), "tesseract is there and reads pictures as %.200s",
        languages);
    if (missing[0] != '\0') {
        tessdata_packages(missing, names, sizeof(names));
        f = doctor_add(d, "tools", FINDING_WRONG);
        SAY(f, "ocr.languages names what is not installed: %.200s", missing);
        MEND(f, "apt-get install%s", names);
    }
    if (!installed.orientation) {
        f = doctor_add(d, "tools", FINDING_NOTE);
        SAY(f, "tesseract cannot tell which way a page is turned: turned scans are not read");
        MEND(f, "apt-get install tesseract-ocr-osd");
    }
}
