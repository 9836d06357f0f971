/* Attention over pages against double precision, for widths that the matrix units take and others:
 * grouped heads, windows, caps, pages anywhere, sequences side by side, keys as halves and as Q8_0.
 * A query gives the same bits with its neighbours of a prompt, in slices of any size, and alone. */
#include "model/cuda/attend.cuh"
#include "tests/gpu/device_array.h"

extern "C" {
#include "base/half.h"
}

namespace
{
size_t shared_there = 227 << 10; /* bytes that a block may share */

struct shape {
    uint32_t type, heads, kv_heads, key_width, value_width, window;
    float cap;
};

/* Sequences with their keys and values as floats, and the same in pages. */
struct store {
    shape s;
    std::vector<uint32_t> lengths;
    std::vector<std::vector<float>> keys, values; /* [token][kv head][width], as stored */
    uint32_t table_width = 0;
    std::vector<uint32_t> table;
    std::vector<unsigned char> pages;
    uint64_t page_bytes;

    store(const shape &sh, const std::vector<uint32_t> &n) : s(sh), lengths(n)
    {
        page_bytes = s.kv_heads * gpu_head_bytes(s.type, s.key_width, s.value_width) + 32;
        page_bytes = (page_bytes + 15) / 16 * 16;
        uint32_t all = 0;
        for (uint32_t length : lengths) {
            uint32_t used = (length + GPU_PAGE - 1) / GPU_PAGE;
            table_width = used > table_width ? used : table_width;
            all += used;
        }
        /* pages from the last to the first, with others between; what nobody writes is no number */
        table.assign(lengths.size() * table_width, GPU_NONE);
        pages.assign(page_bytes * (2 * all + 1), 0xFF);
        uint32_t next = 2 * all;
        for (size_t i = 0; i < lengths.size(); i++) {
            keys.push_back(fill_rows(lengths[i], s.key_width, 1.5F));
            values.push_back(fill_rows(lengths[i], s.value_width, 1));
            for (uint32_t t = 0; t < lengths[i]; t++) {
                uint32_t &page = table[i * table_width + t / GPU_PAGE];
                if (t % GPU_PAGE == 0) {
                    page = next;
                    next -= 2;
                }
                for (uint32_t h = 0; h < s.kv_heads; h++) {
                    unsigned char *at = pages.data() + page * page_bytes +
                                        h * gpu_head_bytes(s.type, s.key_width, s.value_width);
                    size_t row = size_t{t} * s.kv_heads + h;
                    put(at, t % GPU_PAGE, s.key_width, &keys[i][row * s.key_width]);
                    put(at + gpu_rows_bytes(s.type, s.key_width), t % GPU_PAGE, s.value_width,
                        &values[i][row * s.value_width]);
                }
            }
        }
    }

    std::vector<float> fill_rows(uint32_t tokens, uint32_t width, float scale) const
    {
        std::vector<float> v(size_t{tokens} * s.kv_heads * width);
        check::fill(v, scale);
        return v;
    }

    /* Stores a row, and leaves in it what the store holds. */
    void put(unsigned char *rows, uint32_t slot, uint32_t width, float *row) const
    {
        uint32_t blocks = (width + 31) / 32;
        for (uint32_t d = 0; s.type == TENSOR_F16 && d < width; d++) {
            uint16_t h = half_from_float(row[d]);
            memcpy(rows + (size_t{slot} * width + d) * 2, &h, 2);
            row[d] = half_to_float(h);
        }
        for (uint32_t b = 0; s.type == TENSOR_Q8_0 && b < blocks; b++) {
            uint16_t scale = half_from_float(0.002F + 0.01F * fabsf(check::number()));
            memcpy(rows + gpu_codes_bytes(s.type, width) + 2 * (slot * blocks + b), &scale, 2);
            for (uint32_t d = 32 * b; d < 32 * b + 32; d++) {
                int8_t code = static_cast<int8_t>(check::below(255));
                rows[slot * blocks * 32 + d] = static_cast<unsigned char>(code);
                if (d < width) {
                    row[d] = half_to_float(scale) * static_cast<float>(code);
                }
            }
        }
    }

    std::vector<double> exact(size_t owner, uint32_t position, uint32_t head, const float *q,
                              float scale) const
    {
        uint32_t kv = head / (s.heads / s.kv_heads);
        uint32_t from = s.window > 0 && position + 1 > s.window ? position + 1 - s.window : 0;
        std::vector<double> weights(position + 1), out(s.value_width);
        double most = -1e300;
        double sum = 0;
        for (uint32_t t = from; t <= position; t++) {
            const float *k = &keys[owner][(size_t{t} * s.kv_heads + kv) * s.key_width];
            for (uint32_t d = 0; d < s.key_width; d++) {
                weights[t] += static_cast<double>(q[d]) * static_cast<double>(k[d]);
            }
            weights[t] *= static_cast<double>(scale);
            if (s.cap > 0) {
                weights[t] =
                    static_cast<double>(s.cap) * tanh(weights[t] / static_cast<double>(s.cap));
            }
            most = weights[t] > most ? weights[t] : most;
        }
        for (uint32_t t = from; t <= position; t++) {
            weights[t] = exp(weights[t] - most);
            sum += weights[t];
        }
        for (uint32_t t = from; t <= position; t++) {
            const float *v = &values[owner][(size_t{t} * s.kv_heads + kv) * s.value_width];
            for (uint32_t d = 0; d < s.value_width; d++) {
                out[d] += weights[t] / sum * static_cast<double>(v[d]);
            }
        }
        return out;
    }
};

struct query {
    uint32_t owner, position;
};

constexpr float scale = 0.11F;

/* What the queries give in one batch, with tiles of at most `tokens` tokens; `padding` rows of
 * nobody behind them. */
std::vector<float> run(const store &st, const std::vector<query> &queries,
                       const std::vector<float> &q, uint32_t tokens, uint32_t padding)
{
    const shape &s = st.s;
    std::vector<uint32_t> positions, owners, tiles;
    uint32_t most = 1;
    for (uint32_t i = 0; i < queries.size(); i++) {
        bool follows = i > 0 && queries[i].owner == queries[i - 1].owner &&
                       queries[i].position == queries[i - 1].position + 1 && tiles.back() < tokens;
        if (follows) {
            tiles.back()++;
        } else {
            tiles.insert(tiles.end(), {i, 1});
        }
        positions.push_back(queries[i].position);
        owners.push_back(queries[i].owner);
        most = queries[i].position + 1 > most ? queries[i].position + 1 : most;
    }
    for (uint32_t i = 0; i < padding; i++) {
        positions.push_back(GPU_NONE);
        owners.push_back(0);
        tiles.insert(tiles.end(), {GPU_NONE, 0});
    }
    uint32_t n = static_cast<uint32_t>(positions.size());
    std::vector<float> padded = q;
    padded.resize(size_t{n} * s.heads * s.key_width, 1e30F);
    device_array<uint32_t> on_positions(positions), on_owners(owners), on_tiles(tiles);
    device_array<uint32_t> on_table(st.table);
    device_array<unsigned char> on_pages(st.pages);
    device_array<float> on_q(padded), out(size_t{n} * s.heads * s.value_width);
    device_array<unsigned char> scratch(attend_scratch_bytes(n, s.heads, s.value_width, most) + 1);
    gpu_batch b = {};
    b.n = n;
    b.positions = on_positions.get();
    b.owners = on_owners.get();
    b.tiles = on_tiles.get();
    b.n_tiles = static_cast<uint32_t>(tiles.size() / 2);
    b.tile_tokens = tokens;
    gpu_keys k = {};
    k.type = s.type;
    k.kv_heads = s.kv_heads;
    k.key_width = s.key_width;
    k.value_width = s.value_width;
    k.data = on_pages.get();
    k.page_bytes = st.page_bytes;
    k.table = on_table.get();
    k.table_width = st.table_width;
    gpu_attend a = {};
    a.batch = &b;
    a.keys = &k;
    a.q = on_q.get();
    a.out = out.get();
    a.heads = s.heads;
    a.window = s.window;
    a.scale = scale;
    a.cap = s.cap;
    a.most = most;
    check::any_order();
    attend_run(nullptr, scratch.get(), &a, shared_there);
    std::vector<float> result = out.host();
    result.resize(queries.size() * s.heads * s.value_width);
    return result;
}

std::vector<float> random_queries(const shape &s, size_t n)
{
    std::vector<float> q(n * s.heads * s.key_width);
    check::fill(q, 2);
    return q;
}

void near_exact(const store &st, const std::vector<query> &queries, const std::vector<float> &q,
                const std::vector<float> &got)
{
    const shape &s = st.s;
    double bound = 2e-5;
    for (size_t i = 0; i < queries.size(); i++) {
        for (uint32_t h = 0; h < s.heads; h++) {
            std::vector<double> expected = st.exact(queries[i].owner, queries[i].position, h,
                                                    &q[(i * s.heads + h) * s.key_width], scale);
            for (uint32_t d = 0; d < s.value_width; d++) {
                double value = static_cast<double>(got[(i * s.heads + h) * s.value_width + d]);
                if (!(fabs(value - expected[d]) <= bound)) {
                    std::fprintf(stderr,
                                 "type %u %u/%u heads %u,%u wide: position %u: %g, not %g\n",
                                 s.type, s.heads, s.kv_heads, s.key_width, s.value_width,
                                 queries[i].position, value, expected[d]);
                    CHECK(!"near the exact result");
                }
                check::count()++;
            }
        }
    }
}

/* A prompt of `n` tokens behind `before` others: as one, in slices, token by token. */
void one_prompt(const shape &s, uint32_t before, uint32_t n)
{
    store st(s, {before + n, 40});
    std::vector<query> queries;
    for (uint32_t i = 0; i < n; i++) {
        queries.push_back({0, before + i});
    }
    size_t width = size_t{s.heads} * s.value_width;
    size_t q_width = size_t{s.heads} * s.key_width;
    std::vector<float> q = random_queries(s, n);
    uint32_t group = s.heads / s.kv_heads;
    uint32_t tile = GPU_TILE / group > 0 ? GPU_TILE / group : 1;
    std::vector<float> whole = run(st, queries, q, tile, 0);
    near_exact(st, queries, q, whole);
    /* so many tiles that each goes through its parts itself */
    std::vector<float> unsplit = run(st, queries, q, tile, ATTEND_BLOCKS);
    CHECK(memcmp(unsplit.data(), whole.data(), whole.size() * sizeof(float)) == 0);
    for (uint32_t slice : {1U, 3U, 7U}) {
        std::vector<float> sliced;
        for (uint32_t i = 0; i < n; i += slice) {
            uint32_t to = i + slice < n ? i + slice : n;
            /* two of the slices are enough of the slow ones */
            if (slice == 1 && i != 0 && i + 1 != n) {
                sliced.insert(sliced.end(), whole.begin() + static_cast<long>(i * width),
                              whole.begin() + static_cast<long>(to * width));
                continue;
            }
            std::vector<query> some(queries.begin() + i, queries.begin() + to);
            std::vector<float> some_q(q.begin() + static_cast<long>(i * q_width),
                                      q.begin() + static_cast<long>(to * q_width));
            std::vector<float> part = run(st, some, some_q, slice == 3 ? 2 : tile, i % 2);
            sliced.insert(sliced.end(), part.begin(), part.end());
        }
        CHECK(sliced.size() == whole.size() &&
              memcmp(sliced.data(), whole.data(), whole.size() * sizeof(float)) == 0);
    }
}

/* Last tokens of many sequences in one batch, with rows of nobody, give what each gives alone. */
void many_answers(const shape &s)
{
    std::vector<uint32_t> lengths = {1, 16, 17, 31, 300};
    store st(s, lengths);
    std::vector<query> queries;
    for (uint32_t i = 0; i < lengths.size(); i++) {
        queries.push_back({i, lengths[i] - 1});
    }
    std::vector<float> q = random_queries(s, queries.size());
    std::vector<float> all = run(st, queries, q, 1, 2);
    near_exact(st, queries, q, all);
    size_t width = size_t{s.heads} * s.value_width;
    size_t q_width = size_t{s.heads} * s.key_width;
    for (size_t i = 0; i < queries.size(); i++) {
        std::vector<float> mine(q.begin() + static_cast<long>(i * q_width),
                                q.begin() + static_cast<long>((i + 1) * q_width));
        std::vector<float> alone = run(st, {queries[i]}, mine, 1, 0);
        CHECK(memcmp(alone.data(), &all[i * width], width * sizeof(float)) == 0);
    }
}
} // namespace

int main()
{
    const shape shapes[] = {
        {TENSOR_F16, 4, 2, 64, 64, 0, 0},       {TENSOR_F16, 7, 1, 32, 48, 20, 0},
        {TENSOR_F16, 2, 2, 128, 128, 0, 15.0F}, {TENSOR_F16, 2, 1, 256, 256, 300, 0},
        {TENSOR_Q8_0, 4, 1, 64, 80, 0, 0},      {TENSOR_F16, 2, 1, 20, 12, 0, 0},
        {TENSOR_Q8_0, 2, 2, 40, 33, 33, 4.0F},
    };
    /* a card of 8.6, whose blocks share less: wide heads go the plain way */
    shared_there = 99 << 10;
    CHECK(attend_mma_most(256, 256) > shared_there);
    CHECK(attend_shared_bytes(256, 256) <= shared_there);
    many_answers(shapes[3]);
    shared_there = 227 << 10;
    for (const shape &s : shapes) {
        many_answers(s);
        one_prompt(s, 0, 21);
        one_prompt(s, 270, s.heads > 4 ? 13 : 20);
    }
    return check::end("attend");
}
