/* The appliance's configuration: $home/carrel.yaml read by libyaml and checked against one schema
 * table (schema.c): type, default, range, help. An unknown or duplicate key, a wrong type or a
 * value out of range is an error that names file and line. docs/config.md and the commented default
 * file are made from the same table. Passed around as a const struct, never global. */
#ifndef CARREL_BASE_SETTINGS_H
#define CARREL_BASE_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"

struct string_list {
    const char *const *items;
    size_t n;
};

struct upstream_settings {
    const char *url; /* "" : none configured. OpenAI-compatible base, ends in /v1 */
    const char *model;
    const char *key_file;           /* "" : no key; relative to home */
    struct string_list may_receive; /* labels; "" in the list never stands for unlabelled */
    int64_t connect_timeout_ms, idle_timeout_ms, total_timeout_ms, max_retries;
    bool allow_private_address; /* egress refuses private addresses unless this is true */
};

/* What one tenant is granted. Its name is the first field, as in all lists of settings. */
struct tenant_settings {
    const char *name;
    int64_t quota_bytes; /* of its documents; 0: no limit */
};

/* What one key, user, team or tenant may use; 0: no limit (serve/usage/meter.h). */
struct limit_settings {
    int64_t requests_per_minute, tokens_per_day, streams, upload_bytes_per_day;
    double budget_per_month; /* of prices.currency */
};

/* What a model's tokens cost, a million of them. */
struct model_price_settings {
    const char *name;
    double prompt_million, completion_million;
};

/* Where carrel-egress listens for those who fetch from sources, below the data directory. */
#define SOURCES_SOCKET "run/egress-sources.sock"

/* Where carrel-egress listens for serve (webhooks and whatever else its settings name). */
#define SERVE_SOCKET "run/egress-serve.sock"

/* How the documents of one collection are cut, in every tenant; 0 (overlap: -1): as chunk.* says.
 */
struct collection_settings {
    const char *name;
    int64_t chunk_target_words, chunk_max_words, chunk_target_cjk_chars, chunk_overlap_words;
};

struct chunk_sizes {
    int64_t target_words, max_words, target_cjk_chars, overlap_words;
};

/* What somebody may who is in a group of the directory (serve/idp.h). */
struct directory_group_settings {
    const char *name;          /* as the provider says it, or a distinguished name */
    const char *role;          /* "none": it gives none */
    struct string_list groups; /* of documents */
};

/* Somewhere else that documents are fetched from (ingest/sources.h). */
struct source_settings {
    const char *name;
    const char *tenant, *folder; /* where they land: watch/<tenant>/<folder>/ */
    const char *kind;            /* "http-index", "webdav" or "s3" */
    const char *url;
    const char *bucket, *prefix, *region;   /* of s3 */
    const char *credentials_file, *ca_file; /* "" none; absolute */
    const char *label;                      /* "" none */
    struct string_list include, exclude;    /* patterns of paths below the url; none: all */
    int64_t interval_ms, idle_timeout_ms, max_file_bytes, max_files;
    bool allow_private_address;
};

struct settings {
    const char *home; /* where it was read from */
    const char *log_level;
    struct {
        const char *listen; /* "127.0.0.1" */
        int64_t port;
        bool allow_plain_http_beyond_localhost;
        struct string_list trusted_proxies;
        const char *tls_certificate, *tls_key; /* PEM files, "" : none */
        int64_t max_header_bytes, max_body_bytes, max_upload_bytes;
        int64_t header_timeout_ms, idle_timeout_ms, request_timeout_ms, shutdown_grace_ms;
        int64_t body_rate, body_grace_ms; /* bytes a second, from then on */
        int64_t max_connections, max_connections_per_address;
        int64_t max_requests_in_flight, max_requests_in_flight_per_address;
        int64_t requests_per_minute; /* a key */
        int64_t compress_above;      /* bytes of a JSON answer; 0: never */
        int64_t session_hours;
    } http;
    struct {
        int64_t patience_ms; /* 0: for ever */
    } supervisor;
    struct {
        const char *transport; /* "unix" or "tls" */
        const char *tls_ca, *tls_certificate,
            *tls_key;         /* for tls: mutual, one certificate a service:
                                 <dir>/<service>.crt/.key when a folder is given */
        const char *tls_host; /* address the services listen on; ports from tls_base_port up, in
                                 peer order */
        int64_t tls_base_port;
    } rpc;
    struct {
        const char *watch_dir; /* "" : $home/watch */
        int64_t settle_ms;     /* a file is at rest when it has not changed for so long */
        int64_t rescan_s;
        int64_t poll_s;
        int64_t max_file_bytes;
        const char *backlog_hours; /* "" : always; base/settings/hours.h */
        int64_t backlog_files, backlog_file_bytes;
        int64_t workers; /* extractors at once */
        int64_t trash_days;
        const char *scanner, *quarantine; /* "" none; "leave" or "move" */
        int64_t scanner_timeout_s;
        int64_t max_attempts;
        int64_t quota_bytes; /* of one tenant's documents; 0: no limit */
    } ingest;
    struct tenant_settings *tenants;
    size_t n_tenants;
    struct collection_settings *collections;
    size_t n_collections;
    struct source_settings *sources;
    size_t n_sources;
    struct directory_group_settings *directory_groups;
    size_t n_directory_groups;
    struct {
        const char *issuer; /* "" : nobody signs in so */
        const char *name, *client_id, *client_secret_file, *redirect_uri, *scopes;
        const char *groups_claim, *name_claim, *tenant, *default_role, *ca_file;
        struct string_list hosts; /* origins besides the issuer's that it names */
        int64_t timeout_ms, clock_slack_ms;
        bool allow_private_address;
    } oidc;
    struct {
        const char *url; /* "" : nobody signs in so */
        const char *name, *ca_file, *bind_dn, *bind_password_file, *bind_template;
        const char *user_base, *user_filter, *id_attribute, *name_attribute;
        const char *groups_by, *memberof_attribute, *group_base, *group_filter;
        const char *tenant, *default_role;
        int64_t nested, timeout_ms;
        bool start_tls, allow_private_address;
    } ldap;
    struct {
        int64_t retain_versions_days;
        const char *key_dir;  /* of the tenants' keys */
        int64_t decrypted_mb; /* of segments, kept in memory for all tenants */
    } store;
    struct {
        int64_t memory_mb, cpu_s, wall_s, output_mb, processes, open_files;
    } extract;
    struct {
        int64_t warn_percent, tenant_share_percent;
        struct limit_settings key, user, team, tenant; /* a key's requests: http's */
    } limits;
    struct {
        const char *currency;
        double cpu_second, gpu_second, gb_month; /* of this machine */
        double prompt_million, completion_million, embedding_million;
        double external_prompt_million, external_completion_million;
    } prices;
    struct model_price_settings *model_prices;
    size_t n_model_prices;
    struct {
        int64_t keep_days; /* single requests */
    } usage;
    struct {
        bool enabled;
        const char *languages; /* "auto" or "deu+eng" (base/tessdata.h) */
        int64_t dpi, max_pages, min_confidence;
    } ocr;
    struct {
        int64_t members, total_mb, ratio, depth, waiting_mb;
    } unpack;
    struct chunk_sizes chunk;
    struct {
        int64_t dimensions, first_fit_chunks, min_document_frequency;
        int64_t keep_days; /* the encoder published before; 0: not kept */
        bool gate;         /* compared before it takes another's place */
        int64_t
            refit_growth_percent; /* refit when the collection has grown by this since the fit */
        const char *model;        /* name of an imported encoder; "" : the built-in one */
        bool truncate;            /* what an API embeds: cut what is longer than it reads */
    } encoder;
    struct {
        int64_t keep_days; /* POST /v1/responses with "store"; 0: not kept */
    } responses;
    struct {
        int64_t keep_days; /* without a new question; 0: not kept */
        int64_t per_user;  /* at once */
    } conversations;
    struct {
        struct string_list allow;         /* origins: "https://hooks.example.org" */
        struct string_list allow_private; /* those that may have a private address */
        const char *ca_file;              /* "" : the system's authorities */
        int64_t timeout_ms, retry_hours, disable_hours, keep_days;
    } webhooks;
    struct {
        int64_t keep_hours, max_minutes;
    } jobs;
    struct {
        int64_t keep_days, max_total_bytes; /* POST /v1/files */
    } files;
    struct {
        const char *payload;       /* "keep", "none", "encrypted" */
        const char *auditor_key;   /* hexadecimal; when encrypted */
        const char *conversations; /* "keep", "erase" */
        int64_t keep_days;         /* of texts; 0: for ever */
        int64_t checkpoint_ms, refusals_ms;
        const char *anchor; /* file; "": none */
        const char *syslog; /* "", "unix:/dev/log", "tls://host:port" */
        const char *syslog_ca;
    } audit;
    struct {
        const char *model; /* name of an imported reranker; "" : none */
        int64_t candidates, budget_ms;
    } reranker;
    struct {
        int64_t top_k, candidates, widen;
        double lsa_weight;     /* fusion weight of the built-in encoder */
        double encoder_weight; /* of an imported one */
    } retrieve;
    struct {
        const char *model;             /* name of an imported chat model; "" : none */
        const char *engine;            /* "auto", "extractive", "local", "upstream" */
        const char *chat_template;     /* "auto" or a family's name (model/template.h) */
        const char *kv_type;           /* "f16", "q8_0" or "f32" */
        const char *long_conversation; /* "refuse" or "shorten" */
        const char *device;            /* "auto", "cpu" or "cuda" */
        int64_t gpu_layers;            /* -1: as many as fit */
        int64_t context, users, threads, queue, answer_timeout_ms; /* of the model */
        double refuse_below; /* share of the query's upper bound under which nothing answers */
        int64_t max_sentences;
        struct upstream_settings upstream;
    } generate;
};

/* Reads $home/carrel.yaml (missing: all defaults). Strings live in a. File and folder names come
 * out absolute (relative ones count from home); "" stays "". */
enum status settings_load(const char *home, struct arena *a, struct settings *out,
                          struct error *err) MUST_CHECK;
/* The same from text; `name` is used in messages. */
enum status settings_parse(const char *home, struct str yaml, const char *name, struct arena *a,
                           struct settings *out, struct error *err) MUST_CHECK;
/* What a tenant's documents may take, its own line or everybody's; 0: no limit. */
/* Of the collection's documents. */
void settings_chunk(const struct settings *s, const char *collection, struct chunk_sizes *out);
int64_t settings_quota(const struct settings *s, const char *tenant);
/* The commented default file, and the reference page docs/config.md. */
void settings_write_default(struct buf *out);
void settings_write_reference(struct buf *out);

#endif
