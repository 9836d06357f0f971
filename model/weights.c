/* A model's weights as the kernels read them: mapped from the file beside an imported model, made
 * there on first use, or packed in memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "model/model_internal.h"
#include "model/pack_file.h"

#define LAYER_MATRICES 8
#define PAGE_BYTES ((uintptr_t)4096)

/* What was packed is not read in the file again, but for rows of the embedding: its pages may go,
 * and come back from the file when wanted. */
static void leave_pages(const struct matrix *w)
{
    union {
        const void *from;
        void *to;
        uintptr_t number;
    } start = {.from = w->data};
    uintptr_t end = start.number + w->row_bytes * w->rows;
    start.number = (start.number + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    end = end / PAGE_BYTES * PAGE_BYTES;
    if (w->kind != PACK_NONE && end > start.number) {
        (void)madvise(start.to, end - start.number, MADV_DONTNEED);
    }
}

/* Every matrix that kernels read, in the file's order of layers. Owned: free(). */
static struct matrix **list_matrices(const struct model *m, size_t *n)
{
    size_t most = (size_t)m->info.layers * (LAYER_MATRICES + (size_t)m->info.experts * 3) + 1;
    struct matrix **all = calloc(most, sizeof *all);
    size_t at = 0;
    for (uint32_t i = 0; all != NULL && i < m->info.layers; i++) {
        struct layer *l = &m->layers[i];
        struct matrix *of_layer[LAYER_MATRICES] = {&l->query, &l->key, &l->value, &l->output,
                                                   &l->gate,  &l->up,  &l->down,  &l->router};
        memcpy(all + at, of_layer, sizeof of_layer);
        at += LAYER_MATRICES;
        for (uint32_t e = 0; l->experts != NULL && e < m->info.experts; e++) {
            all[at++] = &l->experts[e].gate;
            all[at++] = &l->experts[e].up;
            all[at++] = &l->experts[e].down;
        }
    }
    if (all != NULL) {
        all[at++] = &m->weights->head;
    }
    *n = at;
    return all;
}

enum status weights_kinds(struct model *m, struct error *err)
{
    size_t n = 0;
    struct matrix **all = list_matrices(m, &n);
    if (all == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        enum pack_kind kind = all[i]->data == NULL ? PACK_NONE : pack_kind_of(all[i]->type);
        bool floats = kind == PACK_F32 || kind == PACK_F16 || kind == PACK_BF16;
        m->info.floats = m->info.floats || floats;
        m->info.bytes = m->info.bytes || (kind != PACK_NONE && !floats);
    }
    free(all);
    return STATUS_OK;
}

static enum status pack_in_memory(const struct model *m, struct matrix *const *all, size_t n,
                                  struct pool *pool, struct error *err)
{
    enum status s = pack_new(all, n, pool, &m->weights->pack, err);
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        leave_pages(all[i]);
    }
    return s;
}

/* The file's, made first where it is not there or not right. */
static enum status pack_from_file(const struct model *m, struct matrix *const *all, size_t n,
                                  struct pool *pool, struct error *err)
{
    struct weights *w = m->weights;
    enum status s = pack_file_open(w->pack_path, w->sha256, all, n, &w->pack, err);
    if (s == STATUS_NOT_FOUND || s == STATUS_CORRUPT) {
        s = pack_file_make(w->pack_path, w->model_path, w->sha256, all, n, pool, NULL, err);
        s = s == STATUS_OK ? pack_file_open(w->pack_path, w->sha256, all, n, &w->pack, err) : s;
    }
    return s;
}

enum status model_pack(const struct model *m, struct pool *pool, struct error *err)
{
    enum status s = STATUS_OK;
    struct weights *w = m->weights;
    (void)pthread_mutex_lock(&w->lock);
    if (w->pack == NULL) {
        size_t n = 0;
        struct matrix **all = list_matrices(m, &n);
        struct error why = {0};
        if (all == NULL) {
            s = error_set(err, STATUS_NO_MEMORY, "out of memory");
        } else if (w->pack_path == NULL || pack_from_file(m, all, n, pool, &why) != STATUS_OK) {
            if (w->pack_path != NULL) {
                (void)snprintf(w->note, sizeof w->note, "weights are packed in memory: %s",
                               why.text);
            }
            s = pack_in_memory(m, all, n, pool, err);
        }
        free(all);
    }
    (void)pthread_mutex_unlock(&w->lock);
    return s;
}

enum status model_keep_packed(struct model *m, const char *pack_path, const char *model_path,
                              const uint8_t sha256[SHA256_BYTES], struct error *err)
{
    struct weights *w = m->weights;
    free(w->pack_path);
    free(w->model_path);
    w->pack_path = strdup(pack_path);
    w->model_path = strdup(model_path);
    memcpy(w->sha256, sha256, SHA256_BYTES);
    return w->pack_path != NULL && w->model_path != NULL
               ? STATUS_OK
               : error_set(err, STATUS_NO_MEMORY, "out of memory");
}

enum status model_write_packed(const struct model *m, struct pool *pool,
                               bool (*on_progress)(uint64_t done, uint64_t total, void *data),
                               void *data, struct error *err)
{
    struct weights *w = m->weights;
    struct pack_progress progress = {.on_progress = on_progress, .data = data};
    size_t n = 0;
    (void)pthread_mutex_lock(&w->lock);
    struct matrix **all = list_matrices(m, &n);
    enum status s = STATUS_OK;
    if (all == NULL || w->pack_path == NULL) {
        s = error_set(err, all == NULL ? STATUS_NO_MEMORY : STATUS_INVALID,
                      "no place for packed weights");
    } else {
        s = pack_file_make(w->pack_path, w->model_path, w->sha256, all, n, pool, &progress, err);
    }
    free(all);
    (void)pthread_mutex_unlock(&w->lock);
    return s;
}

uint64_t model_packed_bytes(const struct model *m)
{
    (void)pthread_mutex_lock(&m->weights->lock);
    uint64_t bytes = m->weights->pack == NULL ? 0 : pack_bytes(m->weights->pack);
    (void)pthread_mutex_unlock(&m->weights->lock);
    return bytes;
}

bool model_packed_mapped(const struct model *m)
{
    (void)pthread_mutex_lock(&m->weights->lock);
    bool mapped = m->weights->pack != NULL && pack_mapped(m->weights->pack);
    (void)pthread_mutex_unlock(&m->weights->lock);
    return mapped;
}

const char *model_packed_note(const struct model *m)
{
    return m->weights->note;
}

void weights_free(struct weights *w)
{
    pack_free(w->pack);
    (void)pthread_mutex_destroy(&w->lock);
    free(w->pack_path);
    free(w->model_path);
    free(w);
}
