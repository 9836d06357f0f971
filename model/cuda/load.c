/* The plug-in beside the program (bin/carrel-cuda.so, or lib/carrel of an installation): a host
 * without an NVIDIA driver never loads it. */
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "model/cuda/cuda_internal.h"

#define PLUG_IN "carrel-cuda.so"

/* The folder of this program, with its last slash. */
static bool own_folder(char out[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);
    if (n <= 0) {
        return false;
    }
    out[n] = '\0';
    char *slash = strrchr(out, '/');
    if (slash == NULL) {
        return false;
    }
    slash[1] = '\0';
    return true;
}

static bool find(char out[PATH_MAX])
{
    static const char *const places[] = {"", "../lib/carrel/"};
    char folder[PATH_MAX];
    if (!own_folder(folder)) {
        return false;
    }
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        int n = snprintf(out, PATH_MAX, "%s%s%s", folder, places[i], PLUG_IN);
        if (n > 0 && n < PATH_MAX && access(out, R_OK) == 0) {
            return true;
        }
    }
    return false;
}

enum status cuda_plug_in(void **handle, const struct gpu_ops **out, struct error *err)
{
    char path[PATH_MAX];
    union {
        void *object;
        const struct gpu_ops *(*function)(void);
    } symbol;
    if (!find(path)) {
        return error_set(err, STATUS_UNAVAILABLE,
                         "there is no " PLUG_IN " beside the program: it is built where nvcc is");
    }
    void *h = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (h == NULL) {
        return error_set(err, STATUS_UNAVAILABLE, PLUG_IN " does not load: %.180s", dlerror());
    }
    symbol.object = dlsym(h, GPU_SYMBOL);
    const struct gpu_ops *ops = symbol.object == NULL ? NULL : symbol.function();
    if (ops == NULL || ops->abi != GPU_ABI) {
        (void)dlclose(h);
        return error_set(err, STATUS_UNAVAILABLE, PLUG_IN " is of another build than this program");
    }
    *handle = h;
    *out = ops;
    return STATUS_OK;
}

void cuda_plug_in_close(void *handle)
{
    if (handle != NULL) {
        (void)dlclose(handle);
    }
}
