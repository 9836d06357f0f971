// The few functions of FAISS's C API that Carrel uses, as <faiss/c_api/...> declares them, over the C++ library:
// Debian's libfaiss-dev ships the headers of the C API without its objects. Compiled with NDEBUG, or the headers'
// macros print every caught exception.
#include <faiss/IndexFlat.h>
#include <faiss/index_io.h>
#include <faiss/c_api/IndexFlat_c.h>
#include <faiss/c_api/Index_c.h>
#include <faiss/c_api/index_io_c.h>
#include <faiss/c_api/macros_impl.h>

thread_local std::exception_ptr faiss_last_exception;

extern "C" {

const char *faiss_get_last_error()
{
    if (faiss_last_exception) {
        try {
            std::rethrow_exception(faiss_last_exception);
        } catch (std::exception &e) {
            return e.what();
        } catch (...) {
            return "unknown error";
        }
    }
    return nullptr;
}

DEFINE_DESTRUCTOR(Index)
DEFINE_GETTER(Index, int, d)
DEFINE_GETTER(Index, idx_t, ntotal)

int faiss_Index_add(FaissIndex *index, idx_t n, const float *x)
{
    try {
        reinterpret_cast<faiss::Index *>(index)->add(n, x);
    }
    CATCH_AND_HANDLE
}

int faiss_Index_reset(FaissIndex *index)
{
    try {
        reinterpret_cast<faiss::Index *>(index)->reset();
    }
    CATCH_AND_HANDLE
}

int faiss_Index_search(const FaissIndex *index, idx_t n, const float *x, idx_t k, float *distances, idx_t *labels)
{
    try {
        reinterpret_cast<const faiss::Index *>(index)->search(n, x, k, distances, labels);
    }
    CATCH_AND_HANDLE
}

int faiss_IndexFlat_new_with(FaissIndexFlat **p_index, idx_t d, FaissMetricType metric)
{
    try {
        *p_index = reinterpret_cast<FaissIndexFlat *>(
            new faiss::IndexFlat(d, static_cast<faiss::MetricType>(metric)));
    }
    CATCH_AND_HANDLE
}

int faiss_IndexFlatIP_new_with(FaissIndexFlatIP **p_index, idx_t d)
{
    try {
        *p_index = reinterpret_cast<FaissIndexFlatIP *>(new faiss::IndexFlatIP(d));
    }
    CATCH_AND_HANDLE
}

void faiss_IndexFlat_xb(FaissIndexFlat *index, float **p_xb, size_t *p_size)
{
    auto *flat = reinterpret_cast<faiss::IndexFlat *>(index);
    *p_xb = flat->get_xb();
    *p_size = static_cast<size_t>(flat->ntotal) * static_cast<size_t>(flat->d);
}

int faiss_read_index_fname(const char *fname, int io_flags, FaissIndex **p_out)
{
    try {
        *p_out = reinterpret_cast<FaissIndex *>(faiss::read_index(fname, io_flags));
    }
    CATCH_AND_HANDLE
}

int faiss_write_index_fname(const FaissIndex *idx, const char *fname)
{
    try {
        faiss::write_index(reinterpret_cast<const faiss::Index *>(idx), fname);
    }
    CATCH_AND_HANDLE
}
}
