/* Products of every type against the processor's scalar kernels, bit for bit: one token, a few, and
 * as many as the tiles take, with odd sizes; several matrices in one call. F16 and BF16, which the
 * matrix units add, against double precision, and each token alone against what it gives among
 * others. Rows of the embedding are compared with the decoder of the files. */
#include "tests/gpu/matrices.h"

using check::weights;

namespace
{
/* The processor's bits. */
void same_bits(const weights &w, uint32_t n, const float *x, const float *bias,
               const std::vector<float> &y)
{
    for (size_t t = 0; t < n; t++) {
        std::vector<float> expected = w.reference(x + t * w.columns, bias);
        for (size_t r = 0; r < w.rows; r++) {
            if (memcmp(&y[t * w.rows + r], &expected[r], sizeof(float)) != 0) {
                std::fprintf(stderr, "%s %u x %u, token %zu of %u, row %zu: %.9g, not %.9g\n",
                             tensor_type_info(w.type)->name, w.columns, w.rows, t, n, r,
                             static_cast<double>(y[t * w.rows + r]),
                             static_cast<double>(expected[r]));
                CHECK(!"the bits of the processor");
            }
        }
        check::count() += w.rows;
    }
}

/* What n tokens give through one matrix. */
std::vector<float> run_alone(const weights &w, uint32_t n, const float *x, const float *bias)
{
    std::vector<float> copy(x, x + size_t{n} * w.columns);
    std::vector<float> b(w.rows);
    if (bias != nullptr) {
        b.assign(bias, bias + w.rows);
    }
    device_array<float> on_x(copy), on_bias(b), y(size_t{n} * w.rows);
    device_array<unsigned char> scratch(matmul_scratch_bytes(n, w.columns)), packed(w.packed);
    gpu_matrix m = {static_cast<uint32_t>(w.type), w.columns, w.rows, w.packed.size(),
                    packed.get()};
    gpu_product p = {&m, bias == nullptr ? nullptr : on_bias.get(), y.get()};
    matmul_run(nullptr, scratch.get(), on_x.get(), n, &p, 1);
    return y.host();
}

/* Near double precision, and the last token's bits alone. */
void near_double(const weights &w, uint32_t n, const float *x, const float *bias,
                 const std::vector<float> &y)
{
    std::vector<float> row(w.columns);
    for (size_t r = 0; r < w.rows; r++) {
        quant_decode(w.type, w.file.data() + r * w.row_bytes, w.columns, row.data());
        for (size_t t = 0; t < n; t++) {
            double sum = bias == nullptr ? 0 : static_cast<double>(bias[r]);
            double size = fabs(sum);
            for (size_t c = 0; c < w.columns; c++) {
                double product =
                    static_cast<double>(row[c]) * static_cast<double>(x[t * w.columns + c]);
                sum += product;
                size += fabs(product);
            }
            CHECK(fabs(static_cast<double>(y[t * w.rows + r]) - sum) <= 1e-6 * size + 1e-7);
        }
    }
    std::vector<float> alone = run_alone(w, 1, x + size_t{n - 1} * w.columns, bias);
    CHECK(memcmp(alone.data(), &y[size_t{n - 1} * w.rows], w.rows * sizeof(float)) == 0);
}

/* n tokens through matrices of the same columns. */
void one_call(const std::vector<const weights *> &all, uint32_t n, bool biased)
{
    uint32_t columns = all[0]->columns;
    std::vector<float> x(static_cast<size_t>(n) * columns);
    check::fill(x, 3);
    device_array<float> on_x(x);
    device_array<unsigned char> scratch(matmul_scratch_bytes(n, columns));
    std::vector<std::vector<float>> biases;
    std::vector<gpu_matrix> matrices(all.size());
    std::vector<gpu_product> products(all.size());
    std::vector<device_array<float> *> ys, on_biases;
    std::vector<device_array<unsigned char> *> packed;
    for (size_t i = 0; i < all.size(); i++) {
        const weights &w = *all[i];
        biases.emplace_back(w.rows);
        check::fill(biases[i], 1);
        packed.push_back(new device_array<unsigned char>(w.packed));
        on_biases.push_back(new device_array<float>(biases[i]));
        ys.push_back(new device_array<float>(static_cast<size_t>(n) * w.rows));
        matrices[i] = {static_cast<uint32_t>(w.type), w.columns, w.rows, w.packed.size(),
                       packed[i]->get()};
        products[i] = {&matrices[i], biased ? on_biases[i]->get() : nullptr, ys[i]->get()};
    }
    matmul_run(nullptr, scratch.get(), on_x.get(), n, products.data(),
               static_cast<uint32_t>(products.size()));
    for (size_t i = 0; i < all.size(); i++) {
        const weights &w = *all[i];
        std::vector<float> y = ys[i]->host();
        const float *bias = biased ? biases[i].data() : nullptr;
        if (w.type == TENSOR_F16 || w.type == TENSOR_BF16) {
            near_double(w, n, x.data(), bias, y);
        } else {
            same_bits(w, n, x.data(), bias, y);
        }
        delete ys[i];
        delete on_biases[i];
        delete packed[i];
    }
}

void odd_shapes(tensor_type type)
{
    uint32_t block = tensor_type_info(type)->block_values;
    for (uint32_t n : {1U, 2U, 3U, 8U, 19U, 33U, 70U}) {
        uint32_t columns =
            block == 1 ? 1 + check::below(150) : block * (1 + check::below(block == 32 ? 40 : 4));
        weights w(type, columns, 1 + check::below(50));
        check::any_order();
        one_call({&w}, n, n % 2 == 0);
    }
    /* more than one thread block of the large tiles each way, and columns to the ring's end */
    weights w(type, block == 256 ? 768 : 288, 133);
    check::any_order();
    one_call({&w}, 131, true);
}

/* A device whose blocks share less, as those of 8.6: other tiles, the same bits. */
void small_device(tensor_type type)
{
#ifndef __CUDACC__
    weights w(type, 256, 35);
    emulate::set_shared_most(99 << 10);
    one_call({&w}, 100, false);
    emulate::set_shared_most(227 << 10);
#else
    (void)type;
#endif
}

void several_at_once()
{
    for (uint32_t n : {1U, 5U, 40U}) {
        weights q(TENSOR_Q4_K, 512, 40);
        weights k(TENSOR_Q4_K, 512, 24);
        weights v(TENSOR_Q6_K, 512, 7);
        weights f(TENSOR_F16, 512, 33);
        check::any_order();
        one_call({&q, &k, &v}, n, true);
        one_call({&q, &v, &k, &f}, n, false);
    }
}

/* Bytes of zeros, of tiny, of huge values. */
void odd_activations()
{
    weights w(TENSOR_Q8_0, 64, 16);
    gpu_matrix m = {TENSOR_Q8_0, 64, 16, w.packed.size(), nullptr};
    device_array<unsigned char> packed(w.packed);
    device_array<unsigned char> scratch(matmul_scratch_bytes(1, 64));
    m.data = packed.get();
    for (float odd : {0.0F, 1e-38F, 1e-30F, 3e38F, -3e38F}) {
        std::vector<float> x(64);
        check::fill(x, odd == 0 || odd < 1e-20F ? 1e-31F : 1);
        x[11] = odd;
        device_array<float> on_x(x);
        device_array<float> y(16);
        gpu_product p = {&m, nullptr, y.get()};
        matmul_run(nullptr, scratch.get(), on_x.get(), 1, &p, 1);
        std::vector<float> expected = w.reference(x.data(), nullptr);
        std::vector<float> got = y.host();
        CHECK(memcmp(got.data(), expected.data(), 16 * sizeof(float)) == 0);
    }
}

void embeddings(tensor_type type)
{
    uint32_t block = tensor_type_info(type)->block_values;
    weights w(type, block == 1 ? 77 : 2 * block, 37);
    std::vector<uint32_t> tokens = {0, 36, 15, 16, 3, 3};
    std::vector<uint32_t> positions = {0, 1, 2, GPU_NONE, 4, 5};
    uint32_t n = static_cast<uint32_t>(tokens.size());
    device_array<unsigned char> packed(w.packed);
    device_array<uint32_t> on_tokens(tokens), on_positions(positions);
    device_array<float> x(size_t{n} * w.columns);
    gpu_matrix m = {static_cast<uint32_t>(type), w.columns, w.rows, w.packed.size(), packed.get()};
    gpu_batch b = {};
    b.n = n;
    b.tokens = on_tokens.get();
    b.positions = on_positions.get();
    b.owners = on_tokens.get();
    matmul_embed(nullptr, &m, &b, 1.5F, x.get());
    std::vector<float> got = x.host();
    for (size_t t = 0; t < n; t++) {
        std::vector<float> row(w.columns);
        quant_decode(type, w.file.data() + tokens[t] * w.row_bytes, w.columns, row.data());
        for (size_t c = 0; c < w.columns; c++) {
            CHECK(got[t * w.columns + c] == (positions[t] == GPU_NONE ? 0 : row[c] * 1.5F));
        }
    }
}
} // namespace

int main()
{
    for (tensor_type type : check::types) {
        odd_shapes(type);
        small_device(type);
        embeddings(type);
    }
    several_at_once();
    odd_activations();
    CHECK(matmul_group_bytes(TENSOR_I8, 32) == 0 && matmul_group_bytes(TENSOR_Q8_0, 33) == 0);
    return check::end("matmul");
}
