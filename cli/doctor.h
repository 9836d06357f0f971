/* What doctor looks at. Each check adds findings; none changes anything. */
#ifndef CARREL_CLI_DOCTOR_H
#define CARREL_CLI_DOCTOR_H

#include <stddef.h>

#include "base/settings/settings.h"

#define FINDINGS_MAX 64

enum verdict { FINDING_OK, FINDING_NOTE, FINDING_WRONG };

struct finding {
    const char *area; /* "machine", "tools", ... */
    enum verdict verdict;
    char text[320]; /* what is */
    char mend[320]; /* what to do; "" when nothing */
};

struct doctor {
    const char *home;
    bool running;
    const struct settings *settings; /* NULL when they cannot be read */
    struct finding findings[FINDINGS_MAX];
    size_t n;
};

struct finding *doctor_add(struct doctor *d, const char *area, enum verdict v);

void doctor_machine(struct doctor *d);
void doctor_home(struct doctor *d);
void doctor_tools(struct doctor *d);
void doctor_ocr(struct doctor *d);
void doctor_models(struct doctor *d);
void doctor_sources(struct doctor *d);
void doctor_port(struct doctor *d);
void doctor_tenants(struct doctor *d);
/* Asks the running appliance. */
struct options;
void doctor_keys(struct doctor *d, const struct options *o);

#endif
