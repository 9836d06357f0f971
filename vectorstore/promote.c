/* Which encoder is searched with. One is building while it is filled, published when every visible
 * passage has its vector and nothing else stands against it, kept for a rollback when the next is
 * published, retired, gone after a grace (content.c). A candidate is filled beside it and waits for
 * somebody to promote it. */
#include <string.h>

#include "base/clock.h"
#include "vectorstore/store_internal.h"

#define COMPARISON_BYTES 4096U

const char *encoder_state_name(enum encoder_state state)
{
    static const char *const names[] = {"building", "published", "retired", "kept", "candidate"};
    return names[(unsigned)state < 5 ? state : ENCODER_RETIRED];
}

const char *encoder_intent(const struct encoder *e)
{
    static const char *const names[] = {"growth", "asked", "forced"};
    return names[(unsigned)e->intent < 3 ? e->intent : ENCODER_BY_GROWTH];
}

enum status encoder_begin(struct store *s, const char *name, struct arena *a,
                          struct catalogue_state *state, struct encoder *e, struct error *err)
{
    enum status st = catalogue_begin_write(s->writer, state, err);
    if (st == STATUS_OK) {
        st = catalogue_encoder_by_name(s->writer, str_from(name), a, e, err);
    }
    if (st == STATUS_NOT_FOUND) {
        st = error_set(err, st, "there is no such encoder (`carrel encoder list`)");
    } else if (st == STATUS_OK && e->state == ENCODER_RETIRED) {
        st = error_set(err, STATUS_CONFLICT, "the encoder %s is retired", e->name);
    }
    return st;
}

enum status encoder_put_back(struct store *s, struct encoder *e, struct error *err)
{
    e->state = e->retired_ms > 0                ? ENCODER_KEPT
               : e->intent == ENCODER_BY_GROWTH ? ENCODER_RETIRED
                                                : ENCODER_CANDIDATE;
    return catalogue_encoder_set(s->writer, e, err);
}

enum status encoder_put_back_others(struct store *s, const char *but, struct arena *a,
                                    struct error *err)
{
    struct encoder e = {0};
    enum status st = STATUS_OK;
    while (st == STATUS_OK) {
        st = catalogue_encoder_after(s->writer, e.pk, a, &e, err);
        if (st == STATUS_OK && e.state == ENCODER_BUILDING && strcmp(e.name, but) != 0) {
            st = encoder_put_back(s, &e, err);
        }
    }
    return st == STATUS_NOT_FOUND ? STATUS_OK : st;
}

/* In the writer's transaction: the published one steps back, kept or retired, and of those kept
 * before it none stays. */
static enum status step_back(struct store *s, int64_t now, int64_t but, struct arena *a,
                             struct error *err)
{
    bool keep = atomic_load(&s->keep_ms) > 0;
    struct encoder e = {0};
    enum status st = STATUS_OK;
    while (st == STATUS_OK) {
        st = catalogue_encoder_after(s->writer, e.pk, a, &e, err);
        if (st == STATUS_OK && e.pk != but &&
            (e.state == ENCODER_PUBLISHED || e.state == ENCODER_KEPT)) {
            e.state = e.state == ENCODER_PUBLISHED && keep ? ENCODER_KEPT : ENCODER_RETIRED;
            e.retired_ms = now;
            st = catalogue_encoder_set(s->writer, &e, err);
        }
    }
    return st == STATUS_NOT_FOUND ? STATUS_OK : st;
}

static enum status is_any_published(struct store *s, struct arena *a, bool *out, struct error *err)
{
    struct encoder e;
    enum status st = catalogue_encoder_by_state(s->writer, ENCODER_PUBLISHED, a, &e, err);
    *out = st == STATUS_OK;
    return st == STATUS_NOT_FOUND ? STATUS_OK : st;
}

/* On what it counts as fitted from now on; 0 stays: it is no fit of the tenant's text. */
static uint32_t grown_to(const struct encoder *e, const struct catalogue_state *state)
{
    return e->fitted_on > 0 && state->visible > (int64_t)e->fitted_on ? (uint32_t)state->visible
                                                                      : e->fitted_on;
}

static enum status set_comparison(struct store *s, const struct encoder *e, const Vs__Comparison *m,
                                  struct arena *a, struct error *err)
{
    size_t len = vs__comparison__get_packed_size(m);
    uint8_t *packed = len > COMPARISON_BYTES ? NULL : arena_alloc(a, len + 1);
    if (packed == NULL) {
        return len > COMPARISON_BYTES
                   ? error_set(err, STATUS_TOO_LARGE, "a comparison must be shorter than %u bytes",
                               COMPARISON_BYTES)
                   : error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    (void)vs__comparison__pack(m, packed);
    return catalogue_encoder_compared(s->writer, e->pk,
                                      (struct str){.ptr = (const char *)packed, .len = len}, err);
}

/* Begins like encoder_begin, with the one that was published before. */
static enum status begin_kept(struct store *s, struct arena *a, struct catalogue_state *state,
                              struct encoder *e, struct error *err)
{
    enum status st = catalogue_begin_write(s->writer, state, err);
    if (st == STATUS_OK) {
        st = catalogue_encoder_by_state(s->writer, ENCODER_KEPT, a, e, err);
    }
    return st == STATUS_NOT_FOUND
               ? error_set(err, st, "no earlier encoder is kept (encoder.keep_days)")
               : st;
}

enum status store_promote(struct store *s, const Vs__PromoteRequest *m, struct arena *a,
                          Vs__PromoteReply *out, struct error *err)
{
    struct catalogue_state state;
    struct encoder e = {0};
    int64_t missing = 0;
    bool comparing = false;
    bool named = m->encoder != NULL && m->encoder[0] != '\0';
    enum status st = named ? encoder_begin(s, m->encoder, a, &state, &e, err)
                           : begin_kept(s, a, &state, &e, err);
    bool published = st == STATUS_OK && e.state == ENCODER_PUBLISHED;
    if (st == STATUS_OK) {
        st = catalogue_missing(s->writer, e.pk, &missing, err);
    }
    if (st == STATUS_OK && m->has_compare && m->compare) {
        st = is_any_published(s, a, &comparing, err);
    }
    bool now = missing == 0 && !comparing;
    if (st == STATUS_OK && e.state != ENCODER_PUBLISHED) {
        st = encoder_put_back_others(s, e.name, a, err); /* or it would publish itself later */
        if (st == STATUS_OK && now) {
            st = step_back(s, clock_wall_ms(), e.pk, a, err);
        }
        /* a person chose it: growth counts from now, or the next fit would undo the choice */
        e.fitted_on = grown_to(&e, &state);
        e.state = now ? ENCODER_PUBLISHED : ENCODER_BUILDING;
        e.intent = comparing ? ENCODER_ASKED : ENCODER_FORCED;
        e.retired_ms = now ? 0 : e.retired_ms; /* so that it can go back to where it was */
        if (st == STATUS_OK) {
            st = catalogue_encoder_set(s->writer, &e, err);
        }
        state.generation += now ? 1 : 0; /* nothing visible changes before it is published */
        if (st == STATUS_OK) {
            st = catalogue_commit(s->writer, &state, err);
        }
    }
    catalogue_end(s->writer);
    if (st == STATUS_OK) {
        out->encoder = arena_strdup(a, e.name);
        out->now = now || published;
        out->missing = (uint32_t)missing;
        out->has_comparing = comparing && !published;
        out->comparing = out->has_comparing;
        st = out->encoder == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
    }
    return st;
}

enum status store_publish(struct store *s, const Vs__PublishRequest *m, Vs__PublishReply *out,
                          struct error *err)
{
    struct arena a;
    struct catalogue_state state;
    struct encoder e = {0};
    int64_t missing = 0;
    arena_init(&a, (size_t)1024 * 1024);
    enum status st = encoder_begin(s, m->encoder, &a, &state, &e, err);
    if (st == STATUS_OK && e.state != ENCODER_PUBLISHED) {
        st = catalogue_missing(s->writer, e.pk, &missing, err);
        if (st == STATUS_OK && missing > 0) {
            st = error_set(err, STATUS_CONFLICT, "%lld passages have no vector of %s yet",
                           (long long)missing, m->encoder);
        }
        if (st == STATUS_OK) {
            st = step_back(s, clock_wall_ms(), e.pk, &a, err);
        }
        if (st == STATUS_OK) {
            e.state = ENCODER_PUBLISHED;
            e.retired_ms = 0;
            st = catalogue_encoder_set(s->writer, &e, err);
        }
        if (st == STATUS_OK && m->comparison != NULL) {
            st = set_comparison(s, &e, m->comparison, &a, err);
        }
        state.generation++;
        if (st == STATUS_OK) {
            st = catalogue_commit(s->writer, &state, err);
        }
    }
    catalogue_end(s->writer);
    if (st == STATUS_OK) {
        out->published = true;
    }
    arena_reset(&a);
    return st;
}

/* ---- back, and away ---- */

/* In the writer's transaction: of the fits that growth made and that were held back only one stays,
 * and growth counts from now, or the next look would fit the same again. */
static enum status settle_growth(struct store *s, const struct catalogue_state *state, int64_t but,
                                 struct arena *a, struct error *err)
{
    struct encoder e = {0};
    enum status st = STATUS_OK;
    while (st == STATUS_OK) {
        st = catalogue_encoder_after(s->writer, e.pk, a, &e, err);
        if (st != STATUS_OK || e.pk == but) {
            continue;
        }
        if (e.state == ENCODER_CANDIDATE && e.intent == ENCODER_BY_GROWTH) {
            e.state = ENCODER_RETIRED;
            e.retired_ms = 0;
            st = catalogue_encoder_set(s->writer, &e, err);
        } else if (e.state == ENCODER_PUBLISHED) {
            e.fitted_on = grown_to(&e, state);
            st = catalogue_encoder_set(s->writer, &e, err);
        }
    }
    return st == STATUS_NOT_FOUND ? STATUS_OK : st;
}

static enum status hold_back(struct store *s, struct encoder *e,
                             const struct catalogue_state *state, const Vs__Comparison *comparison,
                             struct arena *a, struct error *err)
{
    bool any = false;
    enum status st = is_any_published(s, a, &any, err);
    bool candidate = e->state == ENCODER_CANDIDATE; /* of which only the figures are kept */
    if (st == STATUS_OK && (!any || (!candidate && e->state != ENCODER_BUILDING))) {
        return error_set(err, STATUS_CONFLICT,
                         "the encoder %s is not waiting to take another's place", e->name);
    }
    if (st == STATUS_OK && !candidate && e->intent == ENCODER_BY_GROWTH) {
        st = settle_growth(s, state, e->pk, a, err);
    }
    if (st == STATUS_OK && !candidate && e->intent == ENCODER_BY_GROWTH) {
        e->state = ENCODER_CANDIDATE; /* the figures are there to be looked at */
        st = catalogue_encoder_set(s->writer, e, err);
    } else if (st == STATUS_OK && !candidate) {
        st = encoder_put_back(s, e, err);
    }
    return st == STATUS_OK ? set_comparison(s, e, comparison, a, err) : st;
}

/* Its vectors and its fit go by housekeeping. */
static enum status drop(struct store *s, struct encoder *e, const struct catalogue_state *state,
                        struct arena *a, struct error *err)
{
    bool any = false;
    enum status st = is_any_published(s, a, &any, err);
    if (st == STATUS_OK && e->state == ENCODER_PUBLISHED) {
        return error_set(err, STATUS_CONFLICT,
                         "%s is published: promote another one or roll back first", e->name);
    }
    if (st == STATUS_OK && e->state == ENCODER_BUILDING && !any) {
        return error_set(err, STATUS_CONFLICT, "%s is the first one: none is published yet",
                         e->name);
    }
    if (st == STATUS_OK && e->state == ENCODER_BUILDING && e->intent == ENCODER_BY_GROWTH) {
        st = settle_growth(s, state, e->pk, a, err);
    }
    if (st == STATUS_OK) {
        e->state = ENCODER_RETIRED;
        e->retired_ms = 0;
        st = catalogue_encoder_set(s->writer, e, err);
    }
    return st;
}

/* comparison NULL: it is removed. */
static enum status put_aside(struct store *s, const char *name, const Vs__Comparison *comparison,
                             struct error *err)
{
    struct arena a;
    struct catalogue_state state;
    struct encoder e = {0};
    arena_init(&a, (size_t)1024 * 1024);
    enum status st = encoder_begin(s, name, &a, &state, &e, err);
    if (st == STATUS_CONFLICT) { /* as one that is gone */
        st = error_set(err, STATUS_NOT_FOUND, "there is no such encoder (`carrel encoder list`)");
    }
    if (st == STATUS_OK) {
        st = comparison == NULL ? drop(s, &e, &state, &a, err)
                                : hold_back(s, &e, &state, comparison, &a, err);
    }
    if (st == STATUS_OK) {
        st = catalogue_commit(s->writer, &state, err);
    }
    catalogue_end(s->writer);
    arena_reset(&a);
    return st;
}

enum status store_hold_back(struct store *s, const Vs__HoldBackRequest *m, struct error *err)
{
    return put_aside(s, m->encoder, m->comparison, err);
}

enum status store_remove_encoder(struct store *s, const char *name, struct error *err)
{
    return put_aside(s, name, NULL, err);
}

/* ---- telling ---- */

/* NULL: none, or one that a later version wrote. */
static Vs__Comparison *comparison_of(const struct encoder *e, struct arena *a)
{
    ProtobufCAllocator allocator;
    arena_protobuf(a, &allocator);
    return e->comparison.len == 0 ? NULL
                                  : vs__comparison__unpack(&allocator, e->comparison.len,
                                                           (const uint8_t *)e->comparison.ptr);
}

static enum status tell_intact(struct catalogue *c, const struct encoder *e,
                               Vs__ListEncodersReply__Item *item, struct error *err)
{
    int64_t all = 0;
    int64_t alive = 0;
    item->has_intact = 1;
    if (e->fitted_on == 0 || e->fitted_to < 0) {
        return STATUS_OK;
    }
    enum status st = catalogue_contents_to(c, e->fitted_to, &all, &alive, err);
    item->intact = st == STATUS_OK && alive == e->fitted_contents;
    return st;
}

enum status store_list_encoders(struct store *s, struct arena *a, Vs__ListEncodersReply *out,
                                struct error *err)
{
    struct reader *r = NULL;
    struct catalogue_state state;
    struct encoder e = {0};
    const size_t max = 64;
    out->encoders = arena_array(a, max, sizeof(void *));
    enum status st = out->encoders == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                                           : reader_take(s, &r, &state, err);
    int64_t all = state.visible + state.retained;
    while (st == STATUS_OK && out->n_encoders < max) {
        st = catalogue_encoder_after(r->db, e.pk, a, &e, err);
        Vs__ListEncodersReply__Item *item = arena_alloc(a, sizeof *item);
        if (item == NULL) {
            st = error_set(err, STATUS_NO_MEMORY, "out of memory");
        } else if (st == STATUS_OK) {
            vs__list_encoders_reply__item__init(item);
            item->name = (char *)(uintptr_t)e.name;
            item->dimensions = e.dimensions;
            item->fitted_on = e.fitted_on;
            item->state = (char *)(uintptr_t)encoder_state_name(e.state);
            item->vectors = e.vectors < 0 ? 0 : (uint32_t)e.vectors;
            item->has_missing = 1;
            item->missing = (uint32_t)(all > e.vectors ? all - e.vectors : 0);
            item->intent = (char *)(uintptr_t)encoder_intent(&e);
            item->comparison = comparison_of(&e, a);
            st = tell_intact(r->db, &e, item, err);
            out->encoders[out->n_encoders++] = item;
        }
    }
    reader_give(s, r);
    return st == STATUS_NOT_FOUND ? STATUS_OK : st;
}
