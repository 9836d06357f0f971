/* X-Forwarded-For and Forwarded, as one line each: whatever the client wrote to the left of what
 * the proxy adds never becomes the address, but it may get the request refused. */
#include <stdlib.h>
#include <string.h>

#include "serve/http/forwarded.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void one(const char *name, const char *text, size_t len, const char *added)
{
    static const char proxy[] = "10.0.0.1";
    struct forwarded_proxies trusted = {.n = 1};
    struct http_header header;
    struct http_head h = {.n_headers = 1, .headers = &header};
    struct forwarded f;
    size_t all = len + strlen(added);
    char *line = malloc(all);
    if (line == NULL || !address_range_read(STR("10.0.0.0/30"), &trusted.ranges[0])) {
        abort();
    }
    memcpy(line, text, len);
    memcpy(line + len, added, all - len);
    h.headers[0] = (struct http_header){str_from(name), {line, all}};
    if (forwarded_read(&h, proxy, &trusted, &f) && strcmp(f.client, "192.0.2.9") != 0) {
        abort();
    }
    h.headers[0].value.len = len;
    (void)forwarded_read(&h, proxy, &trusted, &f);
    free(line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    one("x-forwarded-for", (const char *)data, size, ", 192.0.2.9");
    one("forwarded", (const char *)data, size, ", for=192.0.2.9");
    one("forwarded", (const char *)data, size, ", for=\"192.0.2.9:80\";proto=http, for=10.0.0.2");
    return 0;
}
