#include "rights_world.h"

uint64_t rights_draw(struct world *w)
{
    w->random ^= w->random << 13; /* Marsaglia's xorshift */
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random;
}

unsigned rights_under(struct world *w, size_t n)
{
    return (unsigned)(rights_draw(w) % n);
}

void rights_make_contents(struct world *w)
{
    for (int i = 0; i < CONTENTS; i++) {
        struct content *k = &w->contents[i];
        k->chunks = 1 + rights_under(w, CHUNKS);
        k->language = rights_under(w, COUNT(languages));
        k->format = rights_under(w, COUNT(formats));
        for (unsigned c = 0; c < k->chunks; c++) {
            size_t at = (size_t)snprintf(k->text[c], sizeof k->text[c], "Part %d %u:", i, c);
            for (unsigned n = 1 + rights_under(w, 5); n > 0; n--) {
                unsigned word = rights_under(w, WORDS);
                k->words[c] |= 1U << word;
                at += (size_t)snprintf(k->text[c] + at, sizeof k->text[c] - at, " %s", words[word]);
            }
            for (unsigned d = 0; d < DIMENSIONS; d++) {
                k->vectors[c][d] = (float)(int64_t)(rights_draw(w) % 2001) / 1000.0F - 1.0F;
            }
        }
    }
}

static void random_spot(struct world *w, struct spot *s)
{
    (void)snprintf(s->path, sizeof s->path, "%sf%u", folders[rights_under(w, COUNT(folders))],
                   rights_under(w, 30));
    s->collection = rights_under(w, COUNT(collections));
    s->label = rights_under(w, COUNT(labels));
    s->tags = rights_under(w, 8);
    s->date_ms = (int64_t)rights_under(w, 5) * YEAR_MS + (int64_t)rights_under(w, 1000) * 1000000 +
                 INT64_C(1500000000000);
}

struct message { /* a location, with room for its lists */
    Vs__Location l;
    char *readers[3], *tags[3];
    char path[64];
};

static void tell(const struct document *d, struct message *m)
{
    vs__location__init(&m->l);
    m->l.document = z(d->id);
    (void)snprintf(m->path, sizeof m->path, "%s", d->spot.path);
    m->l.path = (ProtobufCBinaryData){.data = (uint8_t *)m->path, .len = strlen(m->path)};
    m->l.source = z("watch");
    m->l.collection = z(collections[d->spot.collection]);
    m->l.label = z(labels[d->spot.label]);
    m->l.readers = m->readers;
    m->l.tags = m->tags;
    for (unsigned i = 0; i < 3; i++) {
        if ((d->readers >> i & 1U) != 0) {
            m->readers[m->l.n_readers++] = z(groups[i]);
        }
        if ((d->spot.tags >> i & 1U) != 0) {
            m->tags[m->l.n_tags++] = z(tags[i]);
        }
    }
    m->l.sequence = d->sequence;
    m->l.modified_wall_ms = d->spot.date_ms;
    if (d->spot.date_ms % 2 == 0) { /* else the time of change stands for it */
        m->l.has_date_wall_ms = true;
        m->l.date_wall_ms = d->spot.date_ms;
        m->l.modified_wall_ms = 17;
    }
}

static void put(struct world *w, struct document *d)
{
    struct error err;
    struct message loc;
    struct put *p = NULL;
    const struct content *k = &w->contents[d->spot.content];
    Vs__PutRequest__Begin b = VS__PUT_REQUEST__BEGIN__INIT;
    Vs__PutRequest m = VS__PUT_REQUEST__INIT;
    Vs__Chunk chunks[CHUNKS];
    Vs__Chunk *list[CHUNKS];
    uint16_t half[CHUNKS][DIMENSIONS];
    char all[CHUNKS * 170] = "";
    uint8_t hash[SHA256_BYTES];
    uint32_t at = 0;
    tell(d, &loc);
    b.location = &loc.l;
    for (unsigned c = 0; c < k->chunks; c++) {
        vs__chunk__init(&chunks[c]);
        list[c] = &chunks[c];
        chunks[c].ordinal = c;
        chunks[c].start = at;
        at += (uint32_t)strlen(k->text[c]);
        chunks[c].end = at;
        chunks[c].text =
            (ProtobufCBinaryData){.data = (uint8_t *)z(k->text[c]), .len = strlen(k->text[c])};
        for (unsigned i = 0; i < DIMENSIONS; i++) {
            half[c][i] = half_from_float(k->vectors[c][i]);
        }
        chunks[c].has_vector = true;
        chunks[c].vector = (ProtobufCBinaryData){.data = (uint8_t *)half[c], .len = sizeof half[c]};
        (void)snprintf(all + strlen(all), sizeof all - strlen(all), "%s", k->text[c]);
    }
    sha256_of(all, strlen(all), hash);
    b.hash = (ProtobufCBinaryData){.data = hash, .len = sizeof hash};
    b.size = strlen(all);
    b.format = z(formats[k->format]);
    b.language = z(languages[k->language]);
    b.pipeline = z("test-1");
    b.encoder = z("e1");
    OK(store_put_begin(w->s, &b, &p, &err));
    m.has_original = m.has_text = true;
    m.original = m.text = (ProtobufCBinaryData){.data = (uint8_t *)all, .len = strlen(all)};
    m.chunks = list;
    m.n_chunks = k->chunks;
    Vs__PutReply r = VS__PUT_REPLY__INIT;
    OK(store_put_add(p, &m, &err));
    OK(store_put_commit(p, &r, &err));
    store_put_end(p);
    assert_true(r.applied);
    d->versions++;
}

void rights_step(struct world *w)
{
    struct error err;
    struct document *d = &w->documents[rights_under(w, DOCUMENTS)];
    struct document before = *d;
    unsigned what = rights_under(w, 20);
    d->sequence = ++w->sequence;
    if (d->spot.content < 0 || what < 9) {
        random_spot(w, &d->spot);
        d->spot.content = (int)rights_under(w, CONTENTS);
        d->readers = rights_under(w, 8);
        d->excluded = false;
        put(w, d);
    } else if (what < 15) {
        struct message loc;
        Vs__MoveRequest m = VS__MOVE_REQUEST__INIT;
        Vs__MoveReply r = VS__MOVE_REPLY__INIT;
        int content = d->spot.content;
        if (what < 13) {
            random_spot(w, &d->spot);
            d->spot.content = content;
        }
        d->readers = rights_under(w, 8);
        d->excluded = false;
        tell(d, &loc);
        m.location = &loc.l;
        OK(store_move(w->s, &m, &r, &err));
        assert_true(r.applied);
        d->versions++;
    } else if (what < 19) {
        Vs__RemoveRequest m = VS__REMOVE_REQUEST__INIT;
        Vs__RemoveReply r = VS__REMOVE_REPLY__INIT;
        m.document = d->id;
        m.sequence = d->sequence;
        m.has_excluded = m.excluded = what == 18;
        OK(store_remove(w->s, &m, &r, &err));
        assert_true(r.applied);
        d->excluded = m.excluded;
        d->spot.content = m.excluded ? before.spot.content : -1;
    } else {
        bool more = true;
        bool sealed;
        while (more) {
            OK(store_maintain(w->s, clock_wall_ms(), &more, &err));
        }
        OK(store_seal(w->s, &sealed, &err));
    }
}

void rights_moment(struct world *w)
{
    struct moment *m = &w->moments[w->n_moments++];
    pause_ms(3);
    m->at_ms = clock_wall_ms();
    for (size_t i = 0; i < DOCUMENTS; i++) {
        m->spots[i] = w->documents[i].spot;
    }
    pause_ms(3);
}
