/* SPDX-License-Identifier: Apache-2.0 */
/* What the products of matrices share. Included by op_matmul.c and op_linear.c alone. */
#ifndef RUSHLIGHT_RUNTIME_OPS_OP_MATMUL_H
#define RUSHLIGHT_RUNTIME_OPS_OP_MATMUL_H

#include "ops/op_rows.h"

/* "a (..) and b (..) do not fit: ROWS and COLUMNS must be equal" */
rl_status rl_fail_product(const rl_call *call, int a, int b, int64_t rows, int64_t columns);
/* Devices and dtypes of args[first .. last] alike, and no bool. */
rl_status rl_check_factors(const rl_call *call, int first, int last);
/* c = alpha a b + beta c, where a vector stands for a row (a) or a column (b), and c lacks that dimension. */
rl_status rl_multiply(const rl_call *call, rl_tensor *a, rl_tensor *b, rl_tensor *c, double alpha, double beta);
/* (.., n) as one matrix (rows, n). */
rl_tensor *rl_as_rows(rl_tensor *x);

#endif
