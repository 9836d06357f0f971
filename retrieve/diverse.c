#include "retrieve/diverse.h"

#define OF_A_PAGE 2U
#define OF_A_DOCUMENT 3U
#define DESERVES .5F

/* Whether there is room for p[i] beside those chosen before it. */
static bool within_share(const struct diverse_passage *p, size_t i, size_t places)
{
    size_t of_page = 0, of_document = 0;
    for (size_t k = 0; k < i; k++) {
        if (p[k].chosen && str_eq(p[k].content, p[i].content)) {
            of_document++;
            of_page += p[i].page > 0 && p[k].page == p[i].page;
        }
    }
    size_t half = (places + 1) / 2;
    return of_page < OF_A_PAGE && of_document < (half > OF_A_DOCUMENT ? half : OF_A_DOCUMENT);
}

void diverse(struct diverse_passage *p, size_t n, size_t places)
{
    size_t chosen = 0;
    for (size_t i = 0; i < n; i++) {
        p[i].chosen = false;
    }
    for (size_t i = 0; i < n && chosen < places; i++) {
        p[i].chosen = !p[i].gone && within_share(p, i, places);
        chosen += p[i].chosen;
    }
    size_t last = n; /* behind the last chosen that may have to go */
    for (size_t i = 0; i < n; i++) {
        if (p[i].chosen || p[i].gone) {
            continue;
        }
        if (chosen < places) {
            p[i].chosen = true;
            chosen++;
            continue;
        }
        do {
            last--;
        } while (last > i && !p[last].chosen);
        if (last <= i || p[last].score >= DESERVES * p[i].score) {
            return; /* those below deserve their places, and so do all before them */
        }
        p[last].chosen = false;
        p[i].chosen = true;
    }
}
