/* How often the language of a text is detected: bench-languages CODE FILE.jsonl ..., of passages
 * ("text") as they are and of their first 60, 200 and 600 bytes. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text/text.h"

static const size_t lengths[] = {60, 200, 600, 65536};
#define LENGTHS (sizeof lengths / sizeof lengths[0])

static int measure(struct text_analyzer *a, const char *code, const char *path)
{
    static char line[1 << 20];
    size_t n = 0, right[LENGTHS] = {0}, none[LENGTHS] = {0};
    FILE *f = fopen(path, "r");
    if (f == NULL) {
        perror(path);
        return 1;
    }
    while (fgets(line, sizeof line, f) != NULL) {
        json_t *j = json_loads(line, 0, NULL);
        const char *text = json_string_value(json_object_get(j, "text"));
        for (size_t i = 0; text != NULL && i < LENGTHS; i++) {
            struct str s = str_from(text);
            s.len = s.len > lengths[i] ? lengths[i] : s.len;
            const char *got = text_detect_language(a, s);
            right[i] += strcmp(got, code) == 0;
            none[i] += got[0] == '\0';
        }
        n += text != NULL;
        json_decref(j);
    }
    (void)fclose(f);
    (void)printf("%s %6zu passages ", code, n);
    for (size_t i = 0; i < LENGTHS && n > 0; i++) {
        (void)printf("  %5zu bytes: %.4f right, %.4f none", lengths[i],
                     (double)right[i] / (double)n, (double)none[i] / (double)n);
    }
    (void)printf("\n");
    return 0;
}

int main(int argc, char **argv)
{
    struct text_analyzer *a = NULL;
    struct error err;
    int failed = argc < 3 || argc % 2 == 0;
    if (failed || text_analyzer_new(&a, &err) != STATUS_OK) {
        (void)fprintf(stderr, "usage: bench-languages CODE FILE.jsonl ...\n");
        return 2;
    }
    for (int i = 1; i + 1 < argc && failed == 0; i += 2) {
        failed = measure(a, argv[i], argv[i + 1]);
    }
    text_analyzer_free(a);
    return failed;
}
