/* Random documents under random rules, drawn from a seed, in a store and in a table beside it. */
#ifndef CARREL_TESTS_RIGHTS_WORLD_H
#define CARREL_TESTS_RIGHTS_WORLD_H

#include "fixture.h"

#define DOCUMENTS 24
#define CONTENTS 20
#define CHUNKS 3 /* of a content, at most */
#define DIMENSIONS 8
#define MOMENTS 24
#define STEPS 40
#define WORDS 14
#define YEAR_MS INT64_C(31557600000)

static const char *const words[WORDS] = {"bam", "dax", "fip",        "gok",          "hul",
                                         "jem", "kiv", "lop",        "mur",          "nef",
                                         "pov", "quz", "windjammer", "quartermaster"};
static const char *const misspelt[] = {"windjamner", "quatermaster"};
static const char *const groups[] = {"ga", "gb", "gc"};
static const char *const collections[] = {"north", "south", "west"};
static const char *const labels[] = {"", "public", "internal", "restricted", "odd"};
static const char *const tags[] = {"ta", "tb", "tc"};
static const char *const languages[] = {"en", "de", "fr"};
static const char *const formats[] = {"txt", "pdf", "md"};
static const char *const folders[] = {"a/", "a/b/", "a/bc/", "d/"};

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

struct spot {    /* where a document stands */
    int content; /* -1: nowhere */
    char path[64];
    unsigned collection, label, tags;
    int64_t date_ms;
};

struct document {
    char id[16];
    unsigned readers; /* groups, bit by bit; 0: everyone */
    bool excluded;
    struct spot spot;
    uint64_t sequence;
    uint32_t versions;
};

struct content {
    unsigned chunks, language, format;
    unsigned words[CHUNKS]; /* bit by bit */
    char text[CHUNKS][160];
    float vectors[CHUNKS][DIMENSIONS];
    ProtobufCBinaryData ids[CHUNKS]; /* as the store names them; none before they were first seen */
};

struct moment {
    int64_t at_ms;
    struct spot spots[DOCUMENTS];
};

struct world {
    char dir[64];
    struct store *s;
    uint64_t seed, random, sequence;
    struct document documents[DOCUMENTS];
    struct content contents[CONTENTS];
    struct moment moments[MOMENTS];
    size_t n_moments;
};

uint64_t rights_draw(struct world *w);
unsigned rights_under(struct world *w, size_t n);
void rights_make_contents(struct world *w);
/* A document is put, moved, taken out or left out; or the store tidies up. */
void rights_step(struct world *w);
/* What is there now is what a search as of now finds later. */
void rights_moment(struct world *w);

#endif
