/* How much of a tenant's documents there may be (ingest.quota, tenants: in carrel.yaml), by their
 * size as they lie in its folder. A file above it is listed as failed with the reason and is queued
 * again by itself when there is room. What is uploaded counts at once, read or not, since it takes
 * the machine's disk. Loop thread. */
#ifndef CARREL_INGEST_QUOTA_H
#define CARREL_INGEST_QUOTA_H

#include "ingest/ingest.h"

/* What ready documents and those under way take. */
uint64_t quota_used(const struct tenant *t);
/* May a file of so many bytes be read? DISK_FULL, with the reason. */
enum status quota_check_file(const struct tenant *t, uint64_t bytes, struct error *err) MUST_CHECK;
/* May an upload take so many bytes besides? `freed`: of the file that it replaces. */
enum status quota_check_upload(const struct tenant *t, uint64_t bytes, uint64_t freed,
                               struct error *err) MUST_CHECK;
/* Bytes that sources may still fetch; UINT64_MAX: no limit. */
uint64_t quota_room(const struct tenant *t);
/* Every second: files that wait for room. */
void quota_tick(struct tenant *t);
bool quota_idle(const struct tenant *t);

#endif
