/* Phases of a block: every thread is started on a stack of its own; the scheduler runs whoever is
 * ready until none is; then what waits together is served (lanes of a warp first, then the block's
 * barrier) and the round begins again. When nobody is ready and nothing can be served the block is
 * done or stuck. */
#include "cuda_host.h"

#include <sys/mman.h>

#include <cstdio>
#include <map>
#include <utility>
#include <vector>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace
{
constexpr size_t stack_bytes = 256 << 10;
constexpr unsigned most_threads = 1024;
constexpr size_t shared_default = 48 << 10;

/* ---- switching stacks ---- */

#if defined(__x86_64__)
extern "C" void emulate_switch(void **save, void *load);
__asm__(".text\n.globl emulate_switch\n.type emulate_switch,@function\nemulate_switch:\n"
        "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
        "movq %rsp,(%rdi)\nmovq %rsi,%rsp\n"
        "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n"
        ".size emulate_switch,.-emulate_switch\n");
struct context {
    void *at = nullptr;
    void start(unsigned char *stack, void (*entry)())
    {
        void **top = reinterpret_cast<void **>(stack + stack_bytes);
        *--top = nullptr; /* entry does not return; the stack is aligned as after a call */
        *--top = reinterpret_cast<void *>(entry);
        for (int i = 0; i < 6; i++) {
            *--top = nullptr;
        }
        at = top;
    }
};
void switch_to(context &save, context &load)
{
    emulate_switch(&save.at, load.at);
}
#else
struct context {
    ucontext_t at;
    void start(unsigned char *stack, void (*entry)())
    {
        getcontext(&at);
        at.uc_stack.ss_sp = stack;
        at.uc_stack.ss_size = stack_bytes;
        at.uc_link = nullptr;
        makecontext(&at, entry, 0);
    }
};
void switch_to(context &save, context &load)
{
    swapcontext(&save.at, &load.at);
}
#endif

/* ---- threads ---- */

enum state { READY, AT_BARRIER, TOGETHER, DONE };

struct copy {
    void *to;
    std::vector<unsigned char> bytes;
};

struct thread {
    context at;
    void *fake_stack = nullptr; /* AddressSanitizer's */
    unsigned char *stack = nullptr;
    uint3 index = {0, 0, 0};
    unsigned number = 0;
    state now = DONE;
    const char *file = "";
    int line = 0;
    const char *operation = "";
    unsigned mask = 0;
    const void *in = nullptr;
    void *out = nullptr;
    emulate::warp_fn fn = nullptr;
    std::vector<copy> open;                /* not committed */
    std::vector<std::vector<copy>> groups; /* committed, not waited for */
};

struct machine {
    context scheduler;
    void *scheduler_fake = nullptr;
    const void *scheduler_stack = nullptr;
    size_t scheduler_bytes = 0;
    thread threads[most_threads];
    unsigned n = 0;
    thread *self = nullptr;
    uint3 block = {0, 0, 0};
    dim3 block_dim, grid_dim;
    void *shared = nullptr;
    const std::function<void()> *body = nullptr;
    emulate::order order = emulate::ASCENDING;
    uint64_t random = 1;
    std::string report;
    bool expected = false;
    cudaError_t last = cudaSuccess;
    std::map<const void *, size_t> allowed;
    size_t shared_most = 227 << 10; /* of compute capability 9.0 */
    unsigned char *stacks = nullptr;
};

machine only;

machine &the()
{
    return only;
}

void back_to_scheduler(bool ends)
{
    machine &m = the();
    thread *t = m.self;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(ends ? nullptr : &t->fake_stack, m.scheduler_stack,
                                   m.scheduler_bytes);
#else
    (void)ends;
#endif
    switch_to(t->at, m.scheduler);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(t->fake_stack, &m.scheduler_stack, &m.scheduler_bytes);
#endif
}

void enter()
{
    machine &m = the();
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &m.scheduler_stack, &m.scheduler_bytes);
#endif
    (*m.body)();
    m.self->now = DONE;
    back_to_scheduler(true);
    std::abort();
}

void run(thread &t)
{
    machine &m = the();
    m.self = &t;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&m.scheduler_fake, t.stack, stack_bytes);
#endif
    switch_to(m.scheduler, t.at);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(m.scheduler_fake, nullptr, nullptr);
#endif
    m.self = nullptr;
}

void wait_as(state s, const char *operation, const char *file, int line)
{
    thread *t = the().self;
    t->now = s;
    t->operation = operation;
    t->file = file;
    t->line = line;
    back_to_scheduler(false);
}

/* ---- serving ---- */

bool same_operation(const thread &a, const thread &b)
{
    return b.now == TOGETHER && a.fn == b.fn && a.mask == b.mask && a.line == b.line &&
           std::strcmp(a.file, b.file) == 0;
}

/* What the lanes of one warp wait for, if all of the mask are there. */
bool serve_warp(unsigned first)
{
    machine &m = the();
    bool served = false;
    for (unsigned i = first; i < first + 32 && i < m.n; i++) {
        const thread &asker = m.threads[i];
        if (asker.now != TOGETHER) {
            continue;
        }
        const void *in[32] = {};
        void *out[32] = {};
        bool all = (asker.mask >> (i - first) & 1) != 0;
        for (unsigned k = 0; k < 32; k++) {
            if ((asker.mask >> k & 1) != 0) {
                bool there = first + k < m.n && same_operation(asker, m.threads[first + k]);
                all = all && there;
                in[k] = there ? m.threads[first + k].in : nullptr;
                out[k] = there ? m.threads[first + k].out : nullptr;
            }
        }
        if (all) {
            unsigned mask = asker.mask;
            asker.fn(mask, in, out);
            for (unsigned k = 0; k < 32; k++) {
                if ((mask >> k & 1) != 0) {
                    m.threads[first + k].now = READY;
                }
            }
            served = true;
        }
    }
    return served;
}

bool serve_barrier()
{
    machine &m = the();
    for (unsigned i = 0; i < m.n; i++) {
        const thread &t = m.threads[i];
        if (t.now != AT_BARRIER || t.line != m.threads[0].line ||
            std::strcmp(t.file, m.threads[0].file) != 0) {
            return false;
        }
    }
    for (unsigned i = 0; i < m.n; i++) {
        m.threads[i].now = READY;
    }
    return m.n > 0;
}

uint32_t random_below(uint32_t n)
{
    uint64_t &s = the().random;
    s = s * 6364136223846793005U + 1442695040888963407U;
    return static_cast<uint32_t>((s >> 33) % n);
}

/* 0 .. n - 1 in the order that is set. */
std::vector<unsigned> turns(unsigned n)
{
    std::vector<unsigned> v(n);
    for (unsigned i = 0; i < n; i++) {
        v[i] = the().order == emulate::DESCENDING ? n - 1 - i : i;
    }
    for (unsigned i = n; the().order == emulate::SHUFFLED && i > 1; i--) {
        std::swap(v[i - 1], v[random_below(i)]);
    }
    return v;
}

std::string place_of(const thread &t)
{
    const char *name = std::strrchr(t.file, '/');
    return std::string(t.operation) + " at " + (name == nullptr ? t.file : name + 1) + ":" +
           std::to_string(t.line);
}

/* Where the threads of a stuck block are: each place once, with the first thread there. */
std::string stuck()
{
    machine &m = the();
    std::map<std::string, std::pair<unsigned, unsigned>> places;
    for (unsigned i = 0; i < m.n; i++) {
        const thread &t = m.threads[i];
        std::string p = t.now == DONE ? "ended" : "waits in " + place_of(t);
        auto added = places.insert({p, {i, 0}});
        added.first->second.second++;
    }
    std::string text = "block " + std::to_string(m.block.x) + "," + std::to_string(m.block.y) +
                       "," + std::to_string(m.block.z) + " is stuck:";
    for (const auto &p : places) {
        text += " thread " + std::to_string(p.second.first) + " (of " +
                std::to_string(p.second.second) + ") " + p.first + ";";
    }
    return text;
}

/* ---- a block and a grid ---- */

void run_ready(const std::vector<unsigned> &order)
{
    for (unsigned i : order) {
        if (the().threads[i].now == READY) {
            run(the().threads[i]);
        }
    }
}

/* Each warp as far as it comes without the others, the first (or the last) before all. */
void run_warps()
{
    machine &m = the();
    unsigned warps = (m.n + 31) / 32;
    for (unsigned w : turns(warps)) {
        std::vector<unsigned> lanes = turns(w * 32 + 32 <= m.n ? 32 : m.n - w * 32);
        for (unsigned &lane : lanes) {
            lane += w * 32;
        }
        do {
            run_ready(lanes);
        } while (serve_warp(w * 32));
    }
}

/* Threads that never came to their end leave marks of AddressSanitizer on their stacks. */
void forget_stacks()
{
#if defined(__SANITIZE_ADDRESS__)
    for (unsigned i = 0; i < the().n; i++) {
        __asan_unpoison_memory_region(the().threads[i].stack, stack_bytes);
    }
#endif
}

std::string run_block()
{
    machine &m = the();
    bool more = true;
    for (unsigned i = 0; i < m.n; i++) {
        thread &t = m.threads[i];
        t.number = i;
        t.index = uint3{i % m.block_dim.x, i / m.block_dim.x % m.block_dim.y,
                        i / m.block_dim.x / m.block_dim.y};
        t.stack = m.stacks + (stack_bytes + 4096) * i + 4096;
        t.fake_stack = nullptr;
        t.open.clear();
        t.groups.clear();
        t.at.start(t.stack, enter);
        t.now = READY;
    }
    while (more) {
        more = false;
        if (m.order == emulate::SHUFFLED) {
            run_ready(turns(m.n));
            for (unsigned warp = 0; warp < m.n; warp += 32) {
                more = serve_warp(warp) || more;
            }
        } else {
            run_warps();
        }
        more = more || serve_barrier();
    }
    for (unsigned i = 0; i < m.n; i++) {
        if (m.threads[i].now != DONE) {
            forget_stacks();
            return stuck();
        }
    }
    for (unsigned i = 0; i < m.n; i++) {
        if (!m.threads[i].open.empty() || !m.threads[i].groups.empty()) {
            return "thread " + std::to_string(i) + " ends with copies under way";
        }
    }
    return "";
}

bool make_stacks()
{
    machine &m = the();
    size_t each = stack_bytes + 4096;
    if (m.stacks == nullptr) {
        void *p = mmap(nullptr, each * most_threads, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED) {
            return false;
        }
        m.stacks = static_cast<unsigned char *>(p);
        for (unsigned i = 0; i < most_threads; i++) {
            (void)mprotect(m.stacks + each * i, 4096, PROT_NONE);
        }
    }
    return true;
}

std::string unfit(const void *kernel, dim3 grid, dim3 block, size_t shared)
{
    machine &m = the();
    size_t allowed = m.allowed.count(kernel) > 0 ? m.allowed[kernel] : shared_default;
    size_t threads = static_cast<size_t>(block.x) * block.y * block.z;
    if (threads == 0 || threads > most_threads || block.z > 64) {
        return "a block of " + std::to_string(threads) + " threads";
    }
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535) {
        return "a grid of " + std::to_string(grid.x) + " x " + std::to_string(grid.y) + " x " +
               std::to_string(grid.z);
    }
    if (shared > allowed) {
        return std::to_string(shared) + " bytes of shared memory, " + std::to_string(allowed) +
               " allowed";
    }
    return "";
}

cudaError_t failed(const std::string &text, cudaError_t e)
{
    machine &m = the();
    m.report = text;
    m.last = e;
    if (!m.expected) {
        std::fprintf(stderr, "emulated launch failed: %s\n", text.c_str());
    }
    return e;
}
} // namespace

namespace emulate
{
void set_order(enum order o, uint32_t seed)
{
    the().order = o;
    the().random = seed;
}

uint3 thread_at()
{
    return the().self->index;
}
uint3 block_at()
{
    return the().block;
}
dim3 block_size()
{
    return the().block_dim;
}
dim3 grid_size()
{
    return the().grid_dim;
}
void *dynamic_shared()
{
    return the().shared;
}
const std::string &report()
{
    return the().report;
}
void clear_report()
{
    the().report.clear();
    the().last = cudaSuccess;
}
void expect_failure(bool expected)
{
    the().expected = expected;
}

void set_shared_most(size_t bytes)
{
    the().shared_most = bytes;
}

size_t shared_most()
{
    return the().shared_most;
}

cudaError_t allow_shared(const void *kernel, size_t bytes)
{
    if (bytes > the().shared_most) {
        return failed("more shared memory than a multiprocessor has", cudaErrorInvalidValue);
    }
    the().allowed[kernel] = bytes > shared_default ? bytes : shared_default;
    return cudaSuccess;
}

cudaError_t launch(const void *kernel, dim3 grid, dim3 block, size_t shared_bytes,
                   const std::function<void()> &body)
{
    machine &m = the();
    std::string wrong = unfit(kernel, grid, block, shared_bytes);
    if (!wrong.empty()) {
        return failed(wrong, cudaErrorInvalidConfiguration);
    }
    if (!make_stacks()) {
        return failed("no memory for stacks", cudaErrorMemoryAllocation);
    }
    m.grid_dim = grid;
    m.block_dim = block;
    m.n = block.x * block.y * block.z;
    m.body = &body;
    for (unsigned b : turns(grid.x * grid.y * grid.z)) {
        /* of its exact size, so that reaching beyond is seen */
        if (posix_memalign(&m.shared, 128, shared_bytes + (shared_bytes == 0)) != 0) {
            return failed("no memory", cudaErrorMemoryAllocation);
        }
        std::memset(m.shared, 0xFF, shared_bytes);
        m.block = uint3{b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y};
        wrong = run_block();
        std::free(m.shared);
        if (!wrong.empty()) {
            return failed(wrong, cudaErrorLaunchFailure);
        }
    }
    return cudaSuccess;
}

void wait_for_block(const char *file, int line)
{
    wait_as(AT_BARRIER, "__syncthreads", file, line);
}

void together(const char *name, unsigned mask, const void *in, void *out, warp_fn fn,
              const char *file, int line)
{
    thread *t = the().self;
    t->mask = mask;
    t->in = in;
    t->out = out;
    t->fn = fn;
    wait_as(TOGETHER, name, file, line);
}

void copy_later(void *to, const void *from, size_t from_bytes, size_t bytes)
{
    copy c;
    c.to = to;
    c.bytes.assign(bytes, 0);
    std::memcpy(c.bytes.data(), from, from_bytes);
    std::memset(to, 0xFF, bytes);
    the().self->open.push_back(c);
}

void copies_commit()
{
    thread *t = the().self;
    t->groups.push_back(t->open);
    t->open.clear();
}

void copies_wait(unsigned left)
{
    thread *t = the().self;
    while (t->groups.size() > left) {
        for (const copy &c : t->groups.front()) {
            std::memcpy(c.to, c.bytes.data(), c.bytes.size());
        }
        t->groups.erase(t->groups.begin());
    }
}
} // namespace emulate

cudaError_t cudaMalloc(void **p, size_t bytes)
{
    if (posix_memalign(p, 256, bytes + (bytes == 0)) != 0) {
        return cudaErrorMemoryAllocation;
    }
    std::memset(*p, 0xFF, bytes);
    return cudaSuccess;
}

cudaError_t cudaFree(void *p)
{
    std::free(p);
    return cudaSuccess;
}

cudaError_t cudaGetLastError()
{
    cudaError_t e = the().last;
    the().last = cudaSuccess;
    return e;
}

const char *cudaGetErrorString(cudaError_t e)
{
    return e == cudaSuccess                     ? "no error"
           : e == cudaErrorMemoryAllocation     ? "out of memory"
           : e == cudaErrorInvalidConfiguration ? "invalid configuration argument"
           : e == cudaErrorLaunchFailure        ? "unspecified launch failure"
                                                : "error";
}
