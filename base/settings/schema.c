#include "base/settings/schema.h"

#define KIB 1024.0
#define MIB (1024.0 * 1024.0)
#define GIB (1024.0 * 1024.0 * 1024.0)
#define SECOND 1000.0
#define HOUR (3600.0 * 1000.0)

#define ROW(path_, type_, field, min_, max_, fallback_, help_)                                     \
    {                                                                                              \
        .path = path_, .type = SETTING_##type_, .offset = offsetof(struct settings, field),        \
        .min = min_, .max = max_, .fallback = fallback_, .help = help_                             \
    }
#define TEXT(path_, field, fallback_, help_)                                                       \
    {                                                                                              \
        .path = path_, .type = SETTING_STRING, .offset = offsetof(struct settings, field),         \
        .fallback = fallback_, .help = help_                                                       \
    }
#define PATH(path_, field, fallback_, help_)                                                       \
    {                                                                                              \
        .path = path_, .type = SETTING_PATH, .offset = offsetof(struct settings, field),           \
        .fallback = fallback_, .help = help_                                                       \
    }
#define FLAG(path_, field, fallback_, help_)                                                       \
    {                                                                                              \
        .path = path_, .type = SETTING_BOOL, .offset = offsetof(struct settings, field),           \
        .fallback = fallback_, .help = help_                                                       \
    }
#define ONE_OF(path_, type_, field, choices_, fallback_, help_)                                    \
    {                                                                                              \
        .path = path_, .type = SETTING_##type_, .offset = offsetof(struct settings, field),        \
        .choices = choices_, .fallback = fallback_, .help = help_                                  \
    }

const struct setting settings_schema[] = {
    ONE_OF("log_level", ENUM, log_level, "debug|info|warn|error", "info",
           "How much the services say on standard error."),

    TEXT("http.listen", http.listen, "127.0.0.1",
         "Address the web page and the API listen on. Anything but this machine itself needs TLS, "
         "or "
         "allow_plain_http_beyond_localhost."),
    ROW("http.port", INT, http.port, 0, 65535, "8642",
        "Port of the web page and the API; 0 picks a free one. --port and CARREL_PORT win over "
        "it."),
    FLAG("http.allow_plain_http_beyond_localhost", http.allow_plain_http_beyond_localhost, "false",
         "Say true to serve other machines without TLS: keys, questions and documents then cross "
         "the "
         "network readable by anyone on it. Sensible only behind a proxy that speaks TLS."),
    ROW("http.trusted_proxies", LIST, http.trusted_proxies, 0, 0, "[]",
        "Proxies in front of the appliance, as addresses or ranges such as 192.0.2.7 or "
        "10.0.0.0/8. "
        "Who asks is read from X-Forwarded-For or Forwarded when the connection comes from one of "
        "them, and only then; name no range in which there are others."),
    PATH("http.tls_certificate", http.tls_certificate, "",
         "Certificate chain (PEM), relative to the data directory; with tls_key turns HTTPS on."),
    PATH("http.tls_key", http.tls_key, "", "Private key (PEM) of tls_certificate."),
    ROW("http.max_header_bytes", SIZE, http.max_header_bytes, 4 * KIB, MIB, "32KiB",
        "Largest head of a request; more is answered 431."),
    ROW("http.max_body_bytes", SIZE, http.max_body_bytes, KIB, GIB, "4MiB",
        "Largest body of an API call; more is answered 413."),
    ROW("http.max_upload_bytes", SIZE, http.max_upload_bytes, KIB, 16 * GIB, "256MiB",
        "Largest uploaded document."),
    ROW("http.header_timeout", DURATION, http.header_timeout_ms, 100, 600 * SECOND, "10s",
        "A client has so long to send the head of its request."),
    ROW("http.idle_timeout", DURATION, http.idle_timeout_ms, SECOND, HOUR, "60s",
        "A connection without a request in flight, or a body that stands still, is closed after "
        "this."),
    ROW("http.body_rate", SIZE, http.body_rate, 0, MIB, "256",
        "The body of a request must bring so many bytes a second on average, once body_grace is "
        "over; slower is answered 408. 0: no such bound."),
    ROW("http.body_grace", DURATION, http.body_grace_ms, SECOND, HOUR, "30s",
        "For so long a body may come as slowly as it likes (idle_timeout apart)."),
    ROW("http.request_timeout", DURATION, http.request_timeout_ms, SECOND, 24 * HOUR, "300s",
        "Longest life of one request, streamed answers included."),
    ROW("http.shutdown_grace", DURATION, http.shutdown_grace_ms, 0, 600 * SECOND, "5s",
        "When the appliance stops, answers being written may go on for so long; then their streams "
        "end with an error event."),
    ROW("http.max_connections", INT, http.max_connections, 1, 65536, "512",
        "Connections at once; more wait in the kernel's queue or are refused."),
    ROW("http.max_connections_per_address", INT, http.max_connections_per_address, 1, 65536, "128",
        "Connections at once from one address; more are answered 503."),
    ROW("http.max_requests_in_flight", INT, http.max_requests_in_flight, 1, 65536, "256",
        "Requests worked on at once; more are answered 503."),
    ROW("http.max_requests_in_flight_per_address", INT, http.max_requests_in_flight_per_address, 1,
        65536, "128", "Requests of one client's address worked on at once; more are answered 429."),
    ROW("http.requests_per_minute", INT, http.requests_per_minute, 0, 1000000, "600",
        "Requests a key may make in a minute before it is answered 429; 0 switches the limit off."),
    ROW("http.compress_above", SIZE, http.compress_above, 0, GIB, "32KiB",
        "JSON answers from this size on are compressed for clients that say they take gzip or zstd "
        "and come with a key, up to 1 MiB; 0: never. The page's own files always are."),
    ROW("http.session_hours", INT, http.session_hours, 1, 24 * 365, "12",
        "A browser stays signed in for so long."),

    ROW("limits.warn_percent", INT, limits.warn_percent, 0, 100, "80",
        "Who has used so much of a budget is warned: in the log, in a header of every answer and "
        "on the page."),
    ROW("limits.tenant_share_percent", INT, limits.tenant_share_percent, 0, 100, "50",
        "Where there are several tenants, one of them may have this part of "
        "http.max_requests_in_flight, and of the places for answers (generate.users and queue), at "
        "once; 0: all."),
    ROW("limits.key.tokens_per_day", INT, limits.key.tokens_per_day, 0, 1e15, "0",
        "Tokens that models may read, write and embed for a key in a day (UTC)."),
    ROW("limits.key.streams", INT, limits.key.streams, 0, 65536, "0",
        "Answers that may be written for a key at once."),
    ROW("limits.key.upload_per_day", SIZE, limits.key.upload_bytes_per_day, 0, 1024.0 * 1024 * GIB,
        "0", "Bytes a key may upload in a day (UTC)."),
    ROW("limits.key.budget_per_month", DOUBLE, limits.key.budget_per_month, 0, 1e9, "0",
        "What a key may cost in a month, in prices.currency; then nothing that costs is done any "
        "more."),
    ROW("limits.user.requests_per_minute", INT, limits.user.requests_per_minute, 0, 1000000, "0",
        "Requests a user may make in a minute before 429 is answered. Those of single keys: "
        "http.requests_per_minute."),
    ROW("limits.user.tokens_per_day", INT, limits.user.tokens_per_day, 0, 1e15, "0",
        "Tokens that models may read, write and embed for a user in a day (UTC)."),
    ROW("limits.user.streams", INT, limits.user.streams, 0, 65536, "0",
        "Answers that may be written for a user at once."),
    ROW("limits.user.upload_per_day", SIZE, limits.user.upload_bytes_per_day, 0,
        1024.0 * 1024 * GIB, "0", "Bytes a user may upload in a day (UTC)."),
    ROW("limits.user.budget_per_month", DOUBLE, limits.user.budget_per_month, 0, 1e9, "0",
        "What a user may cost in a month, in prices.currency; then nothing that costs is done any "
        "more."),
    ROW("limits.team.requests_per_minute", INT, limits.team.requests_per_minute, 0, 1000000, "0",
        "Requests a team may make in a minute before 429 is answered."),
    ROW("limits.team.tokens_per_day", INT, limits.team.tokens_per_day, 0, 1e15, "0",
        "Tokens that models may read, write and embed for a team in a day (UTC)."),
    ROW("limits.team.streams", INT, limits.team.streams, 0, 65536, "0",
        "Answers that may be written for a team at once."),
    ROW("limits.team.upload_per_day", SIZE, limits.team.upload_bytes_per_day, 0,
        1024.0 * 1024 * GIB, "0", "Bytes a team may upload in a day (UTC)."),
    ROW("limits.team.budget_per_month", DOUBLE, limits.team.budget_per_month, 0, 1e9, "0",
        "What a team may cost in a month, in prices.currency; then nothing that costs is done any "
        "more."),
    ROW("limits.tenant.requests_per_minute", INT, limits.tenant.requests_per_minute, 0, 1000000,
        "0", "Requests a tenant may make in a minute before 429 is answered."),
    ROW("limits.tenant.tokens_per_day", INT, limits.tenant.tokens_per_day, 0, 1e15, "0",
        "Tokens that models may read, write and embed for a tenant in a day (UTC)."),
    ROW("limits.tenant.streams", INT, limits.tenant.streams, 0, 65536, "0",
        "Answers that may be written for a tenant at once."),
    ROW("limits.tenant.upload_per_day", SIZE, limits.tenant.upload_bytes_per_day, 0,
        1024.0 * 1024 * GIB, "0", "Bytes a tenant may upload in a day (UTC)."),
    ROW("limits.tenant.budget_per_month", DOUBLE, limits.tenant.budget_per_month, 0, 1e9, "0",
        "What a tenant may cost in a month, in prices.currency; then nothing that costs is done "
        "any more."),

    TEXT("prices.currency", prices.currency, "EUR",
         "What prices and budgets are counted in: three capital letters."),
    ROW("prices.cpu_second", DOUBLE, prices.cpu_second, 0, 1e6, "0",
        "A second of one processor core, of models at work."),
    ROW("prices.gpu_second", DOUBLE, prices.gpu_second, 0, 1e6, "0", "A second of the GPU."),
    ROW("prices.gb_month", DOUBLE, prices.gb_month, 0, 1e6, "0",
        "A gigabyte (10^9 bytes) of documents, a month."),
    ROW("prices.prompt_million", DOUBLE, prices.prompt_million, 0, 1e6, "0",
        "A million tokens read by a model of this machine. `model_prices:` has others for single "
        "models."),
    ROW("prices.completion_million", DOUBLE, prices.completion_million, 0, 1e6, "0",
        "A million tokens written by one."),
    ROW("prices.embedding_million", DOUBLE, prices.embedding_million, 0, 1e6, "0",
        "A million tokens embedded."),
    ROW("prices.external_prompt_million", DOUBLE, prices.external_prompt_million, 0, 1e6, "0",
        "A million tokens read by generate.upstream, where `model_prices:` does not name its "
        "model."),
    ROW("prices.external_completion_million", DOUBLE, prices.external_completion_million, 0, 1e6,
        "0", "A million tokens written by it."),

    ROW("usage.keep_days", INT, usage.keep_days, 1, 3650, "35",
        "What single requests used is kept for so many days; the sums of each day are kept for "
        "good."),

    ROW("supervisor.patience", DURATION, supervisor.patience_ms, 0, 24 * HOUR, "30s",
        "A service whose loop does not turn for so long (stopped, in an endless loop, in a "
        "deadlock) is killed and started again; at least 5s, or 0: never. Time in which the "
        "machine sleeps, or the service waits for its disk or for a processor, does not count."),

    ONE_OF(
        "rpc.transport", ENUM, rpc.transport, "unix|tls", "unix",
        "How the services reach each other: Unix sockets in the data directory, or TCP with mutual "
        "TLS 1.3."),
    PATH("rpc.tls_ca", rpc.tls_ca, "",
         "transport tls: certificate authority (PEM) that signed the services' "
         "certificates."),
    PATH("rpc.tls_certificate", rpc.tls_certificate, "",
         "transport tls: certificate (PEM), or a folder that holds <service>.crt and "
         "<service>.key."),
    PATH("rpc.tls_key", rpc.tls_key, "",
         "transport tls: private key (PEM); empty when tls_certificate is a folder."),
    TEXT("rpc.tls_host", rpc.tls_host, "127.0.0.1",
         "transport tls: address the services listen on."),
    ROW("rpc.tls_base_port", INT, rpc.tls_base_port, 1, 65000, "8650",
        "transport tls: first of the services' ports, one each in a fixed order."),

    PATH("ingest.watch_dir", ingest.watch_dir, "",
         "Folder whose sub-folders (one a tenant) are followed; empty: watch in the data "
         "directory."),
    ROW("ingest.settle_ms", INT, ingest.settle_ms, 10, 600000, "300",
        "A file is at rest, and is read, when it has not changed for so many milliseconds."),
    ROW("ingest.rescan_s", INT, ingest.rescan_s, 1, 7 * 86400, "300",
        "Every so many seconds the whole folder is compared, in case a notice was missed."),
    ROW("ingest.poll_s", INT, ingest.poll_s, 1, 86400, "30",
        "The same where nothing tells of changes: folders on a network (NFS, SMB, FUSE), or more "
        "of "
        "them than the system watches."),
    ROW("ingest.max_file_bytes", SIZE, ingest.max_file_bytes, KIB, 16 * GIB, "256MiB",
        "Larger files are listed as failed."),
    ROW("ingest.backlog_hours", STRING, ingest.backlog_hours, 0, 0, "",
        "Hours of the day, such as 22:00-06:00, in which heavy work is done: large files, and what "
        "came "
        "first where many files wait; empty: at once."),
    ROW("ingest.backlog_files", INT, ingest.backlog_files, 1, 10000000, "1000",
        "Outside these hours, where more than so many files wait, only the hundred newest are "
        "read."),
    ROW("ingest.backlog_file_bytes", SIZE, ingest.backlog_file_bytes, KIB, 16 * GIB, "16MiB",
        "Outside these hours larger files wait."),
    ROW("ingest.workers", INT, ingest.workers, 0, 256, "0",
        "Documents read at once; 0: one a processor core. A small one may be one more, while large "
        "ones have taken all places."),
    ROW("ingest.trash_days", INT, ingest.trash_days, 0, 3650, "30",
        "Documents deleted through the API stay in trash/ for so many days."),
    TEXT("ingest.scanner", ingest.scanner, "",
         "clamd's socket, which is asked about every file before it is read: a path, such as "
         "/run/clamav/clamd.ctl, or host:port in the local network; empty: none is asked."),
    ROW("ingest.scanner_timeout_s", INT, ingest.scanner_timeout_s, 1, 3600, "120",
        "It has so many seconds for a file."),
    ONE_OF("ingest.quarantine", ENUM, ingest.quarantine, "leave|move", "leave",
           "What happens to a file in which it finds something, beside not being read: it is left "
           "where it is, or moved to quarantine/ in the data directory."),
    ROW("ingest.max_attempts", INT, ingest.max_attempts, 1, 100, "5",
        "A document whose reading fails for a passing reason is tried again so often."),

    ROW("ingest.quota", SIZE, ingest.quota_bytes, 0, 1024.0 * 1024 * GIB, "0",
        "The documents of one tenant may take so many bytes, as they lie in its folder; what is "
        "above waits, and is taken when there is room. 0: no limit. `tenants:` has others for "
        "some."),

    ROW("store.retain_versions_days", INT, store.retain_versions_days, 0, 3650, "30",
        "A version of a document that was replaced or deleted is kept for so many days, found only "
        "by "
        "searches as of its time; 0: removed at once. Erasing does not wait."),
    PATH("store.key_dir", store.key_dir, "system/keys",
         "Folder with the keys of tenants whose segments are encrypted, one file each named as the "
         "tenant (`carrel tenant key NAME` makes it). On a volume of its own the disk that holds "
         "the segments does not hold their keys."),
    ROW("store.decrypted_mb", INT, store.decrypted_mb, 1, 65536, "64",
        "Decrypted pieces of such segments kept in memory, all tenants together, in MiB."),

    ROW("extract.memory_mb", INT, extract.memory_mb, 64, 1048576, "768",
        "Memory of one extractor, in MiB."),
    ROW("extract.cpu_s", INT, extract.cpu_s, 1, 86400, "60",
        "Processor time of one extraction, in seconds."),
    ROW("extract.wall_s", INT, extract.wall_s, 1, 86400, "120",
        "Time of one extraction by the clock on the wall, in seconds."),
    ROW("extract.output_mb", INT, extract.output_mb, 1, 4096, "128",
        "Most text and structure one document may give, in MiB."),
    ROW("extract.processes", INT, extract.processes, 1, 256, "8",
        "Processes one extractor may have, its helpers included."),
    ROW("extract.open_files", INT, extract.open_files, 16, 4096, "64",
        "Files one extractor may hold open."),

    FLAG("ocr.enabled", ocr.enabled, "true",
         "Text in pictures is read: scans, photographs, and pages of a PDF that have no text of "
         "their own."),
    TEXT("ocr.languages", ocr.languages, "auto",
         "What pictures are read as: names of tesseract's languages joined by +, such as deu+eng, "
         "or "
         "auto for all that are installed (packages tesseract-ocr-deu, -fra, ...). The language "
         "that a "
         "folder's .carrel.yaml names comes first. Each further one costs time."),
    ROW("ocr.dpi", INT, ocr.dpi, 72, 600, "300",
        "Pages are drawn for reading with so many points an inch; very large ones with fewer."),
    ROW("ocr.max_pages", INT, ocr.max_pages, 1, 100000, "2000",
        "Of one document at most so many pages are read from pictures; what is left out is said in "
        "its state."),
    ROW("ocr.min_confidence", INT, ocr.min_confidence, 0, 100, "10",
        "Words read with less confidence, in percent, are left out."),

    ROW("unpack.members", INT, unpack.members, 0, 1000000, "10000",
        "Files taken out of one archive, mail or other container, those in archives within it "
        "included; each becomes a document. 0: containers are not unpacked."),
    ROW("unpack.total_mb", INT, unpack.total_mb, 1, 1048576, "2048",
        "Bytes unpacked from one such file, in MiB."),
    ROW("unpack.ratio", INT, unpack.ratio, 1, 100000, "200",
        "Most bytes unpacked for each byte of the container, where they are more than 64 MiB."),
    ROW("unpack.depth", INT, unpack.depth, 1, 8, "4",
        "Containers within containers: how deep they are unpacked."),
    ROW("unpack.waiting_mb", INT, unpack.waiting_mb, 64, 1048576, "8192",
        "Unpacked files that wait to be read may take so much of the disk, in MiB, all tenants "
        "together; further containers wait."),

    ROW("chunk.target_words", INT, chunk.target_words, 20, 2000, "200", "Words a chunk aims at."),
    ROW("chunk.max_words", INT, chunk.max_words, 40, 4000, "380", "Words a chunk never exceeds."),
    ROW("chunk.target_cjk_chars", INT, chunk.target_cjk_chars, 50, 4000, "400",
        "Characters a chunk aims at in Chinese, Japanese and Korean."),
    ROW("chunk.overlap_words", INT, chunk.overlap_words, 0, 1000, "0",
        "A chunk begins with whole sentences of the one before, of at most so many words. Less "
        "than "
        "chunk.target_words."),

    ROW("encoder.dimensions", INT, encoder.dimensions, 8, 1024, "256",
        "Dimensions of the built-in encoder's vectors."),
    ROW("encoder.first_fit_chunks", INT, encoder.first_fit_chunks, 10, 1000000, "200",
        "The built-in encoder is first fitted when a tenant has so many chunks."),
    ROW("encoder.min_document_frequency", INT, encoder.min_document_frequency, 1, 1000, "3",
        "Words in fewer documents than this stay out of a fit."),
    ROW("encoder.keep_days", INT, encoder.keep_days, 0, 365, "7",
        "The encoder that was published before is kept for so many days, for a rollback; 0: not."),
    ROW("encoder.gate", BOOL, encoder.gate, 0, 0, "true",
        "An encoder is compared with the published one on the tenant's own questions before it "
        "takes its place, and held back where it is worse."),
    ROW("encoder.refit_growth_percent", INT, encoder.refit_growth_percent, 5, 95, "60",
        "Fitted again when the collection has grown by so many percent since the last fit."),

    TEXT("encoder.model", encoder.model, "",
         "An imported encoder (carrel model import --as encoder) by its name: every tenant is "
         "embedded with it, in the background; empty: the built-in encoder."),
    FLAG(
        "encoder.truncate", encoder.truncate, "false",
        "POST /v1/embeddings cuts a text that is longer than an imported encoder reads; else it is "
        "refused with the counts. A request's own truncate comes first. Documents' "
        "passages are read in windows, to their end."),

    ROW("webhooks.allow", LIST, webhooks.allow, 0, 0, "[]",
        "Where webhooks and callbacks of jobs may go: origins such as https://hooks.example.org or "
        "https://n8n.example.org:5678. Empty: nowhere. A name that turns out to have a private "
        "address is refused; one that is written as a private address is meant so."),
    ROW("webhooks.allow_private", LIST, webhooks.allow_private, 0, 0, "[]",
        "The same for names that have a private address (this machine, 10.x, 192.168.x, ...), such "
        "as http://n8n.intern:5678. Only here and to an address may it be http."),
    PATH("webhooks.ca_file", webhooks.ca_file, "",
         "Certificates (PEM) of the authorities that are trusted for them; empty: the system's."),
    ROW("webhooks.timeout", DURATION, webhooks.timeout_ms, SECOND, 60 * SECOND, "15s",
        "A receiver has so long to answer a delivery."),
    ROW("webhooks.retry_hours", INT, webhooks.retry_hours, 1, 168, "24",
        "A delivery is tried again so long, ever later; then it is given up."),
    ROW("webhooks.disable_hours", INT, webhooks.disable_hours, 1, 8760, "72",
        "A receiver that took nothing for so long, although it was tried, is told nothing more "
        "until it is switched on again."),
    ROW("webhooks.keep_days", INT, webhooks.keep_days, 1, 365, "14",
        "Deliveries that are over are kept in the log so long."),

    TEXT("reranker.model", reranker.model, "",
         "An imported reranker (carrel model import --as reranker) by its name: it reads the best "
         "passages of a search again beside the question; empty: none."),
    ROW("reranker.candidates", INT, reranker.candidates, 2, 64, "32",
        "So many of the best passages are read again."),
    ROW("reranker.budget", DURATION, reranker.budget_ms, 50, 60 * SECOND, "2s",
        "A search spends no longer on it: passages it had no time for keep their order behind."),

    ROW("responses.keep_days", INT, responses.keep_days, 0, 3650, "30",
        "What was asked and answered through POST /v1/responses is kept for so many days, so that "
        "clients can go on from it (previous_response_id), unless they say store: false; 0: "
        "never."),

    ROW("conversations.keep_days", INT, conversations.keep_days, 0, 3650, "90",
        "A conversation of the page is kept for its owner until so many days have gone without a "
        "new question in it; then it and the links to it go. 0: none is kept."),
    ROW("conversations.per_user", INT, conversations.per_user, 1, 1000000, "10000",
        "So many conversations of one user are kept at once, of at most 200 questions each. Who "
        "has "
        "as many is told to delete some before a new one begins: none goes by itself."),
    ROW("jobs.keep_hours", INT, jobs.keep_hours, 1, 720, "24",
        "What a job answered is kept for so long after it was asked for."),
    ROW("jobs.max_minutes", INT, jobs.max_minutes, 1, 1440, "60",
        "Longest life of a job, its wait for a place included."),

    ROW("files.keep_days", INT, files.keep_days, 1, 3650, "30",
        "A file uploaded through POST /v1/files is kept beside the documents for so many days; "
        "what "
        "was made a document of a vector store stays there."),
    ROW("files.max_total_bytes", SIZE, files.max_total_bytes, MIB, 1024 * GIB, "10GiB",
        "Room for such files, each tenant's; then uploads are refused until some are deleted."),
    ONE_OF("audit.payload", ENUM, audit.payload, "keep|none|encrypted", "keep",
           "What becomes of the texts behind the audit's records (who, the question, the answer): "
           "kept in the tenant's payload.db, not kept, or kept encrypted to auditor_key."),
    TEXT("audit.auditor_key", audit.auditor_key, "",
         "Public key of the auditor, 64 hexadecimal digits, for payload: encrypted; `carrel audit "
         "key` makes a pair."),
    ONE_OF(
        "audit.conversations", ENUM, audit.conversations, "keep|erase", "keep",
        "When somebody's kept conversations are erased, the audit's texts of these questions and "
        "answers stay, or go with them, which the chain tells."),
    ROW("audit.keep_days", INT, audit.keep_days, 0, 36500, "0",
        "The audit's texts are erased after so many days, which the chain tells; 0: never."),
    ROW("audit.checkpoint", DURATION, audit.checkpoint_ms, 100, HOUR, "10s",
        "The head of the audit's chain is signed this often while records come, and written to "
        "anchor."),
    ROW("audit.refusals", DURATION, audit.refusals_ms, 1000, HOUR, "1m",
        "Calls that are refused at the door (no key, a wrong one, a role that may not, over a "
        "limit): of each reason and tenant the first is recorded, then one record counts those of "
        "this time."),
    PATH("audit.anchor", audit.anchor, "",
         "A file that gets a line with each signed head: on another mount, where whoever could "
         "alter the audit cannot; empty: none."),
    TEXT("audit.syslog", audit.syslog, "",
         "Records and signed heads go to this log server too (RFC 5424): unix:/dev/log, or "
         "tls://host:port (RFC 5425, through carrel-egress); empty: none."),
    PATH("audit.syslog_ca", audit.syslog_ca, "",
         "Authorities (PEM) of that log server's certificate; empty: the system's."),

    ROW("retrieve.top_k", INT, retrieve.top_k, 1, 100, "8",
        "Passages a search returns unless told."),
    ROW("retrieve.candidates", INT, retrieve.candidates, 10, 1000, "100",
        "Candidates that are scored again by proximity and character n-grams."),
    ROW("retrieve.widen", INT, retrieve.widen, 0, 3, "0",
        "Neighbour passages that answers read on each side of a found one; found neighbours become "
        "one passage."),
    ROW("retrieve.lsa_weight", DOUBLE, retrieve.lsa_weight, 0, 1, "0.1",
        "Weight of the built-in encoder beside full-text search when both are fused."),

    ROW("retrieve.encoder_weight", DOUBLE, retrieve.encoder_weight, 0, 1, "0.5",
        "Weight of an imported encoder beside full-text search when both are fused."),

    TEXT("oidc.issuer", oidc.issuer, "",
         "People sign in with this provider of OpenID Connect (Keycloak, Entra ID, ...): its "
         "issuer, "
         "letter by letter as it names itself, such as https://id.example.org/realms/staff. Empty: "
         "none."),
    TEXT("oidc.name", oidc.name, "the company account", "What the page calls it: Sign in with ..."),
    TEXT("oidc.client_id", oidc.client_id, "", "As Carrel is registered there."),
    PATH(
        "oidc.client_secret_file", oidc.client_secret_file, "",
        "File with the secret that was given to Carrel there; only its owner may read it. Empty: a "
        "public client, which is safe too (PKCE)."),
    TEXT("oidc.redirect_uri", oidc.redirect_uri, "",
         "The address of this appliance as browsers reach it, with /api/oidc/callback at its end; "
         "registered there letter by letter."),
    TEXT("oidc.scopes", oidc.scopes, "openid profile",
         "What is asked for; openid is among it. Some providers want another one for groups."),
    TEXT("oidc.groups_claim", oidc.groups_claim, "groups",
         "The claim with somebody's groups, of the ID token or of the provider's userinfo; a dot "
         "leads into an object, as in realm_access.roles."),
    TEXT("oidc.name_claim", oidc.name_claim, "name", "The claim with the name that is shown."),
    TEXT("oidc.tenant", oidc.tenant, "main", "Whose people they are."),
    ONE_OF("oidc.default_role", ENUM, oidc.default_role, "none|reader|editor|manager|auditor|admin",
           "none",
           "The role of somebody whom directory_groups give none; none: he may not sign in."),
    ROW("oidc.hosts", LIST, oidc.hosts, 0, 0, "[]",
        "Further servers that the provider names for tokens and keys, as origins such as "
        "https://oauth2.googleapis.com. Nothing else is dialled."),
    PATH("oidc.ca_file", oidc.ca_file, "",
         "Certificates (PEM) of the authorities that are trusted for it; empty: the system's."),
    ROW("oidc.timeout", DURATION, oidc.timeout_ms, 100, 60 * SECOND, "10s",
        "It has so long for each answer."),
    ROW("oidc.clock_slack", DURATION, oidc.clock_slack_ms, 0, 600 * SECOND, "60s",
        "Its clock and ours may differ by so much."),
    FLAG("oidc.allow_private_address", oidc.allow_private_address, "false",
         "Say true when it has a private address (10.x, 192.168.x, this machine, ...)."),

    TEXT("ldap.url", ldap.url, "",
         "People sign in with name and password of this directory: ldaps://host or ldap://host, "
         "with a port where it is another than the usual one. Empty: none."),
    TEXT("ldap.name", ldap.name, "the directory", "What the page calls it."),
    FLAG("ldap.start_tls", ldap.start_tls, "true",
         "ldap:// is encrypted by StartTLS before anything is said. Say false only for a directory "
         "on this machine."),
    PATH("ldap.ca_file", ldap.ca_file, "",
         "Certificates (PEM) of the authorities that are trusted for it; empty: the system's."),
    TEXT("ldap.bind_template", ldap.bind_template, "",
         "Where everybody's entry is named alike: that name with %u for what was typed, such as "
         "uid=%u,ou=people,dc=example,dc=org. Then nobody else is needed to look him up."),
    TEXT("ldap.bind_dn", ldap.bind_dn, "",
         "Otherwise: the account that looks people up, by its distinguished name."),
    PATH("ldap.bind_password_file", ldap.bind_password_file, "",
         "File with its password; only its owner may read it."),
    TEXT("ldap.user_base", ldap.user_base, "",
         "Where people are looked up, such as ou=people,dc=example,dc=org."),
    TEXT("ldap.user_filter", ldap.user_filter, "(&(objectClass=person)(uid=%u))",
         "How: %u is what was typed. For Active Directory "
         "(&(objectClass=user)(sAMAccountName=%u))."),
    TEXT("ldap.id_attribute", ldap.id_attribute, "entryUUID",
         "The attribute that stays somebody's for ever and is nobody else's ever after; objectGUID "
         "in Active Directory."),
    TEXT("ldap.name_attribute", ldap.name_attribute, "cn", "The name that is shown."),
    ONE_OF("ldap.groups_by", ENUM, ldap.groups_by, "memberof|search|none", "memberof",
           "Somebody's groups stand in his entry (memberof), are looked for (search), or are not "
           "asked for."),
    TEXT("ldap.memberof_attribute", ldap.memberof_attribute, "memberOf",
         "The attribute of his entry, and of groups' entries, that names them."),
    TEXT("ldap.group_base", ldap.group_base, "",
         "Groups lie below this; others are not counted. Needed by search, and by memberof where "
         "directory_groups are written by their short names."),
    TEXT("ldap.group_filter", ldap.group_filter, "(&(objectClass=groupOfNames)(member=%d))",
         "How search looks for the groups of one entry: %d is its distinguished name, %u what was "
         "typed."),
    ROW("ldap.nested", INT, ldap.nested, 0, 8, "0",
        "Groups of groups count too, so many steps up."),
    TEXT("ldap.tenant", ldap.tenant, "main", "Whose people they are."),
    ONE_OF("ldap.default_role", ENUM, ldap.default_role, "none|reader|editor|manager|auditor|admin",
           "none",
           "The role of somebody whom directory_groups give none; none: he may not sign in."),
    ROW("ldap.timeout", DURATION, ldap.timeout_ms, 100, 60 * SECOND, "10s",
        "A sign-in takes no longer than this there."),
    FLAG("ldap.allow_private_address", ldap.allow_private_address, "true",
         "Say false when it must not have a private address."),

    ONE_OF("generate.engine", ENUM, generate.engine, "auto|extractive|local|upstream", "auto",
           "Who writes the answers: sentences quoted from the documents (extractive), the model of "
           "generate.model (local), the server under upstream, or auto: the local model if there "
           "is one, else upstream when one is configured and may receive the passages."),
    TEXT("generate.model", generate.model, "",
         "An imported chat model (carrel model import --as chat) by its name; empty: none."),
    ONE_OF("generate.chat_template", ENUM, generate.chat_template,
           "auto|chatml|qwen|qwen-thinking|llama2|llama3|mistral-v1|mistral-v3|mistral-v3-tekken|"
           "mistral-v7|mistral-v7-tekken|gemma|phi3|phi4|zephyr|deepseek|deepseek2|deepseek3",
           "auto", "The form of conversation that the model was trained on; auto: the file's own."),
    ROW("generate.context", INT, generate.context, 256, 1048576, "8192",
        "Most tokens of a prompt with its answer; never more than the model was trained for."),
    ROW("generate.users", INT, generate.users, 1, 64, "4",
        "Answers that the model writes at once. Memory is taken for so many at that context "
        "(carrel model plan)."),
    ONE_OF("generate.kv_type", ENUM, generate.kv_type, "f16|q8_0|f32", "f16",
           "How the model's keys and values are kept: q8_0 takes about half the memory of f16, at "
           "a small loss; f32 twice as much."),
    ROW("generate.threads", INT, generate.threads, 0, 64, "0",
        "Processor cores that the model may use; 0: all there are. Answers do not depend on it."),
    ONE_OF(
        "generate.device", ENUM, generate.device, "auto|cpu|cuda", "auto",
        "Where the model runs: an NVIDIA GPU (cuda; driver 580 or newer), the processor (cpu), or "
        "auto: a GPU where there is one that can run the model, else the processor."),
    ROW("generate.gpu_layers", INT, generate.gpu_layers, -1, 256, "-1",
        "Layers of the model on the GPU, the first so many; the processor has the rest. -1: as "
        "many "
        "as fit."),
    ROW("generate.queue", INT, generate.queue, 0, 1024, "16",
        "Questions that may wait for the model besides; more are told to come again (429)."),
    ONE_OF(
        "generate.long_conversation", ENUM, generate.long_conversation, "refuse|shorten", "refuse",
        "A conversation that does not fit into generate.context: refused with the counts, or its "
        "oldest turns are left out (the answer's note says so)."),
    ROW("generate.answer_timeout", DURATION, generate.answer_timeout_ms, SECOND, HOUR, "300s",
        "Longest answer of the model, waiting included."),
    ROW("generate.refuse_below", DOUBLE, generate.refuse_below, 0, 1, "0.20",
        "Share of the best possible score under which the answer is that nothing in the documents "
        "answers the question."),
    ROW("generate.max_sentences", INT, generate.max_sentences, 1, 20, "4",
        "Most sentences of an extractive answer."),
    TEXT(
        "generate.upstream.url", generate.upstream.url, "",
        "Base address of an OpenAI-compatible server, ending in /v1; empty: none, and nothing ever "
        "leaves this machine."),
    TEXT("generate.upstream.model", generate.upstream.model, "", "Name of the model there."),
    PATH("generate.upstream.key_file", generate.upstream.key_file, "",
         "File with the key for that server, relative to the data directory; empty: no key."),
    ONE_OF("generate.upstream.may_receive", LIST, generate.upstream.may_receive,
           "public|internal|confidential|restricted", "[]",
           "Labels whose passages may be sent there. The strictest passage of a prompt decides; an "
           "unlabelled one is never sent."),
    ROW("generate.upstream.connect_timeout", DURATION, generate.upstream.connect_timeout_ms, 100,
        60 * SECOND, "5s", "Longest wait for a connection."),
    ROW("generate.upstream.idle_timeout", DURATION, generate.upstream.idle_timeout_ms, SECOND, HOUR,
        "60s", "Longest silence in the middle of an answer."),
    ROW("generate.upstream.total_timeout", DURATION, generate.upstream.total_timeout_ms, SECOND,
        24 * HOUR, "300s", "Longest answer, retries included."),
    ROW("generate.upstream.max_retries", INT, generate.upstream.max_retries, 0, 10, "3",
        "Retries after 429 or 5xx; Retry-After is respected."),
    FLAG("generate.upstream.allow_private_address", generate.upstream.allow_private_address,
         "false",
         "Say true when that server has a private address (10.x, 192.168.x, this machine, ...)."),
};
const size_t settings_schema_n = sizeof(settings_schema) / sizeof(settings_schema[0]);
_Static_assert(sizeof(settings_schema) / sizeof(settings_schema[0]) <= SETTINGS_MAX_ROWS,
               "raise SETTINGS_MAX_ROWS");

const struct setting_section settings_sections[] = {
    {"http", "The web page and the API."},
    {"limits", "What may be used; 0: no limit. Others for single keys, users, teams and tenants: "
               "carrel limits."},
    {"limits.key", "Each key."},
    {"limits.user", "Each user, all keys together."},
    {"limits.team", "Each team: what carrel limits calls one, or the first group of a key."},
    {"limits.tenant", "Each tenant."},
    {"prices", "What things cost, for reports and budgets."},
    {"usage", "What is kept of who used what."},
    {"supervisor", "Keeping the services running."},
    {"rpc", "How the services talk to each other."},
    {"ingest", "Following the watched folder."},
    {"store", "What each tenant keeps."},
    {"extract", "Limits of the sandboxed process that reads one document."},
    {"ocr", "Reading text in pictures (tesseract)."},
    {"unpack", "Files in archives and what is attached to mails."},
    {"chunk", "How documents are cut."},
    {"encoder",
     "What turns texts into vectors: built in and fitted to each tenant's documents, or imported."},
    {"webhooks", "Telling other systems what happened: signed calls, through carrel-egress."},
    {"reranker", "Reading the best passages again beside the question."},
    {"responses", "Responses that clients of the API asked to have kept."},
    {"conversations", "What people asked on the page, kept for themselves."},
    {"jobs", "Answers that are asked for now and fetched later."},
    {"files", "Files that clients of the API upload for vector stores."},
    {"audit", "The record of every answer and every administrative act."},
    {"retrieve", "Finding passages."},
    {"oidc", "Signing in with a provider of OpenID Connect. Who may do what: directory_groups."},
    {"ldap", "Signing in with a directory (LDAP). Who may do what: directory_groups."},
    {"generate", "Writing answers."},
    {"generate.upstream", "A model elsewhere, by written policy only."},
};
const size_t settings_sections_n = sizeof(settings_sections) / sizeof(settings_sections[0]);

const char *setting_type_name(enum setting_type t)
{
    switch (t) {
    case SETTING_BOOL:
        return "true or false";
    case SETTING_INT:
        return "whole number";
    case SETTING_SIZE:
        return "size";
    case SETTING_DURATION:
        return "duration";
    case SETTING_DOUBLE:
        return "number";
    case SETTING_STRING:
        return "text";
    case SETTING_PATH:
        return "file name";
    case SETTING_ENUM:
        return "one of";
    case SETTING_LIST:
        return "list of";
    }
    return "?";
}
