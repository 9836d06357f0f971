/* Grammars and JSON schemas from any bytes: refused or made, and then a text is read by what was
 * made. The first byte chooses. */
#include "model/grammar.h"
#include "model/json_schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct grammar *g = NULL;
    struct error err;
    bool yes;
    if (size == 0 || size > 4096) {
        return 0;
    }
    struct str text = {.ptr = (const char *)data + 1, .len = size - 1};
    enum status s =
        data[0] % 2 == 0 ? grammar_parse(text, &g, &err) : json_schema_grammar(text, &g, &err);
    if (s == STATUS_OK) {
        (void)grammar_matches(g, text, &yes, &err);
    }
    grammar_free(g);
    return 0;
}
