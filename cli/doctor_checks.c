#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "cli/doctor.h"
#include "cli/net.h"
#include "cli/paths.h"
#include "cli/term.h"
#include "model/cuda/cuda.h"
#include "model/registry.h"

#define MEMORY_LOW ((uint64_t)1024 * 1024 * 1024)
#define SPACE_LOW ((uint64_t)1024 * 1024 * 1024)
#define WATCHES_LOW 8192
#define CLOCK_SANE 1767225600 /* 2026-01-01: before it, sessions and certificates go wrong */

#define SAY(f, ...) ((void)snprintf((f)->text, sizeof((f)->text), __VA_ARGS__))
#define MEND(f, ...) ((void)snprintf((f)->mend, sizeof((f)->mend), __VA_ARGS__))

struct finding *doctor_add(struct doctor *d, const char *area, enum verdict v)
{
    struct finding *f = &d->findings[d->n < FINDINGS_MAX ? d->n++ : FINDINGS_MAX - 1];

    *f = (struct finding){.area = area, .verdict = v};
    return f;
}

static long read_number(const char *path)
{
    char text[32] = "";
    FILE *f = fopen(path, "re");

    if (f == NULL) {
        return -1;
    }
    char *got = fgets(text, sizeof(text), f);
    (void)fclose(f);
    return got == NULL ? -1 : strtol(text, NULL, 10);
}

static void check_landlock(struct doctor *d)
{
    long abi =
        syscall(SYS_landlock_create_ruleset, NULL, 0, 1U /* LANDLOCK_CREATE_RULESET_VERSION */);
    struct finding *f = doctor_add(d, "machine", abi > 0 ? FINDING_OK : FINDING_NOTE);

    if (abi > 0) {
        SAY(f, "Landlock is there (version %ld): extractors see no files but their own", abi);
    } else {
        SAY(f, "this kernel has no Landlock (%s): extractors are held by seccomp and limits only",
            strerror(errno));
        MEND(f, "use a kernel of 5.13 or later with landlock in /sys/kernel/security/lsm");
    }
}

static void check_inotify(struct doctor *d)
{
    long watches = read_number("/proc/sys/fs/inotify/max_user_watches");
    long instances = read_number("/proc/sys/fs/inotify/max_user_instances");
    bool low = (watches >= 0 && watches < WATCHES_LOW) || (instances >= 0 && instances < 16);
    struct finding *f = doctor_add(d, "machine", low ? FINDING_WRONG : FINDING_OK);

    SAY(f, "inotify: %ld folders can be followed, %ld instances", watches, instances);
    if (low) {
        MEND(f, "put fs.inotify.max_user_watches=524288 and fs.inotify.max_user_instances=512 into "
                "/etc/sysctl.d/carrel.conf and run `sysctl --system`");
    }
}

void doctor_machine(struct doctor *d)
{
    struct sysinfo si = {0};
    struct utsname un;
    char memory[16];

    (void)sysinfo(&si);
    uint64_t bytes = (uint64_t)si.totalram * si.mem_unit;
    term_bytes(bytes, memory);
    struct finding *f = doctor_add(d, "machine", bytes < MEMORY_LOW ? FINDING_WRONG : FINDING_OK);
    SAY(f, "%ld processor cores, %s of memory, Linux %s", sysconf(_SC_NPROCESSORS_ONLN), memory,
        uname(&un) == 0 ? un.release : "?");
    if (bytes < MEMORY_LOW) {
        MEND(f, "give the machine at least 1 GiB, or lower extract.memory_mb");
    }
    time_t now = time(NULL);
    if (now < CLOCK_SANE) {
        f = doctor_add(d, "machine", FINDING_WRONG);
        SAY(f, "the clock stands before 2026");
        MEND(f, "set it: `timedatectl set-ntp true`");
    }
    check_landlock(d);
    check_inotify(d);
}

static const char *filesystem_name(long type)
{
    switch ((unsigned long)type) {
    case 0x6969UL:
        return "NFS";
    case 0xff534d42UL:
    case 0xfe534d42UL:
    case 0x517bUL:
        return "SMB";
    case 0x01021997UL:
        return "9p";
    case 0x65735546UL:
        return "FUSE";
    default:
        return NULL;
    }
}

static void check_space(struct doctor *d)
{
    struct statvfs v;
    struct statfs fs;
    char space[16];

    if (statvfs(d->home, &v) == 0) {
        uint64_t bytes = (uint64_t)v.f_bavail * v.f_frsize;
        term_bytes(bytes, space);
        struct finding *f = doctor_add(d, "data", bytes < SPACE_LOW ? FINDING_WRONG : FINDING_OK);
        SAY(f, "%s free in %s", space, d->home);
        if (bytes < SPACE_LOW) {
            MEND(f, "make room, or move the data directory (stop, move, --home or CARREL_HOME)");
        }
    }
    if (statfs(d->home, &fs) == 0 && filesystem_name((long)fs.f_type) != NULL) {
        struct finding *f = doctor_add(d, "data", FINDING_WRONG);
        SAY(f, "%s lies on %s: databases need the locks and syncs of a local disk", d->home,
            filesystem_name((long)fs.f_type));
        MEND(f,
             "put the data directory on a local disk; only the watched folder may lie elsewhere");
    }
}

/* Documents, keys and sockets are nobody else's, whatever the folder around them allows. */
static void check_private(struct doctor *d)
{
    static const char *const names[] = {"tenants", "system", "run", "admin.key"};
    char path[PATH_MAX];
    struct stat st;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        (void)snprintf(path, sizeof(path), "%.1000s/%s", d->home, names[i]);
        if (stat(path, &st) == 0 && (st.st_mode & 0007) != 0) {
            struct finding *f = doctor_add(d, "data", FINDING_WRONG);
            SAY(f, "%.250s is open to other users (mode %04o)", path,
                (unsigned)(st.st_mode & 07777));
            MEND(f, "chmod o= %.250s", path);
        }
    }
}

void doctor_home(struct doctor *d)
{
    struct stat st;

    if (stat(d->home, &st) != 0) {
        struct finding *f = doctor_add(d, "data", errno == ENOENT ? FINDING_NOTE : FINDING_WRONG);
        SAY(f, "%s: %s", d->home, errno == ENOENT ? "is not there yet" : strerror(errno));
        MEND(f, "%s",
             errno == ENOENT ? "`carrel up` makes it"
                             : "check the folders above it, or use --home");
        return;
    }
    if (access(d->home, R_OK | W_OK | X_OK) != 0) {
        struct finding *f = doctor_add(d, "data", FINDING_WRONG);
        SAY(f, "%s cannot be read and written by you: %s", d->home, strerror(errno));
        MEND(f, "be the user who owns it (sudo?), or choose another with --home");
        return;
    }
    bool open_to_write = (st.st_mode & S_IWOTH) != 0;
    struct finding *f = doctor_add(d, "data", open_to_write ? FINDING_WRONG : FINDING_OK);
    SAY(f, "%s, mode %04o", d->home, (unsigned)(st.st_mode & 07777));
    if (open_to_write) {
        MEND(f, "every user may write there: chmod o-w %s", d->home);
    }
    check_private(d);
    check_space(d);
}

static bool in_path(const char *name, char *out, size_t cap)
{
    const char *path = getenv("PATH");

    for (const char *p = path == NULL ? "" : path; *p != '\0';) {
        size_t n = strcspn(p, ":");
        int k = snprintf(out, cap, "%.*s/%s", (int)n, p, name);
        if (n > 0 && k > 0 && (size_t)k < cap && access(out, X_OK) == 0) {
            return true;
        }
        p += n + (p[n] == ':');
    }
    return false;
}

static void check_siblings(struct doctor *d)
{
    static const char *const names[] = {"carrel-vectorstore", "carrel-embed",  "carrel-retrieve",
                                        "carrel-generate",    "carrel-ingest", "carrel-serve",
                                        "carrel-extract",     "carrel-egress", "carrel-sign"};
    char bin[PATH_MAX];
    char path[PATH_MAX + 64];
    size_t missing = 0;

    if (paths_bin(bin, sizeof(bin), NULL) != STATUS_OK) {
        return;
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", bin, names[i]);
        if (access(path, X_OK) != 0) {
            struct finding *f = doctor_add(d, "programs", FINDING_WRONG);
            SAY(f, "%s is missing in %.200s", names[i], bin);
            MEND(f, "`./carrel up` builds it");
            missing++;
        }
    }
    if (missing == 0) {
        SAY(doctor_add(d, "programs", FINDING_OK), "the services' programs are in %.250s", bin);
    }
    if (!paths_web(path, sizeof(path))) {
        struct finding *f = doctor_add(d, "programs", FINDING_NOTE);
        SAY(f, "the web page is not built (the API works without it)");
        MEND(f, "`./carrel up` builds it");
    }
}

void doctor_tools(struct doctor *d)
{
    static const char *const tools[] = {"pdftotext", "pdftoppm"};
    char path[PATH_MAX];

    check_siblings(d);
    for (size_t i = 0; i < sizeof(tools) / sizeof(tools[0]); i++) {
        bool there = in_path(tools[i], path, sizeof(path));
        struct finding *f = doctor_add(d, "tools", there ? FINDING_OK : FINDING_WRONG);
        SAY(f, there ? "%s is there" : "%s is missing: PDF files cannot be read", tools[i]);
        if (!there) {
            MEND(f, "apt-get install poppler-utils");
        }
    }
    bool data = access("/usr/share/poppler/cMap", F_OK) == 0;
    struct finding *f = doctor_add(d, "tools", data ? FINDING_OK : FINDING_NOTE);
    SAY(f, data ? "poppler-data is there"
                : "poppler-data is missing: some Chinese and Japanese PDFs come out empty");
    if (!data) {
        MEND(f, "apt-get install poppler-data");
    }
}

/* Is there the GPU that settings want? None is fine where they do not. */
static void check_gpu(struct doctor *d)
{
    struct gpu_info gpu;
    struct error err = {0};
    const char *device = d->settings == NULL ? "auto" : d->settings->generate.device;
    bool wanted = strcmp(device, "cuda") == 0;
    if (strcmp(device, "cpu") == 0) {
        return;
    }
    if (cuda_probe(&gpu, &err) == STATUS_OK) {
        SAY(doctor_add(d, "gpu", FINDING_OK),
            "%s, CUDA %d.%d, %.1f of %.1f GiB free, driver for CUDA %d.%d", gpu.name, gpu.major,
            gpu.minor, (double)gpu.memory_free * 0x1p-30, (double)gpu.memory * 0x1p-30,
            gpu.driver / 1000, gpu.driver % 1000 / 10);
        return;
    }
    struct finding *f = doctor_add(d, "gpu", wanted ? FINDING_WRONG : FINDING_OK);
    SAY(f, "models run on the processor: %.200s", err.text);
    if (wanted) {
        MEND(f, "generate.device is cuda: mend that, or set auto or cpu");
    }
}

/* The model that a setting names: is it there, and for that? */
static void check_model(struct doctor *d, const char *setting, const char *name,
                        enum model_role role, const char *does)
{
    struct model_record r;
    struct error err = {0};
    if (registry_find(d->home, name, &r, &err) != STATUS_OK) {
        struct finding *f = doctor_add(d, "models", FINDING_WRONG);
        SAY(f, "%s: %.250s", setting, err.text);
        MEND(f, "bring it in (`carrel model import FILE --as %s --name %.64s`), or change %s",
             model_role_name(role), name, setting);
    } else if (r.role != role) {
        struct finding *f = doctor_add(d, "models", FINDING_WRONG);
        SAY(f, "%s: %.64s was brought in as %s", setting, name, model_role_name(r.role));
        MEND(f, "bring it in once more --as %s under another name", model_role_name(role));
    } else {
        SAY(doctor_add(d, "models", FINDING_OK), "%s by %.64s (sha256 %.12s), on this machine",
            does, r.name, r.sha256);
    }
}

void doctor_models(struct doctor *d)
{
    check_gpu(d);
    const struct settings *set = d->settings;
    bool encoder = set != NULL && set->encoder.model[0] != '\0';

    if (encoder) {
        check_model(d, "encoder.model", set->encoder.model, MODEL_ENCODER, "vectors");
    } else {
        SAY(doctor_add(d, "models", FINDING_OK),
            "vectors come from the built-in encoder, fitted to your own documents");
    }
    if (set == NULL) {
        return;
    }
    if (set->reranker.model[0] != '\0') {
        check_model(d, "reranker.model", set->reranker.model, MODEL_RERANKER,
                    "the best are read again");
    }
    bool local = set->generate.model[0] != '\0';
    if (local) {
        check_model(d, "generate.model", set->generate.model, MODEL_CHAT, "answers");
    }
    const struct upstream_settings *up = &d->settings->generate.upstream;
    bool used = up->url[0] != '\0' && strcmp(d->settings->generate.engine, "extractive") != 0;
    struct finding *f = used || !local ? doctor_add(d, "models", FINDING_OK) : NULL;
    if (!used) {
        if (f != NULL) {
            SAY(f, "answers are quoted from the documents; nothing leaves this machine");
        }
        return;
    }
    SAY(f, "answers by %.80s at %.120s for passages labelled with one of %zu %s", up->model,
        up->url, up->may_receive.n, term_word(up->may_receive.n, "label", "labels"));
    if (up->may_receive.n == 0) {
        f->verdict = FINDING_NOTE;
        MEND(f,
             "generate.upstream.may_receive is empty, so nothing is ever sent there: list labels");
    }
    if (up->key_file[0] != '\0' && access(up->key_file, F_OK) != 0) {
        f = doctor_add(d, "models", FINDING_WRONG);
        SAY(f, "generate.upstream.key_file %.200s: %s", up->key_file, strerror(errno));
        MEND(f, "put the key there (mode 0600), or empty the setting");
    }
}

void doctor_port(struct doctor *d)
{
    if (d->settings == NULL || d->running) {
        return;
    }
    int port = (int)d->settings->http.port;
    bool is_free = net_port_is_free(d->settings->http.listen, port);
    struct finding *f = doctor_add(d, "port", is_free ? FINDING_OK : FINDING_WRONG);
    SAY(f, "port %d of %.100s is %s", port, d->settings->http.listen,
        is_free ? "free" : "taken by another program");
    if (!is_free) {
        MEND(f, "`carrel up --port N` or http.port choose another (`ss -ltnp` shows who has it)");
    }
}

void doctor_tenants(struct doctor *d)
{
    char root[PATH_MAX];
    char tenant[PATH_MAX + 300];
    const struct dirent *e;

    if (d->settings != NULL && d->settings->ingest.watch_dir[0] != '\0') {
        (void)snprintf(root, sizeof(root), "%s", d->settings->ingest.watch_dir);
    } else {
        (void)snprintf(root, sizeof(root), "%s/watch", d->home);
    }
    DIR *dir = opendir(root);
    if (dir == NULL) {
        return;
    }
    while ((e = readdir(dir)) != NULL && d->n < FINDINGS_MAX - 8) {
        (void)snprintf(tenant, sizeof(tenant), "%.3000s/tenants/%s", d->home, e->d_name);
        if (e->d_name[0] == '.' || strcmp(e->d_name, "main") == 0 || access(tenant, F_OK) == 0) {
            continue;
        }
        struct finding *f = doctor_add(d, "tenants", FINDING_WRONG);
        SAY(f, "%.120s/%.120s belongs to no tenant and is ignored", root, e->d_name);
        MEND(f, "move its files into %.200s/main", root);
    }
    (void)closedir(dir);
}
