/* Random matrices of every type and what the processor's scalar kernels make of them. */
#ifndef CARREL_TESTS_GPU_MATRICES_H
#define CARREL_TESTS_GPU_MATRICES_H

#include "model/cuda/matmul.cuh"
#include "tests/gpu/device_array.h"

extern "C" {
#include "base/half.h"
#include "model/quant.h"
}

namespace check
{
constexpr tensor_type types[] = {TENSOR_F32,  TENSOR_F16,    TENSOR_BF16,  TENSOR_Q8_0,
                                 TENSOR_Q4_0, TENSOR_Q4_1,   TENSOR_Q5_0,  TENSOR_Q5_1,
                                 TENSOR_Q4_K, TENSOR_Q5_K,   TENSOR_Q6_K,  TENSOR_Q3_K,
                                 TENSOR_Q2_K, TENSOR_IQ4_NL, TENSOR_IQ4_XS};

/* Where a block's halves are; -1: none. */
inline void scale_places(tensor_type type, int (&at)[2])
{
    at[0] = type == TENSOR_Q2_K ? 80 : type == TENSOR_Q3_K ? 108 : type == TENSOR_Q6_K ? 208 : 0;
    at[1] =
        type == TENSOR_Q2_K ? 82
        : type == TENSOR_Q4_1 || type == TENSOR_Q5_1 || type == TENSOR_Q4_K || type == TENSOR_Q5_K
            ? 2
            : -1;
}

/* A matrix as it lies in a file, and packed on the device. */
struct weights {
    tensor_type type;
    uint32_t columns, rows;
    size_t row_bytes;
    std::vector<unsigned char> file, packed;

    weights(tensor_type t, uint32_t c, uint32_t r) : type(t), columns(c), rows(r)
    {
        const struct tensor_type_info *info = tensor_type_info(t);
        row_bytes = static_cast<size_t>(c) / info->block_values * info->block_bytes;
        file.resize(row_bytes * r);
        if (info->block_values == 1) {
            std::vector<float> row(c);
            for (size_t i = 0; i < r; i++) {
                fill(row, 0.1F);
                CHECK(quant_encode(t, row.data(), c, file.data() + i * row_bytes));
            }
        } else {
            int at[2];
            scale_places(t, at);
            for (unsigned char &b : file) {
                b = static_cast<unsigned char>(random_u32() >> 24);
            }
            for (size_t i = 0; i < file.size(); i += info->block_bytes) {
                for (int k = 0; k < 2; k++) {
                    uint16_t h = half_from_float(number() * 0.01F);
                    if (at[k] >= 0) {
                        memcpy(file.data() + i + at[k], &h, sizeof h);
                    }
                }
            }
        }
        size_t group = matmul_group_bytes(t, c);
        CHECK(group > 0 && group % 16 == 0);
        packed.resize((r + 15) / 16 * group);
        for (uint32_t i = 0; i < r; i += 16) {
            matmul_pack(t, c, r - i < 16 ? r - i : 16, file.data() + i * row_bytes, row_bytes,
                        packed.data() + i / 16 * group);
        }
    }

    /* One token's row sums by the processor's scalar kernels. */
    std::vector<float> reference(const float *x, const float *bias) const
    {
        std::vector<float> y(rows);
        std::vector<float> row(columns + 16);
        size_t blocks = (columns + 31) / 32;
        std::vector<float> panel(blocks * 32);
        pack_kind kind = matmul_kind(type);
        bool floats = kind == PACK_F32 || kind == PACK_F16 || kind == PACK_BF16;
        unsigned char *p = reinterpret_cast<unsigned char *>(panel.data());
        if (floats) {
            kernels_scalar.interleave(x, columns, columns, 1, 1, p);
        } else if (kind != PACK_NONE) {
            panel.resize(blocks * PANEL_BLOCK_BYTES(1) / 4);
            p = reinterpret_cast<unsigned char *>(panel.data());
            kernels_scalar.quantize(x, columns, columns, 1, 1, p);
        }
        for (uint32_t r = 0; r < rows; r++) {
            float sums[16];
            if (kind == PACK_NONE) {
                quant_decode(type, file.data() + r * row_bytes, columns, row.data());
                y[r] = kernels_scalar.dot_f32(row.data(), x, columns);
            } else {
                if (r % 16 == 0) {
                    kernels_scalar.dot[kind](packed.data() +
                                                 r / 16 * matmul_group_bytes(type, columns),
                                             blocks, p, 1, sums);
                }
                y[r] = sums[r % 16];
            }
            y[r] = bias == nullptr ? y[r] : y[r] + bias[r];
        }
        return y;
    }
};
} // namespace check

#endif
