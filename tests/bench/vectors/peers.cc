// The peers: bare FAISS and hnswlib, in-process, one query at a time on one thread. Built on all cores.
#include <faiss/IndexFlat.h>
#include <faiss/IndexIVFFlat.h>
#include <faiss/index_factory.h>
#include <omp.h>

#include <atomic>
#include <cstdio>
#include <memory>
#include <thread>
#include <vector>

#ifdef BENCH_HNSWLIB
#include <hnswlib/hnswlib.h>
#endif

#include "tests/bench/vectors/bench.h"

namespace
{
using Labels = std::vector<faiss::Index::idx_t>;

void ask_faiss(void *peer, size_t i, uint32_t *found)
{
    auto *p = static_cast<std::pair<const bench_data *, const faiss::Index *> *>(peer);
    float distances[BENCH_K];
    faiss::Index::idx_t labels[BENCH_K];
    p->second->search(1, p->first->query + i * p->first->d, BENCH_K, distances, labels);
    for (size_t j = 0; j < BENCH_K; j++) {
        found[j] = static_cast<uint32_t>(labels[j]);
    }
}

struct Building { // what a build took
    double wall = bench_seconds(), cpu = bench_cpu_seconds(), rss = bench_rss_mb();
    void end(bench_row *r) const
    {
        r->build_s = bench_seconds() - wall;
        r->build_cpu_s = bench_cpu_seconds() - cpu;
        r->memory_mb = bench_rss_mb() - rss;
    }
};
} // namespace

extern "C" void peers_truth(bench_data *data)
{
    faiss::IndexFlatIP flat(static_cast<faiss::Index::idx_t>(data->d));
    flat.add(static_cast<faiss::Index::idx_t>(data->n), data->base);
    std::vector<float> distances(data->queries * BENCH_K);
    Labels labels(data->queries * BENCH_K);
    flat.search(static_cast<faiss::Index::idx_t>(data->queries), data->query, BENCH_K, distances.data(),
                labels.data());
    for (size_t i = 0; i < labels.size(); i++) {
        data->truth[i] = static_cast<uint32_t>(labels[i]);
    }
}

extern "C" void peers_faiss(const bench_data *data, double recall)
{
    int cores = omp_get_max_threads();
    auto d = static_cast<int>(data->d);
    auto n = static_cast<faiss::Index::idx_t>(data->n);
    {
        bench_row r{"FAISS flat", "", 0, 0, 0, 0, 0, 0, 0};
        Building b;
        faiss::IndexFlatIP flat(d);
        flat.add(n, data->base);
        b.end(&r);
        bench_data few = *data;
        few.queries = few.queries < 50 ? few.queries : 50;
        std::pair<const bench_data *, const faiss::Index *> peer(&few, &flat);
        omp_set_num_threads(1);
        bench_ask(&few, ask_faiss, &peer, &r);
        bench_print(&r);
        omp_set_num_threads(cores);
    }
    char spec[32];
    char setting[32];
    int lists = 16;
    while (static_cast<size_t>(lists) * static_cast<size_t>(lists) * 2 < data->n * 3 && lists < 4096) {
        lists *= 2;
    }
    (void)snprintf(spec, sizeof spec, "IVF%d,Flat", lists);
    bench_row r{"FAISS IVF,Flat", setting, 0, 0, 0, 0, 0, 0, 0};
    Building b;
    std::unique_ptr<faiss::Index> index(faiss::index_factory(d, spec, faiss::METRIC_INNER_PRODUCT));
    index->train(n < 60 * lists ? n : 60 * lists, data->base);
    index->add(n, data->base);
    b.end(&r);
    omp_set_num_threads(1);
    std::pair<const bench_data *, const faiss::Index *> peer(data, index.get());
    for (int probes = 1; probes <= lists; probes *= 2) {
        static_cast<faiss::IndexIVF *>(index.get())->nprobe = static_cast<size_t>(probes);
        (void)snprintf(setting, sizeof setting, "%d of %d", probes, lists);
        bench_ask(data, ask_faiss, &peer, &r);
        if (r.recall >= recall || probes == lists) {
            break;
        }
    }
    bench_print(&r);
    omp_set_num_threads(cores);
}

#ifdef BENCH_HNSWLIB
namespace
{
struct Graph {
    const bench_data *data;
    hnswlib::HierarchicalNSW<float> *graph;
};

void ask_graph(void *peer, size_t i, uint32_t *found)
{
    auto *p = static_cast<Graph *>(peer);
    auto best = p->graph->searchKnn(p->data->query + i * p->data->d, BENCH_K);
    for (size_t j = BENCH_K; j-- > 0 && !best.empty(); best.pop()) {
        found[j] = static_cast<uint32_t>(best.top().second);
    }
}
} // namespace

extern "C" void peers_hnswlib(const bench_data *data, double recall, const hnsw_options *o)
{
    char setting[32];
    char name[32];
    (void)snprintf(name, sizeof name, "hnswlib M=%zu", o->m);
    bench_row r{name, setting, 0, 0, 0, 0, 0, 0, 0};
    std::atomic<size_t> added{1};
    double start = bench_seconds();
    Building b;
    hnswlib::InnerProductSpace space(data->d);
    hnswlib::HierarchicalNSW<float> graph(&space, data->n, o->m, o->ef);
    graph.addPoint(data->base, 0);
    auto cores = std::thread::hardware_concurrency();
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < cores; t++) {
        threads.emplace_back([&graph, &added, data, t, cores, start, o] {
            for (size_t i = 1 + t; i < data->n && bench_seconds() - start < o->limit_s; i += cores) {
                graph.addPoint(data->base + i * data->d, i);
                added++;
            }
        });
    }
    for (auto &t : threads) {
        t.join();
    }
    b.end(&r);
    if (added < data->n) {
        (void)printf("%s: given up after %.0f s, %.0f of processor, with %zu of %zu vectors in\n", name,
                     r.build_s, r.build_cpu_s, added.load(), data->n);
        return;
    }
    Graph peer{data, &graph};
    for (size_t ef = 16; ef <= 4096; ef *= 2) {
        graph.setEf(ef);
        (void)snprintf(setting, sizeof setting, "ef %zu", ef);
        bench_ask(data, ask_graph, &peer, &r);
        if (r.recall >= recall) {
            break;
        }
    }
    bench_print(&r);
}
#else
extern "C" void peers_hnswlib(const bench_data *, double, const hnsw_options *)
{
    (void)printf("hnswlib: not built in (libhnswlib-dev was not there)\n");
}
#endif
