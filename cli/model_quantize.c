/* carrel model quantize: the same model in fewer bits. */
#include <stdio.h>

#include "cli/cmd_model.h"
#include "cli/term.h"
#include "model/gguf.h"
#include "model/quantize.h"

enum exit_code model_quantize(const struct options *o)
{
    struct error err = {0};
    struct gguf *made = NULL;
    char size[16];
    enum status s = model_quantize_file(o->args[1], o->args[2], o->args[3], &err);
    s = s == STATUS_OK ? gguf_open(o->args[2], &made, &err) : s; /* what was written can be read */
    if (s != STATUS_OK) {
        return command_failed(&err);
    }
    term_bytes(gguf_file_bytes(made), size);
    (void)printf("%s: %zu %s, %s\n", o->args[2], gguf_tensors(made),
                 term_word(gguf_tensors(made), "tensor", "tensors"), size);
    gguf_close(made);
    return EXIT_OK;
}
