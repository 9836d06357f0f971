#include "ingest/formats/detect.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"

static const struct {
    const char *name, *endings; /* between spaces */
} formats[] = {
#define FORMAT(name, parser, endings) {#name, endings},
#include "ingest/formats/formats.def"
#undef FORMAT
};

#define ENDING_MAX 16

const char *format_detect(const char *file_name, const void *head, size_t head_len)
{
    struct str h = {head, head_len};
    const char *format = NULL;
    const char *dot = strrchr(file_name, '.');
    char ending[ENDING_MAX + 3];
    if (dot == NULL || dot == file_name || strlen(dot) > ENDING_MAX || strchr(dot, ' ') != NULL) {
        return NULL;
    }
    (void)snprintf(ending, sizeof ending, " %s ", dot);
    for (size_t i = 0; i < sizeof formats / sizeof formats[0] && format == NULL; i++) {
        format = strcasestr(formats[i].endings, ending) != NULL ? formats[i].name : NULL;
    }
    /* what a file says of itself counts for more than its name, among the kinds that are read at
     * all */
    if (format != NULL && h.len >= 5 && str_starts(h, STR("%PDF-"))) {
        return "pdf";
    }
    if (format != NULL && h.len >= 5 && str_starts(h, STR("{\\rtf"))) {
        return "rtf"; /* what Word saves as .doc, often */
    }
    return format;
}
