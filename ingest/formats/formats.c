#include <string.h>

#include "ingest/formats/format.h"

static const struct format formats[] = {
#define FORMAT(name, parser, endings) {#name, parser##_extract},
#include "ingest/formats/formats.def"
#undef FORMAT
};

const struct format *format_find(const char *name)
{
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (strcmp(formats[i].name, name) == 0) {
            return &formats[i];
        }
    }
    return NULL;
}
