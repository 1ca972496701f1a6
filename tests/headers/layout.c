/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layout of every struct of backend.h, and every number in it that plugins are built with: layout.txt is what it
 * printed when the version of the ABI was made. It may grow at its end, and in no other way.
 */
#include <stdio.h>

#include "rushlight/backend.h"

#define SIZE(type) printf("%s: %zu bytes\n", #type, sizeof(type))
#define FIELD(type, name) printf("  %zu %s: %zu\n", offsetof(type, name), #name, sizeof(((type *)0)->name))

#define NUMBER(name, number, ...) printf("  %d %s\n", (int)(number), #name);

static void structs(void) {
    SIZE(rl_insn);
    FIELD(rl_insn, code);
    FIELD(rl_insn, type);
    FIELD(rl_insn, dtype);
    FIELD(rl_insn, a);
    FIELD(rl_insn, b);
    FIELD(rl_insn, c);
    FIELD(rl_insn, imm);
    SIZE(rl_number);
    FIELD(rl_number, f);
    FIELD(rl_number, i);
    SIZE(rl_program);
    FIELD(rl_program, size);
    FIELD(rl_program, flags);
    FIELD(rl_program, index);
    FIELD(rl_program, n_inputs);
    FIELD(rl_program, n_outputs);
    FIELD(rl_program, n_scalars);
    FIELD(rl_program, n_insns);
    FIELD(rl_program, input_dtype);
    FIELD(rl_program, output_dtype);
    FIELD(rl_program, output_value);
    FIELD(rl_program, insns);
    FIELD(rl_program, hash);
    SIZE(rl_operand);
    FIELD(rl_operand, buffer);
    FIELD(rl_operand, offset);
    FIELD(rl_operand, stride);
    SIZE(rl_map_job);
    FIELD(rl_map_job, ndim);
    FIELD(rl_map_job, shape);
    FIELD(rl_map_job, inputs);
    FIELD(rl_map_job, outputs);
    FIELD(rl_map_job, scalars);
    SIZE(rl_map_args);
    FIELD(rl_map_args, size);
    FIELD(rl_map_args, n_jobs);
    FIELD(rl_map_args, program);
    FIELD(rl_map_args, jobs);
    SIZE(rl_reduce_args);
    FIELD(rl_reduce_args, size);
    FIELD(rl_reduce_args, reduced);
    FIELD(rl_reduce_args, ndim);
    FIELD(rl_reduce_args, shape);
    FIELD(rl_reduce_args, prologue);
    FIELD(rl_reduce_args, epilogue);
    FIELD(rl_reduce_args, combiner);
    FIELD(rl_reduce_args, inputs);
    FIELD(rl_reduce_args, outputs);
    FIELD(rl_reduce_args, scalars);
    FIELD(rl_reduce_args, epilogue_scalars);
    SIZE(rl_matmul_args);
    FIELD(rl_matmul_args, size);
    FIELD(rl_matmul_args, dtype);
    FIELD(rl_matmul_args, batch_ndim);
    FIELD(rl_matmul_args, batch_shape);
    FIELD(rl_matmul_args, m);
    FIELD(rl_matmul_args, n);
    FIELD(rl_matmul_args, k);
    FIELD(rl_matmul_args, alpha);
    FIELD(rl_matmul_args, beta);
    FIELD(rl_matmul_args, a);
    FIELD(rl_matmul_args, b);
    FIELD(rl_matmul_args, c);
    SIZE(rl_gather_args);
    FIELD(rl_gather_args, size);
    FIELD(rl_gather_args, dtype);
    FIELD(rl_gather_args, index_dtype);
    FIELD(rl_gather_args, dim);
    FIELD(rl_gather_args, ndim);
    FIELD(rl_gather_args, shape);
    FIELD(rl_gather_args, dim_size);
    FIELD(rl_gather_args, in);
    FIELD(rl_gather_args, index);
    FIELD(rl_gather_args, out);
    SIZE(rl_scatter_args);
    FIELD(rl_scatter_args, size);
    FIELD(rl_scatter_args, dtype);
    FIELD(rl_scatter_args, index_dtype);
    FIELD(rl_scatter_args, dim);
    FIELD(rl_scatter_args, ndim);
    FIELD(rl_scatter_args, shape);
    FIELD(rl_scatter_args, dim_size);
    FIELD(rl_scatter_args, mode);
    FIELD(rl_scatter_args, reserved);
    FIELD(rl_scatter_args, in);
    FIELD(rl_scatter_args, index);
    FIELD(rl_scatter_args, out);
    SIZE(rl_scan_args);
    FIELD(rl_scan_args, size);
    FIELD(rl_scan_args, dtype);
    FIELD(rl_scan_args, op);
    FIELD(rl_scan_args, dim);
    FIELD(rl_scan_args, ndim);
    FIELD(rl_scan_args, shape);
    FIELD(rl_scan_args, has_indices);
    FIELD(rl_scan_args, reserved);
    FIELD(rl_scan_args, in);
    FIELD(rl_scan_args, out);
    FIELD(rl_scan_args, indices);
    SIZE(rl_sort_args);
    FIELD(rl_sort_args, size);
    FIELD(rl_sort_args, dtype);
    FIELD(rl_sort_args, dim);
    FIELD(rl_sort_args, descending);
    FIELD(rl_sort_args, ndim);
    FIELD(rl_sort_args, shape);
    FIELD(rl_sort_args, in);
    FIELD(rl_sort_args, values);
    FIELD(rl_sort_args, indices);
    SIZE(rl_softmax_args);
    FIELD(rl_softmax_args, size);
    FIELD(rl_softmax_args, dtype);
    FIELD(rl_softmax_args, dim);
    FIELD(rl_softmax_args, log);
    FIELD(rl_softmax_args, ndim);
    FIELD(rl_softmax_args, shape);
    FIELD(rl_softmax_args, in);
    FIELD(rl_softmax_args, out);
    SIZE(rl_softmax_backward_args);
    FIELD(rl_softmax_backward_args, size);
    FIELD(rl_softmax_backward_args, dtype);
    FIELD(rl_softmax_backward_args, dim);
    FIELD(rl_softmax_backward_args, log);
    FIELD(rl_softmax_backward_args, ndim);
    FIELD(rl_softmax_backward_args, shape);
    FIELD(rl_softmax_backward_args, grad_out);
    FIELD(rl_softmax_backward_args, out);
    FIELD(rl_softmax_backward_args, grad_in);
    SIZE(rl_conv_args);
    FIELD(rl_conv_args, size);
    FIELD(rl_conv_args, dtype);
    FIELD(rl_conv_args, activation);
    FIELD(rl_conv_args, reserved);
    FIELD(rl_conv_args, spatial);
    FIELD(rl_conv_args, batch);
    FIELD(rl_conv_args, in_channels);
    FIELD(rl_conv_args, out_channels);
    FIELD(rl_conv_args, groups);
    FIELD(rl_conv_args, in_size);
    FIELD(rl_conv_args, out_size);
    FIELD(rl_conv_args, kernel);
    FIELD(rl_conv_args, stride);
    FIELD(rl_conv_args, padding);
    FIELD(rl_conv_args, dilation);
    FIELD(rl_conv_args, a);
    FIELD(rl_conv_args, b);
    FIELD(rl_conv_args, bias);
    FIELD(rl_conv_args, out);
    FIELD(rl_conv_args, weight_stamp);
    SIZE(rl_pool_window);
    FIELD(rl_pool_window, spatial);
    FIELD(rl_pool_window, batch);
    FIELD(rl_pool_window, channels);
    FIELD(rl_pool_window, in_size);
    FIELD(rl_pool_window, out_size);
    FIELD(rl_pool_window, kernel);
    FIELD(rl_pool_window, stride);
    FIELD(rl_pool_window, padding);
    FIELD(rl_pool_window, dilation);
    FIELD(rl_pool_window, divisor);
    FIELD(rl_pool_window, kind);
    FIELD(rl_pool_window, count_padding);
    SIZE(rl_pool_args);
    FIELD(rl_pool_args, size);
    FIELD(rl_pool_args, dtype);
    FIELD(rl_pool_args, window);
    FIELD(rl_pool_args, in);
    FIELD(rl_pool_args, out);
    SIZE(rl_pool_backward_args);
    FIELD(rl_pool_backward_args, size);
    FIELD(rl_pool_backward_args, dtype);
    FIELD(rl_pool_backward_args, window);
    FIELD(rl_pool_backward_args, grad_out);
    FIELD(rl_pool_backward_args, in);
    FIELD(rl_pool_backward_args, grad_in);
    SIZE(rl_norm_args);
    FIELD(rl_norm_args, size);
    FIELD(rl_norm_args, dtype);
    FIELD(rl_norm_args, param_dtype);
    FIELD(rl_norm_args, stat_dtype);
    FIELD(rl_norm_args, normalized);
    FIELD(rl_norm_args, affine);
    FIELD(rl_norm_args, center);
    FIELD(rl_norm_args, reserved);
    FIELD(rl_norm_args, ndim);
    FIELD(rl_norm_args, shape);
    FIELD(rl_norm_args, eps);
    FIELD(rl_norm_args, in);
    FIELD(rl_norm_args, weight);
    FIELD(rl_norm_args, bias);
    FIELD(rl_norm_args, out);
    FIELD(rl_norm_args, mean);
    FIELD(rl_norm_args, var);
    SIZE(rl_norm_backward_args);
    FIELD(rl_norm_backward_args, size);
    FIELD(rl_norm_backward_args, dtype);
    FIELD(rl_norm_backward_args, param_dtype);
    FIELD(rl_norm_backward_args, stat_dtype);
    FIELD(rl_norm_backward_args, normalized);
    FIELD(rl_norm_backward_args, affine);
    FIELD(rl_norm_backward_args, center);
    FIELD(rl_norm_backward_args, reserved);
    FIELD(rl_norm_backward_args, ndim);
    FIELD(rl_norm_backward_args, shape);
    FIELD(rl_norm_backward_args, eps);
    FIELD(rl_norm_backward_args, grad_out);
    FIELD(rl_norm_backward_args, in);
    FIELD(rl_norm_backward_args, weight);
    FIELD(rl_norm_backward_args, mean);
    FIELD(rl_norm_backward_args, var);
    FIELD(rl_norm_backward_args, grad_in);
    FIELD(rl_norm_backward_args, grad_weight);
    FIELD(rl_norm_backward_args, grad_bias);
    SIZE(rl_cross_entropy_args);
    FIELD(rl_cross_entropy_args, size);
    FIELD(rl_cross_entropy_args, dtype);
    FIELD(rl_cross_entropy_args, index_dtype);
    FIELD(rl_cross_entropy_args, stat_dtype);
    FIELD(rl_cross_entropy_args, rows);
    FIELD(rl_cross_entropy_args, classes);
    FIELD(rl_cross_entropy_args, ignore_index);
    FIELD(rl_cross_entropy_args, logits);
    FIELD(rl_cross_entropy_args, target);
    FIELD(rl_cross_entropy_args, loss);
    FIELD(rl_cross_entropy_args, log_sum);
    SIZE(rl_cross_entropy_backward_args);
    FIELD(rl_cross_entropy_backward_args, size);
    FIELD(rl_cross_entropy_backward_args, dtype);
    FIELD(rl_cross_entropy_backward_args, index_dtype);
    FIELD(rl_cross_entropy_backward_args, stat_dtype);
    FIELD(rl_cross_entropy_backward_args, rows);
    FIELD(rl_cross_entropy_backward_args, classes);
    FIELD(rl_cross_entropy_backward_args, ignore_index);
    FIELD(rl_cross_entropy_backward_args, grad_loss);
    FIELD(rl_cross_entropy_backward_args, logits);
    FIELD(rl_cross_entropy_backward_args, target);
    FIELD(rl_cross_entropy_backward_args, log_sum);
    FIELD(rl_cross_entropy_backward_args, grad_logits);
    SIZE(rl_attention_args);
    FIELD(rl_attention_args, size);
    FIELD(rl_attention_args, dtype);
    FIELD(rl_attention_args, mask_dtype);
    FIELD(rl_attention_args, causal);
    FIELD(rl_attention_args, batch);
    FIELD(rl_attention_args, heads);
    FIELD(rl_attention_args, q_length);
    FIELD(rl_attention_args, k_length);
    FIELD(rl_attention_args, width);
    FIELD(rl_attention_args, value_width);
    FIELD(rl_attention_args, scale);
    FIELD(rl_attention_args, q);
    FIELD(rl_attention_args, k);
    FIELD(rl_attention_args, v);
    FIELD(rl_attention_args, mask);
    FIELD(rl_attention_args, out);
    FIELD(rl_attention_args, log_sum);
    SIZE(rl_attention_backward_args);
    FIELD(rl_attention_backward_args, size);
    FIELD(rl_attention_backward_args, dtype);
    FIELD(rl_attention_backward_args, mask_dtype);
    FIELD(rl_attention_backward_args, causal);
    FIELD(rl_attention_backward_args, batch);
    FIELD(rl_attention_backward_args, heads);
    FIELD(rl_attention_backward_args, q_length);
    FIELD(rl_attention_backward_args, k_length);
    FIELD(rl_attention_backward_args, width);
    FIELD(rl_attention_backward_args, value_width);
    FIELD(rl_attention_backward_args, scale);
    FIELD(rl_attention_backward_args, grad_out);
    FIELD(rl_attention_backward_args, q);
    FIELD(rl_attention_backward_args, k);
    FIELD(rl_attention_backward_args, v);
    FIELD(rl_attention_backward_args, mask);
    FIELD(rl_attention_backward_args, out);
    FIELD(rl_attention_backward_args, log_sum);
    FIELD(rl_attention_backward_args, grad_q);
    FIELD(rl_attention_backward_args, grad_k);
    FIELD(rl_attention_backward_args, grad_v);
    SIZE(rl_embedding_backward_args);
    FIELD(rl_embedding_backward_args, size);
    FIELD(rl_embedding_backward_args, dtype);
    FIELD(rl_embedding_backward_args, index_dtype);
    FIELD(rl_embedding_backward_args, reserved);
    FIELD(rl_embedding_backward_args, count);
    FIELD(rl_embedding_backward_args, rows);
    FIELD(rl_embedding_backward_args, width);
    FIELD(rl_embedding_backward_args, padding_index);
    FIELD(rl_embedding_backward_args, grad_out);
    FIELD(rl_embedding_backward_args, index);
    FIELD(rl_embedding_backward_args, out);
    SIZE(rl_rnn_args);
    FIELD(rl_rnn_args, size);
    FIELD(rl_rnn_args, dtype);
    FIELD(rl_rnn_args, cell);
    FIELD(rl_rnn_args, reverse);
    FIELD(rl_rnn_args, steps);
    FIELD(rl_rnn_args, batch);
    FIELD(rl_rnn_args, hidden);
    FIELD(rl_rnn_args, gates);
    FIELD(rl_rnn_args, weight);
    FIELD(rl_rnn_args, bias);
    FIELD(rl_rnn_args, h0);
    FIELD(rl_rnn_args, c0);
    FIELD(rl_rnn_args, h);
    FIELD(rl_rnn_args, c);
    FIELD(rl_rnn_args, reserve);
    SIZE(rl_rnn_backward_args);
    FIELD(rl_rnn_backward_args, size);
    FIELD(rl_rnn_backward_args, dtype);
    FIELD(rl_rnn_backward_args, cell);
    FIELD(rl_rnn_backward_args, reverse);
    FIELD(rl_rnn_backward_args, steps);
    FIELD(rl_rnn_backward_args, batch);
    FIELD(rl_rnn_backward_args, hidden);
    FIELD(rl_rnn_backward_args, grad_h);
    FIELD(rl_rnn_backward_args, grad_c);
    FIELD(rl_rnn_backward_args, weight);
    FIELD(rl_rnn_backward_args, h0);
    FIELD(rl_rnn_backward_args, c0);
    FIELD(rl_rnn_backward_args, h);
    FIELD(rl_rnn_backward_args, c);
    FIELD(rl_rnn_backward_args, reserve);
    FIELD(rl_rnn_backward_args, grad_gates);
    FIELD(rl_rnn_backward_args, grad_state_gates);
    FIELD(rl_rnn_backward_args, grad_h0);
    FIELD(rl_rnn_backward_args, grad_c0);
    SIZE(rl_linear_args);
    FIELD(rl_linear_args, size);
    FIELD(rl_linear_args, dtype);
    FIELD(rl_linear_args, activation);
    FIELD(rl_linear_args, reserved);
    FIELD(rl_linear_args, rows);
    FIELD(rl_linear_args, in_features);
    FIELD(rl_linear_args, out_features);
    FIELD(rl_linear_args, in);
    FIELD(rl_linear_args, weight);
    FIELD(rl_linear_args, bias);
    FIELD(rl_linear_args, out);
    SIZE(rl_fused_cell);
    FIELD(rl_fused_cell, row);
    FIELD(rl_fused_cell, reserved);
    FIELD(rl_fused_cell, supports);
    FIELD(rl_fused_cell, run);
    SIZE(rl_host);
    FIELD(rl_host, size);
    FIELD(rl_host, abi);
    FIELD(rl_host, fail);
    FIELD(rl_host, log);
    FIELD(rl_host, thread_count);
    FIELD(rl_host, scratch);
    FIELD(rl_host, cache_get);
    FIELD(rl_host, cache_put);
    SIZE(rl_device_info);
    FIELD(rl_device_info, size);
    FIELD(rl_device_info, flags);
    FIELD(rl_device_info, name);
    FIELD(rl_device_info, driver);
    FIELD(rl_device_info, memory_total);
    FIELD(rl_device_info, memory_free);
    FIELD(rl_device_info, compute_units);
    FIELD(rl_device_info, alignment);
    SIZE(rl_backend);
    FIELD(rl_backend, size);
    FIELD(rl_backend, abi);
    FIELD(rl_backend, name);
    FIELD(rl_backend, version);
    FIELD(rl_backend, summary);
    FIELD(rl_backend, rank);
    FIELD(rl_backend, flags);
    FIELD(rl_backend, insn_mask);
    FIELD(rl_backend, init);
    FIELD(rl_backend, shutdown);
    FIELD(rl_backend, device_count);
    FIELD(rl_backend, device_info);
    FIELD(rl_backend, device_open);
    FIELD(rl_backend, device_close);
    FIELD(rl_backend, mem_alloc);
    FIELD(rl_backend, mem_free);
    FIELD(rl_backend, mem_wrap);
    FIELD(rl_backend, mem_map);
    FIELD(rl_backend, copy_in);
    FIELD(rl_backend, copy_out);
    FIELD(rl_backend, copy);
    FIELD(rl_backend, stream_create);
    FIELD(rl_backend, stream_destroy);
    FIELD(rl_backend, stream_sync);
    FIELD(rl_backend, event_create);
    FIELD(rl_backend, event_destroy);
    FIELD(rl_backend, event_record);
    FIELD(rl_backend, stream_wait);
    FIELD(rl_backend, event_done);
    FIELD(rl_backend, event_sync);
    FIELD(rl_backend, map);
    FIELD(rl_backend, reduce);
    FIELD(rl_backend, matmul);
    FIELD(rl_backend, gather);
    FIELD(rl_backend, scatter);
    FIELD(rl_backend, scan);
    FIELD(rl_backend, sort);
    FIELD(rl_backend, fused);
    FIELD(rl_backend, n_fused);
    FIELD(rl_backend, reserved);
    FIELD(rl_backend, extension);
    FIELD(rl_backend, after_fork);
}

static void numbers(void) {
    printf("rl_status\n");
    RL_STATUS_LIST(NUMBER)
    printf("rl_dtype\n");
    RL_DTYPE_LIST(NUMBER)
    printf("rl_insn_code, up to %d in the base set\n", (int)RL_INSN_BASE_END);
    RL_INSN_LIST(NUMBER)
    printf("rl_row\n");
    RL_ROW_LIST(NUMBER)
#define ONE(name) printf("%s: %lld\n", #name, (long long)(name));
    ONE(RL_ABI_VERSION)
    ONE(RL_MAX_DIMS)
    ONE(RL_MAX_INPUTS)
    ONE(RL_MAX_OUTPUTS)
    ONE(RL_MAX_SCALARS)
    ONE(RL_MAX_INSNS)
    ONE(RL_MAX_COMBINED)
    ONE(RL_PROGRAM_INDEX)
    ONE(RL_PROGRAM_RANDOM)
    ONE(RL_DEVICE_CPU)
    ONE(RL_DEVICE_F64)
    ONE(RL_DEVICE_UNIFIED)
    ONE(RL_DEVICE_NATIVE_F16)
    ONE(RL_DEVICE_NATIVE_BF16)
    ONE(RL_MEMORY_DEVICE)
    ONE(RL_MEMORY_HOST)
    ONE(RL_BACKEND_HOST_MEMORY)
    ONE(RL_BACKEND_SYNCHRONOUS)
    ONE(RL_BACKEND_CONCURRENT)
    ONE(RL_REG_F32)
    ONE(RL_REG_F64)
    ONE(RL_REG_I32)
    ONE(RL_REG_I64)
    ONE(RL_COMBINE_SUM)
    ONE(RL_COMBINE_PROD)
    ONE(RL_COMBINE_MAX)
    ONE(RL_COMBINE_MIN)
    ONE(RL_COMBINE_ARGMAX)
    ONE(RL_COMBINE_ARGMIN)
    ONE(RL_SCATTER_SET)
    ONE(RL_SCATTER_ADD)
    ONE(RL_SCATTER_MUL)
    ONE(RL_SCATTER_MAX)
    ONE(RL_SCATTER_MIN)
    ONE(RL_SCAN_SUM)
    ONE(RL_SCAN_PROD)
    ONE(RL_SCAN_MAX)
    ONE(RL_SCAN_MIN)
    ONE(RL_SCAN_LOGSUMEXP)
    ONE(RL_LOG_ERROR)
    ONE(RL_LOG_WARNING)
    ONE(RL_LOG_INFO)
    ONE(RL_LOG_DEBUG)
    ONE(RL_ACTIVATION_NONE)
    ONE(RL_ACTIVATION_RELU)
    ONE(RL_ACTIVATION_GELU)
    ONE(RL_ACTIVATION_GELU_TANH)
    ONE(RL_POOL_MAX)
    ONE(RL_POOL_AVERAGE)
    ONE(RL_RNN_LSTM)
    ONE(RL_RNN_GRU)
    ONE(RL_RNN_TANH)
    ONE(RL_RNN_RELU)
}

int main(void) {
    structs();
    numbers();
    return 0;
}
