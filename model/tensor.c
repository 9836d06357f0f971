#include "model/tensor.h"

const struct tensor_type_info *tensor_type_info(uint32_t type)
{
    static const struct tensor_type_info infos[] = {
#define TENSOR_INFO(name, number, values, bytes) [number] = {#name, values, bytes},
        TENSOR_TYPES(TENSOR_INFO)
#undef TENSOR_INFO
    };
    return type < sizeof infos / sizeof infos[0] && infos[type].name != NULL ? &infos[type] : NULL;
}

bool tensor_bytes(uint32_t type, uint64_t n, uint64_t *bytes)
{
    const struct tensor_type_info *info = tensor_type_info(type);
    return info != NULL && n % info->block_values == 0 &&
           !__builtin_mul_overflow(n / info->block_values, (uint64_t)info->block_bytes, bytes);
}
