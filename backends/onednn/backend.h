/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this backend share: handles, addresses, and the functions that fill the table. */
#ifndef RUSHLIGHT_BACKENDS_ONEDNN_BACKEND_H
#define RUSHLIGHT_BACKENDS_ONEDNN_BACKEND_H

#include "clones.h"
#include "kernels.h"
#include "pool.h"
#include "sizes.h"

struct rl_backend_buffer {
    rl_kernel_buffer memory; /* first, as the kernels of support/ want it */
    int owned;
};

/* An operand without elements may have no buffer: then the address is never used. */
static inline char *od_address(const rl_operand *operand) {
    static char nothing;
    return operand->buffer ? (char *)operand->buffer->memory.data + operand->offset : &nothing;
}

extern const od_kernels *od_chosen; /* the clone of the inner loops in use */
extern int64_t od_cache_bytes;      /* of the last-level cache */

rl_status od_map(rl_backend_stream *stream, const rl_map_args *args);
rl_status od_reduce(rl_backend_stream *stream, const rl_reduce_args *args);
rl_status od_matmul(rl_backend_stream *stream, const rl_matmul_args *args);
rl_status od_gather(rl_backend_stream *stream, const rl_gather_args *args);
rl_status od_scatter(rl_backend_stream *stream, const rl_scatter_args *args);
rl_status od_scan(rl_backend_stream *stream, const rl_scan_args *args);
rl_status od_sort(rl_backend_stream *stream, const rl_sort_args *args);

/* Fused rows: X(ROW, name) stands for the cell of od_supports_NAME and od_NAME. Best first where a row stands twice. */
#define OD_CELL_LIST(X)                                                                                                \
    X(SOFTMAX, softmax)                                                                                                \
    X(SOFTMAX_BACKWARD, softmax_backward)                                                                              \
    X(CONV, conv_forward)                                                                                              \
    X(CONV_GRAD_INPUT, conv_grad_input)                                                                                \
    X(CONV_GRAD_WEIGHT, conv_grad_weight)                                                                              \
    X(LINEAR, linear)                                                                                                  \
    X(NORM, norm)                                                                                                      \
    X(NORM_BACKWARD, norm_backward)                                                                                    \
    X(RNN, rnn)                                                                                                        \
    X(RNN_BACKWARD, rnn_backward)                                                                                      \
    X(POOL, pool)                                                                                                      \
    X(POOL_BACKWARD, pool_backward)                                                                                    \
    X(CROSS_ENTROPY, cross_entropy)                                                                                    \
    X(CROSS_ENTROPY_BACKWARD, cross_entropy_backward)                                                                  \
    X(ATTENTION, attention)                                                                                            \
    X(ATTENTION_BACKWARD, attention_backward)                                                                          \
    X(EMBEDDING_BACKWARD, embedding_backward)
#define OD_CELL_DECLARE(ROW, name)                                                                                     \
    int od_supports_##name(rl_backend_device *device, const void *args, const char **out_reason);                      \
    rl_status od_##name(rl_backend_stream *stream, const void *args);
OD_CELL_LIST(OD_CELL_DECLARE)
#undef OD_CELL_DECLARE

#endif
