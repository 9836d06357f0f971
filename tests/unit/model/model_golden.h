/* The first values of the last token's logits (of the text's vector for bert), as llama.cpp 0.5.0
 * gives them for the files of tests/fixture/model_writer.c. Quantized types are further off: it
 * rounds activations to the weights' width too;
 * and so are the gemmas: it looks GELU up in a table of halves. */
#ifndef CARREL_TESTS_MODEL_GOLDEN_H
#define CARREL_TESTS_MODEL_GOLDEN_H

#include "model/tensor.h"

#define MODEL_GOLDEN_VALUES 12

struct model_golden {
    const char *architecture;
    enum tensor_type type;
    float tolerance;
    float values[MODEL_GOLDEN_VALUES];
};

static const struct model_golden model_golden[] = {
    {"llama",
     TENSOR_F32,
     1e-4F,
     {0.6742126F, -0.3059978F, 0.4458262F, 1.884832F, -0.06078458F, 0.2191356F, -1.521616F,
      1.125556F, 0.6961371F, -1.72926F, -1.483854F, -0.2182032F}},
    {"llama",
     TENSOR_F16,
     1e-2F,
     {0.6744291F, -0.3052508F, 0.4503486F, 1.884143F, -0.05336523F, 0.2183069F, -1.525844F,
      1.129252F, 0.7007508F, -1.731763F, -1.47741F, -0.2175332F}},
    {"llama",
     TENSOR_BF16,
     8e-2F,
     {0.6643553F, -0.316422F, 0.4391465F, 1.861925F, -0.09749883F, 0.2859733F, -1.501807F,
      1.140918F, 0.682646F, -1.678879F, -1.478017F, -0.2268985F}},
    {"llama",
     TENSOR_Q8_0,
     0.2F,
     {0.6785581F, -0.3069314F, 0.521194F, 1.985129F, -0.04630625F, 0.1185886F, -1.508317F,
      1.102368F, 0.5592086F, -1.821012F, -1.455117F, -0.09006548F}},
    {"llama",
     TENSOR_Q4_0,
     0.3F,
     {-1.072385F, 0.1431007F, 0.65756F, 0.7578706F, 0.1897044F, 1.893514F, -2.535953F, 3.984972F,
      2.106359F, -1.995335F, 0.2733061F, -0.2507107F}},
    {"qwen2",
     TENSOR_F32,
     1e-4F,
     {0.1814082F, -2.732116F, 1.164326F, -0.9780186F, 1.932466F, -4.562237F, -1.123591F, 0.2323976F,
      -2.117835F, -0.9951966F, 3.886413F, 2.500367F}},
    {"qwen3",
     TENSOR_F32,
     1e-4F,
     {-0.9981079F, -0.2420069F, -2.325917F, 3.016652F, -1.767981F, -0.8898115F, 0.3170055F,
      -1.775741F, -1.567593F, -0.2037342F, -1.508388F, 1.169614F}},
    {"bert",
     TENSOR_F32,
     1e-4F,
     {-0.2647619F, -0.101147F, -0.01350164F, 0.03147249F, -0.05543087F, -0.09953126F, 0.09650215F,
      0.03962119F, 0.1041161F, 0.04439583F, -0.0470178F, 0.03028576F}},
    {"bert",
     TENSOR_F16,
     1e-3F,
     {-0.2647531F, -0.1011614F, -0.01350156F, 0.03143356F, -0.05548394F, -0.09953661F, 0.09648266F,
      0.03961891F, 0.104083F, 0.04441368F, -0.04692117F, 0.03031269F}},
    {"gemma2",
     TENSOR_F32,
     5e-3F,
     {-0.7152572F, 0.6995459F, -0.4630101F, 0.8875725F, 2.22893F, 0.7122084F, -0.03627428F,
      -1.17565F, 2.282159F, 0.9180409F, 0.8187644F, 1.77605F}},
    {"gemma3",
     TENSOR_F32,
     5e-3F,
     {2.286001F, 0.7821459F, -0.7507226F, 1.239236F, 2.269335F, 0.6198937F, 1.743728F, 1.002318F,
      -0.97258F, -4.531057F, 0.248129F, 2.488326F}},
    {"phi3",
     TENSOR_F32,
     1e-4F,
     {-0.7618246F, -0.6343011F, 2.473613F, -4.924406F, 0.05910176F, -1.120239F, -0.7591376F,
      0.5652123F, -1.847897F, -1.511554F, -0.8616603F, 0.9126022F}},
    {"mixtral",
     TENSOR_F32,
     1e-4F,
     {-0.5933495F, -1.558956F, -0.2172545F, 1.228342F, -0.4648457F, -0.7877637F, 0.4171469F,
      -1.318802F, 1.318038F, -4.562099F, 0.5770373F, -0.5286512F}},
    {"qwen3moe",
     TENSOR_F32,
     1e-4F,
     {1.646825F, 5.130607F, 0.1436144F, 5.530881F, 0.387565F, 0.2184174F, -0.4205527F, 3.025374F,
      3.120709F, -0.7354141F, 2.057088F, 0.9765853F}},
};

struct pooling_golden {
    const char *architecture;
    uint32_t pooling; /* as in the file; 4: the score of a classification head */
    float tolerance;
    float values[MODEL_GOLDEN_VALUES];
};

static const struct pooling_golden pooling_golden[] = {
    {"bert",
     2,
     2e-4F,
     {-0.1111832F, 0.06208808F, -0.02847739F, -0.04033491F, 0.009840721F, -0.09938578F, 0.2223618F,
      0.1349421F, 0.02511983F, 0.2359661F, -0.1856965F, 0.07598344F}},
    {"bert",
     3,
     2e-4F,
     {-0.02916592F, -0.3195222F, -0.1062759F, 0.04235956F, -0.1014274F, 0.01706511F, 0.0424868F,
      0.1347212F, -0.02943655F, -0.07050674F, -0.02646807F, 0.04760912F}},
    {"bert", 4, 3e-4F, {-0.05730992F}},
};

#endif
