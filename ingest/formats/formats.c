#include <string.h>

#include "ingest/formats/format.h"

static const struct format formats[] = {
    {"pdf", pdf_extract},     {"docx", docx_extract},         {"html", html_extract},
    {"md", markdown_extract}, {"txt", text_extract},          {"csv", csv_extract},
    {"json", json_extract},   {"eml", eml_extract},           {"mbox", mbox_extract},
    {"rtf", rtf_extract},     {"xml", xml_extract},           {"code", code_extract},
    {"rst", rst_extract},     {"asciidoc", asciidoc_extract}, {"xlsx", xlsx_extract},
    {"pptx", pptx_extract},   {"odt", odf_extract},           {"ods", odf_extract},
    {"odp", odf_extract},     {"epub", epub_extract},         {"subtitles", subtitles_extract},
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
