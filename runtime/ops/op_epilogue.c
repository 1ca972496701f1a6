/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/op_epilogue.h"

#include <string.h>

static const char *const words[] = {"none", "relu", "gelu", "gelu_tanh"};

rl_status rl_read_activation(const rl_call *call, int arg, rl_activation *out) {
    *out = RL_ACTIVATION_NONE;
    if (*rl_arg_word(call, arg) == '\0')
        return RL_OK;
    for (uint32_t i = 0; i < sizeof words / sizeof *words; i++)
        if (rl_arg_is(call, arg, words[i])) {
            *out = (rl_activation)i;
            return RL_OK;
        }
    return rl_call_fail(call, RL_INVALID_ARGUMENT, "activation must be none, relu, gelu or gelu_tanh, got '%.40s'",
                        rl_arg_word(call, arg));
}

static void write_activation(rl_builder *b, uint32_t key) {
    rl_pw y = rl_key_input(b, key);
    switch (rl_key_variant(key)) {
    case RL_ACTIVATION_RELU:
        y = MAX(y, NUM(y, 0));
        break;
    default:
        y = rl_gelu_value(b, rl_key_variant(key) == RL_ACTIVATION_GELU_TANH, y);
    }
    rl_build_output(b, y, rl_key_out(key));
}

rl_status rl_activate(const rl_call *call, rl_tensor *y, rl_activation activation) {
    if (activation == RL_ACTIVATION_NONE)
        return RL_OK;
    uint32_t key = RL_KEY(y->dtype, rl_accumulator((rl_dtype)y->dtype), y->dtype, activation);
    const rl_program *program = rl_row_program(write_activation, key);
    return program ? rl_row_map(rl_call_name(call), program, &y, &y, NULL) : rl_error_status();
}

rl_status rl_row_with_activation(const rl_call *call, rl_row row, void *args, size_t args_size, uint32_t *activation,
                                 rl_tensor *const *operands, int64_t n_operands, bool *out_ran) {
    const char *op = rl_call_name(call);
    const rl_activation wanted = (rl_activation)*activation;
    rl_status status = rl_row_fused(op, row, args, args_size, operands, n_operands, out_ran);
    if (status != RL_OK || *out_ran || wanted == RL_ACTIVATION_NONE)
        return status;
    *activation = RL_ACTIVATION_NONE;
    status = rl_row_fused(op, row, args, args_size, operands, n_operands, out_ran);
    return status == RL_OK && *out_ran ? rl_activate(call, operands[n_operands - 1], wanted) : status;
}

rl_tensor *rl_vjp_before_activation(rl_vjp *v, int arg, rl_tensor *(*again)(rl_vjp *v)) {
    const char *word = rl_vjp_word(v, arg);
    rl_tensor *g = G;
    if (*word == '\0' || strcmp(word, "none") == 0)
        return g;
    if (strcmp(word, "relu") == 0)
        return rl_threshold_backward(g, Y, 0);
    return rl_gelu_backward(g, again(v), .approximate = strcmp(word, "gelu") == 0 ? "none" : "tanh");
}
