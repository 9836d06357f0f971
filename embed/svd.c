#include "embed/svd.h"

#include <cblas.h>
#include <dlfcn.h>
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Extra directions beside the k asked for, and multiplications by A'A before the last one. */
#define OVERSAMPLING 32
#define POWER_ITERATIONS 5
#define ROWS_BETWEEN_CHECKS 256

struct svd_lapack {
    void *library;
    lapack_int (*gelqf)(int, lapack_int, lapack_int, float *, lapack_int, float *);
    lapack_int (*orglq)(int, lapack_int, lapack_int, lapack_int, float *, lapack_int, const float *);
    lapack_int (*syevd)(int, char, char, lapack_int, double *, lapack_int, double *);
    void (*gemm)(CBLAS_LAYOUT, CBLAS_TRANSPOSE, CBLAS_TRANSPOSE, blasint, blasint, blasint, float,
                 const float *, blasint, const float *, blasint, float, float *, blasint);
};

static bool find(void *library, const char *name, void *slot)
{
    void *symbol = dlsym(library, name);
    memcpy(slot, &symbol, sizeof symbol); /* ISO C has no cast from object to function pointer */
    return symbol != NULL;
}

enum status svd_lapack_open(struct svd_lapack **out, struct error *err)
{
    struct svd_lapack *l = calloc(1, sizeof *l);
    if (l == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    l->library = dlopen("liblapacke.so.3", RTLD_NOW | RTLD_LOCAL);
    if (l->library == NULL || !find(l->library, "LAPACKE_sgelqf", &l->gelqf) ||
        !find(l->library, "LAPACKE_sorglq", &l->orglq) ||
        !find(l->library, "LAPACKE_dsyevd", &l->syevd) ||
        !find(l->library, "cblas_sgemm", &l->gemm)) {
        const char *why = dlerror();
        enum status s = error_set(err, STATUS_UNAVAILABLE,
                                  "LAPACK cannot be loaded (%s): install liblapacke and "
                                  "libopenblas0",
                                  why == NULL ? "a function is missing" : why);
        svd_lapack_close(l);
        return s;
    }
    *out = l;
    return STATUS_OK;
}

void svd_lapack_close(struct svd_lapack *l)
{
    if (l != NULL) {
        if (l->library != NULL) {
            (void)dlclose(l->library);
        }
        free(l);
    }
}

/* splitmix64; only the starting directions depend on it. */
static float random_unit(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15U;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    z ^= z >> 31;
    return (float)(z >> 40) * 0x1p-23F - 1.0F;
}

static void add_scaled(float *restrict to, const float *restrict from, float factor, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        to[i] += factor * from[i];
    }
}

struct work {
    const struct svd_lapack *lapack;
    const struct svd_matrix *a;
    size_t width; /* directions followed: k + OVERSAMPLING, at most rows and columns */
    float *z;     /* n_cols x width, row-major: a term's row is contiguous */
    float *next;
    float *y;   /* width */
    float *tau; /* width */
    svd_progress_fn progress;
    void *data;
    size_t pass;
};

static enum status no_memory(struct error *err)
{
    return error_set(err, STATUS_NO_MEMORY, "not enough memory to fit the encoder");
}

/* next = A'(A z), one row of A at a time, so that nothing the size of A's rows is ever held. */
static enum status multiply(struct work *w, struct error *err)
{
    const struct svd_matrix *a = w->a;
    memset(w->next, 0, a->n_cols * w->width * sizeof *w->next);
    for (size_t r = 0; r < a->n_rows; r++) {
        memset(w->y, 0, w->width * sizeof *w->y);
        for (size_t i = a->start[r]; i < a->start[r + 1]; i++) {
            add_scaled(w->y, w->z + a->col[i] * w->width, a->value[i], w->width);
        }
        for (size_t i = a->start[r]; i < a->start[r + 1]; i++) {
            add_scaled(w->next + a->col[i] * w->width, w->y, a->value[i], w->width);
        }
        if (r % ROWS_BETWEEN_CHECKS == 0 && w->progress != NULL) {
            float done = ((float)w->pass + (float)r / (float)a->n_rows) / (POWER_ITERATIONS + 1);
            if (!w->progress(done, w->data)) {
                return error_set(err, STATUS_CANCELLED, "the fit was stopped");
            }
        }
    }
    w->pass++;
    return STATUS_OK;
}

/* Orthonormal columns for next (n_cols x width), into z. Row-major n x w is column-major w x n, whose LQ
 * factorisation gives orthonormal rows: just what is wanted, without a transposition. */
static enum status orthonormalise(struct work *w, struct error *err)
{
    lapack_int m = (lapack_int)w->width, n = (lapack_int)w->a->n_cols;
    lapack_int info = w->lapack->gelqf(LAPACK_COL_MAJOR, m, n, w->next, m, w->tau);
    if (info == 0) {
        info = w->lapack->orglq(LAPACK_COL_MAJOR, m, n, m, w->next, m, w->tau);
    }
    if (info != 0) {
        return info == LAPACK_WORK_MEMORY_ERROR
                   ? no_memory(err)
                   : error_set(err, STATUS_INTERNAL, "LAPACK's orthonormalisation failed (%d)",
                               (int)info);
    }
    float *swap = w->z;
    w->z = w->next;
    w->next = swap;
    return STATUS_OK;
}

/* Rayleigh-Ritz: the eigenvectors of z'(A'A)z turn z into singular vectors. next holds A'A z. */
static enum status extract(struct work *w, size_t k, float *v, float *sigma, struct error *err)
{
    size_t width = w->width, n = w->a->n_cols;
    float *small = calloc(width * width, sizeof *small);
    double *gram = calloc(width * width, sizeof *gram);
    double *eigen = calloc(width, sizeof *eigen);
    enum status s = STATUS_OK;
    if (small == NULL || gram == NULL || eigen == NULL) {
        s = no_memory(err);
        goto out;
    }
    blasint bw = (blasint)width, bn = (blasint)n;
    w->lapack->gemm(CblasRowMajor, CblasTrans, CblasNoTrans, bw, bw, bn, 1.0F, w->z, bw, w->next, bw,
                    0.0F, small, bw);
    for (size_t i = 0; i < width; i++) {
        for (size_t j = 0; j < width; j++) {
            gram[i * width + j] = .5 * ((double)small[i * width + j] + (double)small[j * width + i]);
        }
    }
    /* Symmetric, so its layout does not matter; eigenvector j comes out as column j of a column-major
     * matrix, that is as row j here, by rising eigenvalue. */
    lapack_int info =
        w->lapack->syevd(LAPACK_COL_MAJOR, 'V', 'U', (lapack_int)width, gram, (lapack_int)width, eigen);
    if (info != 0) {
        s = error_set(err, STATUS_INTERNAL, "LAPACK's eigenvalue solver failed (%d)", (int)info);
        goto out;
    }
    size_t found = k < width ? k : width;
    double least = eigen[width - 1] * 1e-9; /* below it is rounding: float keeps 7 digits of sigma^2 */
    memset(small, 0, width * width * sizeof *small);
    for (size_t j = 0; j < k; j++) {
        sigma[j] = 0;
    }
    for (size_t j = 0; j < found; j++) {
        double value = eigen[width - 1 - j];
        if (value <= least || value <= 0) {
            continue;
        }
        sigma[j] = (float)sqrt(value);
        for (size_t i = 0; i < width; i++) {
            small[i * width + j] = (float)gram[(width - 1 - j) * width + i];
        }
    }
    memset(v, 0, n * k * sizeof *v);
    w->lapack->gemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, bn, (blasint)found, bw, 1.0F, w->z, bw,
                    small, bw, 0.0F, v, (blasint)k);
    /* A singular vector's sign is arbitrary; fix it so that equal input gives an equal fit. */
    for (size_t j = 0; j < found; j++) {
        size_t largest = j;
        for (size_t i = 0; i < n; i++) {
            if (fabsf(v[i * k + j]) > fabsf(v[largest])) {
                largest = i * k + j;
            }
        }
        if (v[largest] < 0) {
            for (size_t i = 0; i < n; i++) {
                v[i * k + j] = -v[i * k + j];
            }
        }
    }
out:
    free(small);
    free(gram);
    free(eigen);
    return s;
}

enum status svd_right(const struct svd_lapack *lapack, const struct svd_matrix *a, size_t k,
                      uint64_t seed, svd_progress_fn progress, void *data, float *v, float *sigma,
                      struct error *err)
{
    size_t width = k + OVERSAMPLING;
    width = width > a->n_rows ? a->n_rows : width;
    width = width > a->n_cols ? a->n_cols : width;
    if (k == 0 || width == 0 || a->n_cols > INT32_MAX / (width < k ? k : width)) {
        return error_set(err, STATUS_INVALID, "a matrix of %zu by %zu cannot be decomposed to %zu",
                         a->n_rows, a->n_cols, k);
    }
    struct work w = {
        .lapack = lapack, .a = a, .width = width, .progress = progress, .data = data};
    enum status s = STATUS_OK;
    w.z = calloc(a->n_cols * width, sizeof *w.z);
    w.next = calloc(a->n_cols * width, sizeof *w.next);
    w.y = calloc(width, sizeof *w.y);
    w.tau = calloc(width, sizeof *w.tau);
    if (w.z == NULL || w.next == NULL || w.y == NULL || w.tau == NULL) {
        s = no_memory(err);
        goto out;
    }
    for (size_t i = 0; i < a->n_cols * width; i++) {
        w.z[i] = random_unit(&seed);
    }
    for (int i = 0; s == STATUS_OK && i < POWER_ITERATIONS; i++) {
        s = multiply(&w, err);
        s = s != STATUS_OK ? s : orthonormalise(&w, err);
    }
    s = s != STATUS_OK ? s : multiply(&w, err);
    s = s != STATUS_OK ? s : extract(&w, k, v, sigma, err);
out:
    free(w.z);
    free(w.next);
    free(w.y);
    free(w.tau);
    return s;
}
