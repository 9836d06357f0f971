#include "ingest/turns.h"

enum turn turn_next(const struct turns *t)
{
    size_t running = t->small + t->large;
    if (running >= t->places) {
        return t->small_waits && t->small == 0 && running == t->places ? TURN_SMALL : TURN_NONE;
    }
    if (t->small_waits && t->large_waits) {
        return t->large == 0 || t->large < t->places / 2 ? TURN_LARGE : TURN_SMALL;
    }
    return t->small_waits ? TURN_SMALL : t->large_waits ? TURN_LARGE : TURN_NONE;
}
