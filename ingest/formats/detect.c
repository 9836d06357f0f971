#include "ingest/formats/detect.h"

#include <string.h>
#include <strings.h>

#include "base/str.h"

static bool ends_with(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);
    return n > m && strcasecmp(name + n - m, suffix) == 0;
}

const char *format_detect(const char *file_name, const void *head, size_t head_len)
{
    static const struct {
        const char *suffix, *format;
    } names[] = {{".txt", "txt"},       {".text", "txt"},      {".log", "txt"},
                 {".md", "md"},         {".markdown", "md"},   {".html", "html"},
                 {".htm", "html"},      {".xhtml", "html"},    {".pdf", "pdf"},
                 {".docx", "docx"},     {".csv", "csv"},       {".tsv", "csv"},
                 {".tab", "csv"},       {".json", "json"},     {".jsonl", "json"},
                 {".ndjson", "json"},   {".geojson", "json"},  {".eml", "eml"},
                 {".mbox", "mbox"},     {".mbx", "mbox"},      {".rtf", "rtf"},
                 {".xml", "xml"},       {".nxml", "xml"},      {".rss", "xml"},
                 {".atom", "xml"},      {".dita", "xml"},      {".docbook", "xml"},
                 {".vtt", "subtitles"}, {".srt", "subtitles"}, {".rst", "rst"},
                 {".rest", "rst"},      {".adoc", "asciidoc"}, {".asciidoc", "asciidoc"},
                 {".c", "code"},        {".h", "code"},        {".cc", "code"},
                 {".cpp", "code"},      {".cxx", "code"},      {".hh", "code"},
                 {".hpp", "code"},      {".cs", "code"},       {".java", "code"},
                 {".kt", "code"},       {".scala", "code"},    {".go", "code"},
                 {".rs", "code"},       {".swift", "code"},    {".py", "code"},
                 {".rb", "code"},       {".pl", "code"},       {".pm", "code"},
                 {".php", "code"},      {".js", "code"},       {".mjs", "code"},
                 {".jsx", "code"},      {".tsx", "code"},      {".sql", "code"},
                 {".sh", "code"},       {".bash", "code"},     {".ps1", "code"},
                 {".r", "code"},        {".jl", "code"},       {".lua", "code"},
                 {".hs", "code"},       {".ml", "code"},       {".erl", "code"},
                 {".ex", "code"},       {".exs", "code"},      {".clj", "code"},
                 {".vb", "code"},       {".pas", "code"},      {".f90", "code"},
                 {".m", "code"},        {".proto", "code"},    {".css", "code"},
                 {".scss", "code"},     {".dart", "code"},     {".groovy", "code"},
                 {".cmake", "code"},    {".docm", "docx"},     {".dotx", "docx"},
                 {".xlsx", "xlsx"},     {".xlsm", "xlsx"},     {".xltx", "xlsx"},
                 {".xlsb", "xlsx"},     {".pptx", "pptx"},     {".pptm", "pptx"},
                 {".ppsx", "pptx"},     {".potx", "pptx"},     {".odt", "odt"},
                 {".ott", "odt"},       {".fodt", "odt"},      {".ods", "ods"},
                 {".ots", "ods"},       {".fods", "ods"},      {".odp", "odp"},
                 {".otp", "odp"},       {".fodp", "odp"},      {".epub", "epub"}};
    struct str h = {head, head_len};
    const char *format = NULL;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && format == NULL; i++) {
        format = ends_with(file_name, names[i].suffix) ? names[i].format : NULL;
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
