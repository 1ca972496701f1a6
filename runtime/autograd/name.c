/* SPDX-License-Identifier: Apache-2.0 */
/* Names of nodes, as PyTorch prints them: the op's words in capitals, "Backward", and the number of the overload. */
#include <ctype.h>
#include <pthread.h>
#include <string.h>

#include "autograd/graph.h"

#define ROOM 56
static char names[RL_OPCODE_COUNT][ROOM];

/* "log1p" becomes "Log1P", as by Python's str.title: what follows no letter is a capital. */
static void write_name(char *out, const char *op) {
    const char *end = out + ROOM - sizeof "Backward0";
    bool letter = false;
    for (; *op && out < end; op++) {
        if (*op != '_')
            *out++ = (char)(letter ? tolower((unsigned char)*op) : toupper((unsigned char)*op));
        letter = isalpha((unsigned char)*op);
    }
    strcpy(out, "Backward0");
}

/* Ops whose name in PyTorch is another one. */
static const struct {
    int opcode;
    const char *name;
} others[] = {{RL_OPCODE_cast, "ToCopyBackward0"},       {RL_OPCODE_copy_to, "ToCopyBackward0"},
              {RL_OPCODE_copy_, "CopyBackwards"},        {RL_OPCODE_window, "AsStridedBackward0"},
              {RL_OPCODE_max_dim, "MaxBackward0"},       {RL_OPCODE_max, "MaxBackward1"},
              {RL_OPCODE_min_dim, "MinBackward0"},       {RL_OPCODE_min, "MinBackward1"},
              {RL_OPCODE_median_dim, "MedianBackward1"}, {RL_OPCODE_cross_entropy, "NllLossBackward0"},
              {RL_OPCODE_rpow, "PowBackward2"},          {RL_OPCODE_split_with_sizes, "SplitWithSizesBackward0"},
              {RL_OPCODE_rsub, "RsubBackward1"},         {RL_OPCODE_unstride, "AsStridedScatterBackward0"}};

static void make_names(void) {
    for (int i = 0; i < RL_OPCODE_COUNT; i++)
        write_name(names[i], rl_schema_table[i].name);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        strcpy(names[others[i].opcode], others[i].name);
}

/* Whether an optional argument, or a tensor rather than a number, is given: that chooses among overloads. */
static bool is_given(const rl_call *call, int arg) {
    return call->args[arg].kind != RL_VALUE_NONE;
}
static bool is_tensor(const rl_call *call, int arg) {
    return call->args[arg].kind == RL_VALUE_TENSOR;
}

const char *backward_name(const rl_call *call) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static _Atomic(bool) made;
    if (!atomic_load_explicit(&made, memory_order_acquire)) {
        pthread_once(&once, make_names);
        atomic_store_explicit(&made, true, memory_order_release);
    }
    switch (call->opcode) {
    case RL_OPCODE_sum:
        return is_given(call, 1) ? "SumBackward1" : "SumBackward0";
    case RL_OPCODE_mean:
        return is_given(call, 1) ? "MeanBackward1" : "MeanBackward0";
    case RL_OPCODE_prod:
        return is_given(call, 1) ? "ProdBackward1" : "ProdBackward0";
    case RL_OPCODE_pow:
        return is_tensor(call, 1) ? "PowBackward1" : "PowBackward0";
    case RL_OPCODE_squeeze:
        return is_given(call, 1) ? "SqueezeBackward1" : "SqueezeBackward0";
    case RL_OPCODE_fill_:
        return is_tensor(call, 1) ? "FillBackward1" : "FillBackward0";
    case RL_OPCODE_masked_fill:
        return is_tensor(call, 2) ? "MaskedFillBackward1" : "MaskedFillBackward0";
    case RL_OPCODE_linear: /* of a matrix, with a bias */
        if (call->args[0].as.tensor->ndim == 2)
            return is_tensor(call, 2) ? "AddmmBackward0" : "MmBackward0";
        return "LinearBackward0";
    default:
        return names[call->opcode];
    }
}
