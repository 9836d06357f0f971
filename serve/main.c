/* carrel-serve [--web DIR] [--port N], and what every service takes (base/service.h). carrel-serve
 * --routes prints the table of routes as JSON and ends: who may call what (tests compare it). */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "serve/audit/signer.h"
#include "serve/http/jsonw.h"
#include "serve/roles.h"
#include "serve/service.h"

/* Where the built page lies: installed beside bin/, or in the source tree that this was built from.
 */
static const char *const places[] = {"../web", "../share/carrel/web", "../../../serve/web/dist"};

static int open_page(const char *dir)
{
    char path[PATH_MAX];
    char program[PATH_MAX];
    if (dir != NULL) {
        return open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n <= 0) {
        return -1;
    }
    program[n] = '\0';
    char *slash = strrchr(program, '/');
    if (slash == NULL) {
        return -1;
    }
    *slash = '\0';
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        int len = snprintf(path, sizeof path, "%s/%s/index.html", program, places[i]);
        if (len > 0 && (size_t)len < sizeof path && access(path, R_OK) == 0) {
            path[(size_t)len - strlen("/index.html")] = '\0';
            return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        }
    }
    return -1;
}

/* The folder is opened before the process gives up root: the source tree may lie where the system
 * user cannot go. The rest of the program reads it through this descriptor's name. */
static void offer_page(const char *dir)
{
    char name[32];
    int fd = open_page(dir);
    if (fd >= 0) {
        (void)snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        (void)setenv("CARREL_WEB", name, 1);
    } else {
        (void)unsetenv("CARREL_WEB");
    }
}

static void print_names(struct jsonw *w, const char *key, unsigned bits, unsigned n,
                        const char *(*name)(unsigned i))
{
    jsonw_key(w, key);
    jsonw_open(w, '[');
    for (unsigned i = 0; i < n; i++) {
        if ((bits & 1U << i) != 0) {
            jsonw_str(w, str_from(name(i)));
        }
    }
    jsonw_close(w, ']');
}

static const char *role_at(unsigned i)
{
    return role_name((enum role)i);
}

static int print_routes(void)
{
    struct buf out;
    struct jsonw w;
    buf_init(&out, (size_t)1024 * 1024);
    jsonw_init(&w, &out);
    jsonw_open(&w, '[');
    for (size_t i = 0; i < serve_routes_n; i++) {
        const struct route *r = &serve_routes[i];
        jsonw_open(&w, '{');
        jsonw_field_z(&w, "verb", verb_name(r->verb));
        jsonw_field_z(&w, "pattern", r->pattern);
        jsonw_field_bool(&w, "open", r->roles == ROLES_OPEN);
        print_names(&w, "roles", r->roles, ROLE_COUNT, role_at);
        print_names(&w, "scopes", r->scopes, SCOPES_N, scope_name);
        jsonw_field_bool(&w, "person", (r->scopes & SCOPE_PERSON) != 0);
        jsonw_field_bool(&w, "csrf", r->csrf);
        jsonw_field_z(&w, "act", r->act);
        jsonw_close(&w, '}');
    }
    jsonw_close(&w, ']');
    bool ok = buf_status(&out) == STATUS_OK && fwrite(out.ptr, 1, out.len, stdout) == out.len;
    buf_deinit(&out);
    return ok && fflush(stdout) == 0 ? 0 : 1;
}

/* While this process still is who started it, and before it has read a thing. */
static bool start_signer(const char *home)
{
    char text[16];
    char folder[PATH_MAX];
    struct error err = {.code = STATUS_OK};
    int fd = -1;
    if (realpath(home, folder) == NULL || signer_start(folder, &fd, &err) != STATUS_OK) {
        (void)fprintf(stderr, "carrel-serve: the audit's signer: %s\n",
                      fd < 0 && err.text[0] != '\0' ? err.text : home);
        return false;
    }
    (void)snprintf(text, sizeof text, "%d", fd);
    return setenv("CARREL_SIGNER_FD", text, 1) == 0;
}

int main(int argc, char **argv)
{
    const char *web = NULL;
    const char *home = NULL;
    int kept = 1;
    if (argc == 2 && strcmp(argv[1], "--routes") == 0) {
        return print_routes();
    }
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--web") == 0 && i + 1 < argc) {
            web = argv[++i];
        } else if (strcmp(argv[i], "--port") == 0 && i + 1 < argc) {
            (void)setenv("CARREL_PORT", argv[++i], 1);
        } else {
            home = strcmp(argv[i], "--home") == 0 && i + 1 < argc ? argv[i + 1] : home;
            argv[kept++] = argv[i];
        }
    }
    argv[kept] = NULL;
    offer_page(web);
    if (home != NULL && !start_signer(home)) {
        return 1;
    }
    return service_main(kept, argv, &serve_definition);
}
