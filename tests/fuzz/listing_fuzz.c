/* What a remote source may answer: pages of S3 and WebDAV, links, lists; and the names in them. */
#include <stdlib.h>
#include <string.h>

#include "ingest/sources/listing.h"
#include "ingest/sources/names.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static enum status on_entry(void *data, const struct listed *l, struct error *err)
{
    uint8_t id[SHA256_BYTES];
    char place[PLACE_MAX];
    (void)data, (void)err;
    source_id("s", l->key, id);
    for (int unlike = 0; unlike < 2; unlike++) {
        if (source_place(l->key, id, unlike == 1, place)) {
            size_t n = strlen(place);
            bool inside = n > 0 && n < PLACE_MAX && place[0] != '/' && place[n - 1] != '/' &&
                          strstr(place, "//") == NULL && strstr(place, "/../") == NULL &&
                          strncmp(place, "../", 3) != 0 && strcmp(place, "..") != 0 &&
                          !(n > 3 && strcmp(place + n - 3, "/..") == 0);
            if (!inside) {
                abort();
            }
        }
    }
    return STATUS_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct listing l = {.on_entry = on_entry};
    struct origin o;
    struct error err;
    struct buf token;
    bool truncated;
    if (len == 0 || origin_of_url("https://a.example/docs/", &o, &err) != STATUS_OK) {
        return 0;
    }
    struct str text = {(const char *)data + 1, len - 1};
    enum status s = STATUS_OK;
    switch (data[0] % 4) {
    case 0:
        buf_init(&token, 8192);
        s = listing_s3(&l, text, &truncated, &token, &err);
        buf_deinit(&token);
        break;
    case 1:
        s = listing_dav(&l, &o, "https://a.example/docs/x/", text, &err);
        break;
    case 2:
        s = listing_html(&l, &o, "https://a.example/docs/x/", text, &err);
        break;
    default:
        s = listing_lines(&l, &o, text, &err);
    }
    (void)s;
    return 0;
}
