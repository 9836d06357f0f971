/* Sources of carrel.yaml: their files of credentials and certificates, and passwords in the clear.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/doctor.h"

#define SAY(f, ...) (void)snprintf((f)->text, sizeof((f)->text), __VA_ARGS__)
#define MEND(f, ...) (void)snprintf((f)->mend, sizeof((f)->mend), __VA_ARGS__)

static void check_files(struct doctor *d, const struct source_settings *s)
{
    struct stat st;

    if (s->credentials_file[0] != '\0' && stat(s->credentials_file, &st) != 0) {
        struct finding *f = doctor_add(d, "sources", FINDING_WRONG);
        SAY(f, "%.64s: credentials_file %.200s: %s", s->name, s->credentials_file, strerror(errno));
        MEND(f, "put it there (mode 0600), or empty the setting");
    } else if (s->credentials_file[0] != '\0' && (st.st_mode & 077) != 0) {
        struct finding *f = doctor_add(d, "sources", FINDING_WRONG);
        SAY(f, "%.64s: credentials_file is open to other users, and is not used", s->name);
        MEND(f, "chmod 600 %.200s", s->credentials_file);
    }
    if (s->ca_file[0] != '\0' && stat(s->ca_file, &st) != 0) {
        struct finding *f = doctor_add(d, "sources", FINDING_WRONG);
        SAY(f, "%.64s: ca_file %.200s: %s", s->name, s->ca_file, strerror(errno));
        MEND(f, "put the authority's certificates there (PEM), or empty the setting");
    }
}

void doctor_sources(struct doctor *d)
{
    size_t before = d->n;

    if (d->settings == NULL || d->settings->n_sources == 0) {
        return;
    }
    for (size_t i = 0; i < d->settings->n_sources; i++) {
        const struct source_settings *s = &d->settings->sources[i];
        check_files(d, s);
        if (strncmp(s->url, "http://", 7) == 0) {
            struct finding *f = doctor_add(d, "sources", FINDING_NOTE);
            SAY(f, "%.64s: what is fetched from %.150s crosses the network readable", s->name,
                s->url);
            MEND(f, "use https:// where the server can");
        }
    }
    if (d->n == before) {
        struct finding *f = doctor_add(d, "sources", FINDING_OK);
        SAY(f, "%zu, dialled by carrel-egress and nobody else", d->settings->n_sources);
    }
}
