#include "cli/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "cli/term.h"

static const struct {
    enum option_flag flag;
    struct option option;
    const char *shown;
    const char *help;
} table[] = {
    {OPT_HOME,
     {"home", required_argument, NULL, 'H'},
     "--home DIR",
     "data directory (default $CARREL_HOME, else ~/.local/share/carrel)"},
    {OPT_PORT,
     {"port", required_argument, NULL, 'p'},
     "-p, --port N",
     "port of the web page, 0 for a free one (default $CARREL_PORT, else http.port)"},
    {OPT_QUIET,
     {"quiet", no_argument, NULL, 'q'},
     "-q, --quiet",
     "of the services' lines, show only warnings and errors"},
    {OPT_JSON, {"json", no_argument, NULL, 'j'}, "--json", "answer in JSON, for programs"},
    {OPT_KEY_FILE,
     {"key-file", required_argument, NULL, 'K'},
     "--key-file FILE",
     "file with the key (default $CARREL_KEY, else admin.key in the data directory)"},
    {OPT_TOP_K,
     {"top-k", required_argument, NULL, 'k'},
     "-k, --top-k N",
     "passages to show, 1 to 100"},
    {OPT_WATCH,
     {"watch", no_argument, NULL, 'w'},
     "-w, --watch",
     "stay, with a progress bar, until everything is read"},
    {OPT_FILTER,
     {"collection", required_argument, NULL, 1},
     "--collection NAME",
     "only documents of this collection (this and the next seven may be given again)"},
    {OPT_FILTER, {"label", required_argument, NULL, 2}, "--label NAME", "with this label"},
    {OPT_FILTER, {"tag", required_argument, NULL, 3}, "--tag NAME", "with this tag"},
    {OPT_FILTER,
     {"language", required_argument, NULL, 4},
     "--language CODE",
     "in this language (en, de)"},
    {OPT_FILTER,
     {"format", required_argument, NULL, 5},
     "--format NAME",
     "of this format (pdf, docx)"},
    {OPT_FILTER, {"under", required_argument, NULL, 6}, "--under PATH", "below this folder"},
    {OPT_FILTER,
     {"author", required_argument, NULL, 7},
     "--author NAME",
     "by this author (words of the name)"},
    {OPT_FILTER,
     {"hash", required_argument, NULL, 8},
     "--hash HEX",
     "of the file with this SHA-256, or with one that begins so"},
    {OPT_FILTER,
     {"from", required_argument, NULL, 11},
     "--from DATE",
     "dated this day (2026-09-30) or later"},
    {OPT_FILTER,
     {"until", required_argument, NULL, 12},
     "--until DATE",
     "dated this day or before"},
    {OPT_FILTER,
     {"as-of", required_argument, NULL, 13},
     "--as-of DATE",
     "the documents as they stood at the end of this day"},
    {OPT_DOCUMENT,
     {"document", required_argument, NULL, 16},
     "--document ID|PATH",
     "why this document is not among them"},
    {OPT_GROUPS, {"groups", required_argument, NULL, 14}, "--groups A,B", "groups it reads as"},
    {OPT_GROUPS,
     {"role", required_argument, NULL, 90},
     "--role ROLE",
     "create, add: admin, manager, editor, reader, auditor, service (reader)"},
    {OPT_KEY_TENANT, {"tenant", required_argument, NULL, 't'}, "-t, --tenant NAME", "whose it is"},
    {OPT_ADMIN, {"admin", no_argument, NULL, 15}, "--admin", "an administrator's key"},
    {OPT_ADMIN,
     {"scopes", required_argument, NULL, 91},
     "--scopes A,B",
     "create: the part of its role that the key may use (default: all)"},
    {OPT_ADMIN,
     {"collections", required_argument, NULL, 92},
     "--collections A,B",
     "create: only these collections"},
    {OPT_ADMIN,
     {"addresses", required_argument, NULL, 93},
     "--addresses A,B",
     "create: only from there, such as 10.0.0.0/8"},
    {OPT_ADMIN,
     {"owner", required_argument, NULL, 94},
     "--owner USER",
     "create: a key of this user's, with his role and groups"},
    {OPT_ADMIN, {"days", required_argument, NULL, 95}, "--days N", "create: ends after N days"},
    {OPT_BACKUP_KEY,
     {"key-file", required_argument, NULL, 'B'},
     "--key-file FILE",
     "file with the key of the backups; left out: they are not encrypted"},
    {OPT_TENANT, {"tenant", required_argument, NULL, 't'}, "-t, --tenant NAME", "only this tenant"},
    {OPT_WITH_WATCH,
     {"with-watch", no_argument, NULL, 'W'},
     "--with-watch",
     "also what lies in the watched folder and is no document"},
    {OPT_WITH_WATCH,
     {"models", no_argument, NULL, 'M'},
     "--models",
     "also the files of the models in use"},
    {OPT_KEEP,
     {"keep", required_argument, NULL, 'n'},
     "--keep N",
     "of all backups there keep the newest N"},
    {OPT_INTO,
     {"into", required_argument, NULL, 'I'},
     "--into DIR",
     "data directory to restore into (default as --home)"},
    {OPT_AS, {"as", required_argument, NULL, 'A'}, "--as NAME", "the tenant's new name"},
    {OPT_PATH, {"document", required_argument, NULL, 40}, "--document ID", "this document"},
    {OPT_PATH,
     {"path", required_argument, NULL, 41},
     "--path PATH",
     "the file, or everything below the folder"},
    {OPT_ERASE,
     {"all-copies", no_argument, NULL, 42},
     "--all-copies",
     "also the same content under other paths"},
    {OPT_ERASE,
     {"keep-copies", no_argument, NULL, 43},
     "--keep-copies",
     "only this place: the content stays under the other paths"},
    {OPT_ERASE, {"dry-run", no_argument, NULL, 44}, "--dry-run", "only show what would go"},
    {OPT_ERASE, {"yes", no_argument, NULL, 45}, "--yes", "do not ask"},
    {OPT_ERASE,
     {"public-key", required_argument, NULL, 46},
     "--public-key HEX",
     "verify: the appliance's key (default: this data directory's)"},
    {OPT_ERASE,
     {"subject", required_argument, NULL, 201},
     "--subject TERMS",
     "everything that names this data subject: a name, an address, a number (may be given again)"},
    {OPT_ERASE,
     {"subject-file", required_argument, NULL, 202},
     "--subject-file FILE",
     "the same, one identifier a line; - is standard input"},
    {OPT_ERASE,
     {"except", required_argument, NULL, 203},
     "--except ID",
     "this document stays although it names the subject (may be given again)"},
    {OPT_HOLD,
     {"collection", required_argument, NULL, 47},
     "--collection NAME",
     "every document of the collection"},
    {OPT_HOLD, {"reason", required_argument, NULL, 48}, "--reason TEXT", "why it is held"},
    {OPT_BACKUP,
     {"backup", required_argument, NULL, 'b'},
     "--backup ID",
     "which backup (default: the newest; `carrel backup list`)"},
    {OPT_MODEL,
     {"as", required_argument, NULL, 'A'},
     "--as ROLE",
     "import: chat, encoder or reranker"},
    {OPT_MODEL,
     {"name", required_argument, NULL, 60},
     "--name NAME",
     "import: what settings call it (default: from the file's own name)"},
    {OPT_MODEL,
     {"query-prefix", required_argument, NULL, 61},
     "--query-prefix TEXT",
     "import, encoders: what stands before a question (default: as its family wants)"},
    {OPT_MODEL,
     {"passage-prefix", required_argument, NULL, 62},
     "--passage-prefix TEXT",
     "import, encoders: what stands before a passage"},
    {OPT_MODEL_PLAN,
     {"context", required_argument, NULL, 50},
     "--context N",
     "plan: tokens of one user, prompt and answer (default: the model's)"},
    {OPT_MODEL_PLAN, {"users", required_argument, NULL, 51}, "--users N", "plan: answers at once"},
    {OPT_MODEL_PLAN,
     {"vram", required_argument, NULL, 52},
     "--vram SIZE",
     "plan: the memory there is, such as 24G (default: this machine's)"},
    {OPT_MODEL_PLAN,
     {"shape", required_argument, NULL, 53},
     "--shape SIZE",
     "plan: without a file, for 8B, 13B, 34B or 70B"},
    {OPT_MODEL_PLAN,
     {"weights", required_argument, NULL, 54},
     "--weights TYPE",
     "plan: of that shape: Q4_K_M, Q4_0, Q6_K, Q8_0 or F16"},
    {OPT_MODEL_PLAN,
     {"kv", required_argument, NULL, 55},
     "--kv TYPE",
     "plan, bench, eval: keys and values as f16, q8_0 or f32 (f16)"},
    {OPT_MODEL_BENCH,
     {"prompt", required_argument, NULL, 150},
     "--prompt N",
     "bench: tokens of a prompt, of an encoder's text (512)"},
    {OPT_MODEL_BENCH,
     {"generate", required_argument, NULL, 151},
     "--generate N",
     "bench: tokens of an answer (64)"},
    {OPT_MODEL_BENCH,
     {"threads", required_argument, NULL, 152},
     "--threads N",
     "bench, eval: threads (1)"},
    {OPT_MODEL_BENCH,
     {"streams", required_argument, NULL, 153},
     "--streams N",
     "bench: answers, or an encoder's texts, at once (1)"},
    {OPT_MODEL_BENCH,
     {"device", required_argument, NULL, 154},
     "--device DEVICE",
     "bench: cpu or cuda (cpu)"},
    {OPT_INGEST,
     {"to", required_argument, NULL, 70},
     "--to FOLDER",
     "folder below the watched one, whose first part is the collection (default: none)"},
    {OPT_INGEST,
     {"as", required_argument, NULL, 'A'},
     "--as NAME",
     "the file's name; needed where - is read"},
    {OPT_INGEST,
     {"replace", no_argument, NULL, 71},
     "--replace",
     "files of the same name that are there already"},
    {OPT_EVERY,
     {"every", required_argument, NULL, 'e'},
     "--every TIME",
     "again and again, such as 6h or 30m"},
    {OPT_ENCODER,
     {"dims", required_argument, NULL, 130},
     "--dims N",
     "build: dimensions of the fit, 8 to 1024 (default encoder.dimensions)"},
    {OPT_ENCODER,
     {"model", required_argument, NULL, 131},
     "--model NAME",
     "build: instead of a fit, an encoder that embed serves under this name"},
    {OPT_ENCODER,
     {"against", required_argument, NULL, 132},
     "--against NAME",
     "compare: with this one instead of the published one"},
    {OPT_ENCODER,
     {"force", no_argument, NULL, 133},
     "--force",
     "promote: whatever a comparison says"},
    {OPT_MODEL_FORCE,
     {"force", no_argument, NULL, 133},
     "--force",
     "remove: also what a setting names or a tenant's vectors need"},
    {OPT_AUDIT,
     {"folder", required_argument, NULL, 160},
     "--folder DIR",
     "a copy of the tenant's folder, with audit/ and payload.db in it"},
    {OPT_AUDIT,
     {"head", required_argument, NULL, 161},
     "--head SEQ:HASH|FILE",
     "verify: a head that was written down, or a file of anchors"},
    {OPT_AUDIT,
     {"secret", required_argument, NULL, 162},
     "--secret FILE",
     "the auditor's secret key, for texts that are encrypted"},
    {OPT_AUDIT,
     {"public-key", required_argument, NULL, 163},
     "--public-key HEX",
     "verify: whose signatures count, instead of the key that the chain names"},
    {OPT_AUDIT,
     {"count", required_argument, NULL, 164},
     "--count N",
     "tail: the last N records (default 20)"},
    {OPT_RULES,
     {"rules", required_argument, NULL, 'R'},
     "--rules FILE",
     "what ought to hold, instead of access.yaml in the data directory"},
};
#define TABLE_N (sizeof(table) / sizeof(table[0]))

void options_usage(const struct command *c, FILE *to)
{
    (void)fprintf(to, "usage: carrel %s%s%s%s\n\n%s\n", c->name,
                  c->options == 0 ? "" : " [options]", c->args[0] == '\0' ? "" : " ", c->args,
                  c->summary);
    if (c->help != NULL) {
        (void)fprintf(to, "\n%s\n", c->help);
    }
    (void)fprintf(to, "\noptions:\n");
    for (size_t i = 0; i < TABLE_N; i++) {
        if ((c->options & table[i].flag) != 0) {
            (void)fprintf(to, "  %-19s %s\n", table[i].shown, table[i].help);
        }
    }
    (void)fprintf(to, "  %-19s %s\n", "-h, --help", "this text");
}

static bool whole_number(const char *text, long min, long max, int *out)
{
    char *end = NULL;

    errno = 0;
    long n = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || n < min || n > max) {
        return false;
    }
    *out = (int)n;
    return true;
}

/* "24G", "512M", "800000": bytes, in powers of 1024. */
static bool size_of(const char *text, uint64_t *out)
{
    char *end = NULL;

    errno = 0;
    double v = strtod(text, &end);
    int shift = *end == 'K' || *end == 'k'   ? 10
                : *end == 'M' || *end == 'm' ? 20
                : *end == 'G' || *end == 'g' ? 30
                : *end == 'T'                ? 40
                                             : 0;
    const char *rest = end + (shift > 0 ? 1 : 0);
    bool unit = *rest == '\0' || (shift > 0 && (strcmp(rest, "iB") == 0 || strcmp(rest, "B") == 0));
    v *= (double)(UINT64_C(1) << shift);
    if (errno != 0 || end == text || !unit || !(v >= 1) || v > 1e15) {
        return false;
    }
    *out = (uint64_t)v;
    return true;
}

static enum options_result take_filter(const struct command *c, int kind, struct options *out)
{
    if (out->filters[kind].n == OPTION_VALUES_MAX) {
        term_complain("carrel %s: at most %d values of one kind", c->name, OPTION_VALUES_MAX);
        return OPTIONS_WRONG;
    }
    out->filters[kind].values[out->filters[kind].n++] = optarg;
    return OPTIONS_OK;
}

static enum options_result take_plan(const struct command *c, int letter, struct options *out)
{
    bool good = true;
    if (letter == 50) {
        good = whole_number(optarg, 1, 1 << 24, &out->context);
    } else if (letter == 51) {
        good = whole_number(optarg, 1, 4096, &out->users);
    } else if (letter == 52) {
        good = size_of(optarg, &out->vram);
    } else if (letter == 53) {
        out->shape = optarg;
    } else if (letter == 55) {
        out->kv = optarg;
    } else {
        out->weights = optarg;
    }
    if (!good) {
        term_complain("carrel %s: %s: must be %s", c->name, optarg,
                      letter == 50   ? "1 to 16777216 tokens"
                      : letter == 51 ? "1 to 4096 users"
                                     : "a size such as 24G or 512M");
    }
    return good ? OPTIONS_OK : OPTIONS_WRONG;
}

static enum options_result take_audit(const struct command *c, int letter, struct options *out)
{
    const char **texts[] = {&out->folder, &out->head, &out->secret, &out->public_key};
    if (letter < 164) {
        *texts[letter - 160] = optarg;
    } else if (!whole_number(optarg, 1, 1000000, &out->count)) {
        term_complain("carrel %s: --count %s: must be a number from 1 to 1000000", c->name, optarg);
        return OPTIONS_WRONG;
    }
    return OPTIONS_OK;
}

static enum options_result take_encoder(const struct command *c, int letter, struct options *out)
{
    switch (letter) {
    case 130:
        if (!whole_number(optarg, 8, 1024, &out->dims)) {
            term_complain("carrel %s: --dims %s: must be a number from 8 to 1024", c->name, optarg);
            return OPTIONS_WRONG;
        }
        break;
    case 131:
        out->source = optarg;
        break;
    case 132:
        out->against = optarg;
        break;
    default:
        out->force = true;
        break;
    }
    return OPTIONS_OK;
}

static enum options_result take_one_of(const struct command *c, const char *name,
                                       const char **values, int *n)
{
    if (*n == OPTION_SUBJECTS_MAX) {
        term_complain("carrel %s: --%s at most %d times", c->name, name, OPTION_SUBJECTS_MAX);
        return OPTIONS_WRONG;
    }
    values[(*n)++] = optarg;
    return OPTIONS_OK;
}

static enum options_result take_bench(const struct command *c, int letter, struct options *out)
{
    int *const to[] = {&out->prompt, &out->generate, &out->threads, &out->streams};
    static const int most[] = {4096, 4096, 64, 64};
    int i = letter - 150;
    if (letter == 154) {
        out->device = optarg;
        return OPTIONS_OK;
    }
    if (!whole_number(optarg, i == 1 ? 0 : 1, most[i], to[i])) {
        term_complain("carrel %s: %s: must be a number up to %d", c->name, optarg, most[i]);
        return OPTIONS_WRONG;
    }
    return OPTIONS_OK;
}

static enum options_result take_identity(const struct command *c, int letter, struct options *out)
{
    const char **const to[] = {&out->role, &out->scopes, &out->collections, &out->addresses,
                               &out->owner};
    if (letter < 95) {
        *to[letter - 90] = optarg;
        return OPTIONS_OK;
    }
    if (!whole_number(optarg, 1, 36500, &out->days)) {
        term_complain("carrel %s: --days: must be a number up to 36500", c->name);
        return OPTIONS_WRONG;
    }
    return OPTIONS_OK;
}

static enum options_result take(const struct command *c, int letter, struct options *out,
                                const char **home)
{
    if (letter >= 1 && letter <= OPTION_FILTERS) {
        return take_filter(c, letter - 1, out);
    }
    if (letter >= 50 && letter <= 55) {
        return take_plan(c, letter, out);
    }
    if (letter >= 150 && letter <= 154) {
        return take_bench(c, letter, out);
    }
    if (letter >= 90 && letter <= 95) {
        return take_identity(c, letter, out);
    }
    if (letter >= 130 && letter <= 133) {
        return take_encoder(c, letter, out);
    }
    if (letter >= 160 && letter <= 164) {
        return take_audit(c, letter, out);
    }
    switch (letter) {
    case 11:
        out->from = optarg;
        return OPTIONS_OK;
    case 12:
        out->until = optarg;
        return OPTIONS_OK;
    case 13:
        out->as_of = optarg;
        return OPTIONS_OK;
    case 14:
        out->groups = optarg;
        return OPTIONS_OK;
    case 16:
        out->document = optarg;
        return OPTIONS_OK;
    case 15:
        out->admin = true;
        return OPTIONS_OK;
    case 'H':
        *home = optarg;
        return OPTIONS_OK;
    case 'j':
        out->json = true;
        return OPTIONS_OK;
    case 'q':
        out->quiet = true;
        return OPTIONS_OK;
    case 'w':
        out->watch = true;
        return OPTIONS_OK;
    case 40:
        out->document = optarg;
        return OPTIONS_OK;
    case 41:
        out->path = optarg;
        return OPTIONS_OK;
    case 42:
        out->all_copies = true;
        return OPTIONS_OK;
    case 43:
        out->keep_copies = true;
        return OPTIONS_OK;
    case 44:
        out->dry_run = true;
        return OPTIONS_OK;
    case 45:
        out->yes = true;
        return OPTIONS_OK;
    case 46:
        out->public_key = optarg;
        return OPTIONS_OK;
    case 47:
        out->held_collection = optarg;
        return OPTIONS_OK;
    case 48:
        out->reason = optarg;
        return OPTIONS_OK;
    case 60:
        out->model_name = optarg;
        return OPTIONS_OK;
    case 61:
        out->query_prefix = optarg;
        return OPTIONS_OK;
    case 62:
        out->passage_prefix = optarg;
        return OPTIONS_OK;
    case 70:
        out->to = optarg;
        return OPTIONS_OK;
    case 71:
        out->replace = true;
        return OPTIONS_OK;
    case 201:
        return take_one_of(c, "subject", out->subjects, &out->n_subjects);
    case 202:
        out->subject_file = optarg;
        return OPTIONS_OK;
    case 203:
        return take_one_of(c, "except", out->except, &out->n_except);
    case 'W':
        out->with_watch = true;
        return OPTIONS_OK;
    case 'M':
        out->with_models = true;
        return OPTIONS_OK;
    case 't':
        out->tenant = optarg;
        return OPTIONS_OK;
    case 'I':
        out->into = optarg;
        return OPTIONS_OK;
    case 'A':
        out->as = optarg;
        return OPTIONS_OK;
    case 'e':
        out->every = optarg;
        return OPTIONS_OK;
    case 'R':
        out->rules = optarg;
        return OPTIONS_OK;
    case 'b':
        out->backup = optarg;
        return OPTIONS_OK;
    case 'n':
        if (!whole_number(optarg, 1, 100000, &out->keep)) {
            term_complain("carrel %s: --keep %s: must be a number from 1 to 100000", c->name,
                          optarg);
            return OPTIONS_WRONG;
        }
        return OPTIONS_OK;
    case 'B':
    case 'K':
        out->key_file = optarg;
        return OPTIONS_OK;
    case 'p':
        if (!whole_number(optarg, 0, 65535, &out->port)) {
            term_complain("carrel %s: --port %s: must be a number from 0 to 65535", c->name,
                          optarg);
            return OPTIONS_WRONG;
        }
        return OPTIONS_OK;
    case 'k':
        if (!whole_number(optarg, 1, 100, &out->top_k)) {
            term_complain("carrel %s: --top-k %s: must be a number from 1 to 100", c->name, optarg);
            return OPTIONS_WRONG;
        }
        return OPTIONS_OK;
    case 'h':
        return OPTIONS_HELP;
    default:
        return OPTIONS_WRONG;
    }
}

static enum options_result take_port_from_environment(const struct command *c, struct options *out)
{
    const char *env = getenv("CARREL_PORT");

    if ((c->options & OPT_PORT) == 0 || out->port >= 0 || env == NULL || env[0] == '\0') {
        return OPTIONS_OK;
    }
    if (!whole_number(env, 0, 65535, &out->port)) {
        term_complain("carrel %s: CARREL_PORT=%s: must be a number from 0 to 65535", c->name, env);
        return OPTIONS_WRONG;
    }
    return OPTIONS_OK;
}

enum exit_code command_misread(const struct command *c, const struct options *o)
{
    char words[160] = "";
    size_t n = 0;
    for (int i = 0; i < o->n_args && n + 1 < sizeof words; i++) {
        int more = snprintf(words + n, sizeof words - n, "%s%.60s", i == 0 ? "" : " ", o->args[i]);
        n = more < 0 ? sizeof words : n + (size_t)more;
    }
    term_complain("carrel %s: \"%s\" is not understood, or an option is missing; it is written "
                  "carrel %s %s (see `carrel %s --help`)",
                  c->name, words, c->name, c->args, c->name);
    return EXIT_USAGE;
}

enum options_result options_parse(const struct command *c, int argc, char **argv,
                                  struct options *out)
{
    struct option longs[TABLE_N + 2] = {{0}};
    char shorts[2 * TABLE_N + 5] = ":h"; /* what is wrong is said here, not by getopt */
    size_t n = 0;
    size_t n_short = 2;
    const char *home = NULL;
    struct error err;

    *out = (struct options){.port = -1, .generate = -1};
    for (size_t i = 0; i < TABLE_N; i++) {
        if ((c->options & table[i].flag) != 0) {
            longs[n++] = table[i].option;
            if (strchr("pqkwt", table[i].option.val) != NULL) {
                shorts[n_short++] = (char)table[i].option.val;
                if (table[i].option.has_arg == required_argument) {
                    shorts[n_short++] = ':';
                }
            }
        }
    }
    longs[n] = (struct option){"help", no_argument, NULL, 'h'};
    optind = 1;
    for (int letter; (letter = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
        if (letter == '?' || letter == ':') {
            char shown[] = {'-', (char)optopt, '\0'};
            bool by_letter = optopt > ' ' && optopt < 127 && argv[optind - 1][1] != '-';
            term_complain(letter == ':' ? "carrel %s: %s needs a value; see `carrel %s --help`"
                                        : "carrel %s: %s: there is no such option, or not by this "
                                          "beginning alone; see `carrel %s --help`",
                          c->name, by_letter ? shown : argv[optind - 1], c->name);
            return OPTIONS_WRONG;
        }
        enum options_result r = take(c, letter, out, &home);
        if (r != OPTIONS_OK) {
            return r;
        }
    }
    if (argc - optind < c->min_args || argc - optind > c->max_args) {
        term_complain(
            "carrel %s: %s; it is written carrel %s%s%s (see `carrel %s --help`)", c->name,
            argc - optind < c->min_args ? "something is missing" : "too many words (quote them?)",
            c->name, c->args[0] == '\0' ? "" : " ", c->args, c->name);
        return OPTIONS_WRONG;
    }
    for (int i = optind; i < argc && out->n_args < OPTIONS_ARGS_MAX; i++) {
        out->args[out->n_args++] = argv[i];
    }
    if ((c->options & OPT_HOME) != 0 &&
        home_resolve(home, out->home, sizeof(out->home), &err) != STATUS_OK) {
        term_complain("carrel %s: %s", c->name, err.text);
        return OPTIONS_WRONG;
    }
    return take_port_from_environment(c, out);
}
