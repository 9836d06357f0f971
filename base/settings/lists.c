/* The lists of groups in carrel.yaml: tenants and sources. */
#include <string.h>
#include <strings.h>

#include "base/settings/rules.h"
#include "base/settings/schema.h"
#include "base/tenant.h"

#define KIB 1024.0
#define GIB (1024.0 * 1024.0 * 1024.0)
#define SECOND 1000.0
#define HOUR (3600.0 * 1000.0)
#define LABELS "public|internal|confidential|restricted"

#define ROW(of, path_, type_, field, min_, max_, fallback_, help_)                                 \
    {                                                                                              \
        .path = path_, .type = SETTING_##type_, .offset = offsetof(struct of, field), .min = min_, \
        .max = max_, .fallback = fallback_, .help = help_                                          \
    }
#define TEXT(of, path_, type_, field, fallback_, help_)                                            \
    {                                                                                              \
        .path = path_, .type = SETTING_##type_, .offset = offsetof(struct of, field),              \
        .fallback = fallback_, .help = help_                                                       \
    }
#define ONE_OF(of, path_, field, choices_, fallback_, help_)                                       \
    {                                                                                              \
        .path = path_, .type = SETTING_ENUM, .offset = offsetof(struct of, field),                 \
        .choices = choices_, .fallback = fallback_, .help = help_                                  \
    }

static const struct setting tenant_rows[] = {
    TEXT(tenant_settings, "name", STRING, name, "", "The tenant."),
    ROW(tenant_settings, "quota", SIZE, quota_bytes, 0, 1024.0 * 1024 * GIB, "0",
        "Its documents may take so many bytes, whatever ingest.quota says; 0: no limit."),
};

static enum status check_tenant(void *item, struct arena *a, struct error *err)
{
    const struct tenant_settings *t = item;
    (void)a;
    return tenant_name_valid(str_from(t->name))
               ? STATUS_OK
               : error_set(err, STATUS_INVALID, "name: \"%.40s\" is no tenant's name", t->name);
}

static const struct setting collection_rows[] = {
    TEXT(collection_settings, "name", STRING, name, "",
         "The collection: a folder directly below the watched one, in every tenant."),
    ROW(collection_settings, "chunk_target_words", INT, chunk_target_words, 0, 2000, "0",
        "As chunk.target_words; 0: that."),
    ROW(collection_settings, "chunk_max_words", INT, chunk_max_words, 0, 4000, "0",
        "As chunk.max_words; 0: that."),
    ROW(collection_settings, "chunk_target_cjk_chars", INT, chunk_target_cjk_chars, 0, 4000, "0",
        "As chunk.target_cjk_chars; 0: that."),
    ROW(collection_settings, "chunk_overlap_words", INT, chunk_overlap_words, -1, 1000, "-1",
        "As chunk.overlap_words; -1: that."),
};

static enum status check_collection(void *item, struct arena *a, struct error *err)
{
    const struct collection_settings *c = item;
    (void)a;
    if (c->name[0] == '\0' || strlen(c->name) > 255 || strchr(c->name, '/') != NULL) {
        return error_set(err, STATUS_INVALID, "name: \"%.40s\" is no collection's name", c->name);
    }
    if ((c->chunk_target_words > 0 && c->chunk_target_words < 20) ||
        (c->chunk_max_words > 0 && c->chunk_max_words < 40) ||
        (c->chunk_target_cjk_chars > 0 && c->chunk_target_cjk_chars < 50)) {
        return error_set(err, STATUS_INVALID,
                         "%.40s: a chunk aims at no less than 20 words or 50 characters, and may "
                         "hold 40 words",
                         c->name);
    }
    return STATUS_OK;
}

static const struct setting model_price_rows[] = {
    TEXT(model_price_settings, "name", STRING, name, "",
         "The model: an imported one, or that of generate.upstream."),
    ROW(model_price_settings, "prompt_million", DOUBLE, prompt_million, 0, 1e6, "0",
        "A million tokens that it reads."),
    ROW(model_price_settings, "completion_million", DOUBLE, completion_million, 0, 1e6, "0",
        "A million tokens that it writes."),
};

static enum status check_model_price(void *item, struct arena *a, struct error *err)
{
    const struct model_price_settings *p = item;
    (void)a;
    return p->name[0] != '\0' ? STATUS_OK : error_set(err, STATUS_INVALID, "name: is missing");
}

static const struct setting source_rows[] = {
    TEXT(source_settings, "name", STRING, name, "",
         "What it is called: small letters, digits and hyphens."),
    ONE_OF(source_settings, "kind", kind, "http-index|webdav|s3", "http-index",
           "A listing of links (nginx, Apache) or a plain list of addresses, a WebDAV folder, or a "
           "bucket "
           "of an S3-compatible server."),
    TEXT(source_settings, "url", STRING, url, "",
         "Where it is; nothing outside this address is ever fetched. For s3 the server, such as "
         "https://s3.eu-central-1.amazonaws.com."),
    TEXT(source_settings, "bucket", STRING, bucket, "", "s3: the bucket."),
    TEXT(source_settings, "prefix", STRING, prefix, "", "s3: only what begins with this."),
    TEXT(source_settings, "region", STRING, region, "us-east-1", "s3: as the server calls it."),
    TEXT(source_settings, "tenant", STRING, tenant, "main", "Whose documents they are."),
    TEXT(source_settings, "folder", STRING, folder, "",
         "Folder of the tenant's watched folder that they are kept in, which nobody else writes "
         "into; "
         "empty: as the name."),
    TEXT(source_settings, "credentials_file", PATH, credentials_file, "",
         "File with lines such as `user: x` and `password: y`, or `token: z`, or `access_key: x` "
         "and "
         "`secret_key: y`; its owner alone may read it. Empty: none."),
    TEXT(source_settings, "ca_file", PATH, ca_file, "",
         "Certificates (PEM) of the authorities that are trusted for it; empty: the system's."),
    TEXT(source_settings, "label", STRING, label, "",
         "Label of its documents where no rule of access.yaml gives one: public, internal, "
         "confidential or restricted."),
    TEXT(source_settings, "include", LIST, include, "",
         "Patterns such as `reports/**`, of paths below the address; empty: everything."),
    TEXT(source_settings, "exclude", LIST, exclude, "", "Patterns of what is left out of that."),
    ROW(source_settings, "interval", DURATION, interval_ms, SECOND, 7 * 24 * HOUR, "15m",
        "It is looked at again after so long."),
    ROW(source_settings, "idle_timeout", DURATION, idle_timeout_ms, SECOND, HOUR, "30s",
        "A transfer that hardly moves for so long is broken off."),
    ROW(source_settings, "max_file_bytes", SIZE, max_file_bytes, KIB, 16 * GIB, "256MiB",
        "Larger files are not fetched."),
    ROW(source_settings, "max_files", INT, max_files, 1, 10000000, "100000",
        "A listing with more is refused."),
    TEXT(source_settings, "allow_private_address", BOOL, allow_private_address, "false",
         "Say true when it has a private address (10.x, 192.168.x, this machine, ...)."),
};

static const struct setting directory_group_rows[] = {
    TEXT(
        directory_group_settings, "name", STRING, name, "",
        "A group as the provider says it, letter by letter. Of LDAP its distinguished name, or its "
        "short one when ldap.group_base says where groups lie."),
    ONE_OF(directory_group_settings, "role", role, "none|reader|editor|manager|auditor|admin",
           "none", "The role of whoever is in it. The first line that gives one counts."),
    TEXT(directory_group_settings, "groups", LIST, groups, "",
         "Groups of documents' readers that he is then in; those of all lines together."),
};

static enum status check_directory_group(void *item, struct arena *a, struct error *err)
{
    const struct directory_group_settings *g = item;
    (void)a;
    if (g->name[0] == '\0' || strlen(g->name) > 512) {
        return error_set(err, STATUS_INVALID, "name: must be given, at most 512 bytes long");
    }
    for (size_t i = 0; i < g->groups.n; i++) {
        if (!rules_group_valid(str_from(g->groups.items[i]))) {
            return error_set(err, STATUS_INVALID, "groups: \"%.64s\" is no group's name",
                             g->groups.items[i]);
        }
    }
    return STATUS_OK;
}

static bool starts(const char *s, const char *with)
{
    return strncasecmp(s, with, strlen(with)) == 0;
}

static bool plain_folder(const char *folder)
{
    size_t len = strlen(folder);
    if (len == 0 || len > 200 || folder[0] == '/' || folder[len - 1] == '/') {
        return false;
    }
    for (const char *p = folder; *p != '\0'; p++) {
        bool begins = p == folder || p[-1] == '/';
        if ((unsigned char)*p < 0x20 || *p == 0x7f || *p == '\\' || (begins && strchr("./~", *p))) {
            return false;
        }
    }
    return true;
}

static enum status check_source(void *item, struct arena *a, struct error *err)
{
    struct source_settings *s = item;
    bool s3 = strcmp(s->kind, "s3") == 0;
    bool https = starts(s->url, "https://");
    (void)a;
    if (!tenant_name_valid(str_from(s->name))) {
        return error_set(err, STATUS_INVALID,
                         "name: \"%.40s\": use small letters, digits and hyphens", s->name);
    }
    if (!tenant_name_valid(str_from(s->tenant))) {
        return error_set(err, STATUS_INVALID, "tenant: \"%.40s\" is no tenant's name", s->tenant);
    }
    if (!https && !starts(s->url, "http://")) {
        return error_set(err, STATUS_INVALID, "url: must start with https:// or http://");
    }
    if (strpbrk(s->url + (https ? 8 : 7), "@#?\\ \t\r\n") != NULL) {
        return error_set(err, STATUS_INVALID,
                         "url: may not hold a user, a query or white space; a user's name and "
                         "password go into credentials_file");
    }
    if (s3 != (s->bucket[0] != '\0')) {
        return error_set(err, STATUS_INVALID, s3 ? "bucket: must be named" : "bucket: is for s3");
    }
    if (s3 && strspn(s->bucket, "abcdefghijklmnopqrstuvwxyz0123456789.-_"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != strlen(s->bucket)) {
        return error_set(err, STATUS_INVALID, "bucket: is no bucket's name");
    }
    if (!s3 && !https && s->credentials_file[0] != '\0' && !s->allow_private_address) {
        return error_set(
            err, STATUS_INVALID,
            "credentials_file: a password would cross the network readable; use https://");
    }
    if (s->label[0] != '\0' && !setting_is_choice(LABELS, str_from(s->label))) {
        return error_set(err, STATUS_INVALID, "label: \"%.40s\" is not one of %s", s->label,
                         LABELS);
    }
    s->folder = s->folder[0] == '\0' ? s->name : s->folder;
    if (!plain_folder(s->folder)) {
        return error_set(err, STATUS_INVALID,
                         "folder: is a path below the tenant's folder, without hidden names");
    }
    return STATUS_OK;
}

#define COUNT(rows) (sizeof(rows) / sizeof *(rows))
_Static_assert(COUNT(source_rows) <= SETTINGS_ITEM_ROWS, "raise SETTINGS_ITEM_ROWS");
_Static_assert(offsetof(struct source_settings, name) == 0, "names come first");

const struct setting_list settings_lists[] = {
    {.path = "tenants",
     .help = "What single tenants are granted.",
     .rows = tenant_rows,
     .n_rows = COUNT(tenant_rows),
     .item_bytes = sizeof(struct tenant_settings),
     .max_items = 256,
     .items = offsetof(struct settings, tenants),
     .n_items = offsetof(struct settings, n_tenants),
     .check = check_tenant,
     .example = "- name: law\n  quota: 20GiB\n"},
    {.path = "model_prices",
     .help = "What the tokens of single models cost, in prices.currency.",
     .rows = model_price_rows,
     .n_rows = COUNT(model_price_rows),
     .item_bytes = sizeof(struct model_price_settings),
     .max_items = 64,
     .items = offsetof(struct settings, model_prices),
     .n_items = offsetof(struct settings, n_model_prices),
     .check = check_model_price,
     .example = "- name: gpt-4o-mini\n  prompt_million: 0.15\n  completion_million: 0.60\n"},
    {.path = "collections",
     .help = "How the documents of single collections are cut. A change cuts them anew in the "
             "background, from their stored text.",
     .rows = collection_rows,
     .n_rows = COUNT(collection_rows),
     .item_bytes = sizeof(struct collection_settings),
     .max_items = 256,
     .items = offsetof(struct settings, collections),
     .n_items = offsetof(struct settings, n_collections),
     .check = check_collection,
     .example = "- name: contracts\n  chunk_target_words: 300\n  chunk_max_words: 500\n"},
    {.path = "sources",
     .help = "Where documents come from besides the watched folder. They are fetched through "
             "carrel-egress, which dials no other place, and kept in a folder of the watched one.",
     .rows = source_rows,
     .n_rows = COUNT(source_rows),
     .item_bytes = sizeof(struct source_settings),
     .max_items = 64,
     .items = offsetof(struct settings, sources),
     .n_items = offsetof(struct settings, n_sources),
     .check = check_source,
     .example = "- name: contracts\n  kind: s3\n  url: https://s3.example.org\n"
                "  bucket: contracts\n  credentials_file: keys/contracts\n"},
    {.path = "directory_groups",
     .help =
         "What people may who sign in with OpenID Connect or LDAP, by their groups there. Taken "
         "anew at each sign-in.",
     .rows = directory_group_rows,
     .n_rows = COUNT(directory_group_rows),
     .item_bytes = sizeof(struct directory_group_settings),
     .max_items = 512,
     .items = offsetof(struct settings, directory_groups),
     .n_items = offsetof(struct settings, n_directory_groups),
     .check = check_directory_group,
     .example = "- name: carrel-admins\n  role: admin\n- name: legal\n  role: reader\n"
                "  groups: [legal]\n"},
};
const size_t settings_lists_n = COUNT(settings_lists);

void settings_chunk(const struct settings *s, const char *collection, struct chunk_sizes *out)
{
    *out = s->chunk;
    for (size_t i = 0; i < s->n_collections; i++) {
        const struct collection_settings *c = &s->collections[i];
        if (strcmp(c->name, collection) == 0) {
            out->target_words =
                c->chunk_target_words > 0 ? c->chunk_target_words : out->target_words;
            out->max_words = c->chunk_max_words > 0 ? c->chunk_max_words : out->max_words;
            out->target_cjk_chars =
                c->chunk_target_cjk_chars > 0 ? c->chunk_target_cjk_chars : out->target_cjk_chars;
            out->overlap_words =
                c->chunk_overlap_words >= 0 ? c->chunk_overlap_words : out->overlap_words;
        }
    }
}

int64_t settings_quota(const struct settings *s, const char *tenant)
{
    for (size_t i = 0; i < s->n_tenants; i++) {
        if (strcmp(s->tenants[i].name, tenant) == 0) {
            return s->tenants[i].quota_bytes;
        }
    }
    return s->ingest.quota_bytes;
}
