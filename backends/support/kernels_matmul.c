/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Primitive 3, matmul. Blocks of a and b are packed into the accumulator's type, whatever their dtypes and strides, so
 * that one plain loop multiplies them all. f16, bf16 and f32 accumulate in float, f64 in double, integers unsigned in
 * the width of their register.
 */
#include <string.h>

#include "kernels_walk.h"

#define BLOCK 128 /* rows and columns of a block: three of floats are 192 KiB, a second-level cache's worth */

#define NAME multiply_f32
#define T float
#include "kernels_matmul.h"

#define NAME multiply_f64
#define T double
#include "kernels_matmul.h"

#define NAME multiply_i32
#define T uint32_t
#include "kernels_matmul.h"

#define NAME multiply_i64
#define T uint64_t
#include "kernels_matmul.h"

typedef void (*multiply_block)(int64_t rows, int64_t n, int64_t k, const void *a, const void *b, void *acc);
static const multiply_block multiply[] = {
    [RL_REG_F32] = multiply_f32, [RL_REG_F64] = multiply_f64, [RL_REG_I32] = multiply_i32, [RL_REG_I64] = multiply_i64};

typedef struct product {
    const rl_matmul_args *args;
    size_t bytes;             /* of an element */
    size_t width;             /* of a value of the accumulator */
    rl_reg reg;               /* the accumulator */
    unsigned char *a, *b, *c; /* this batch's matrices; c may be a copy */
    int64_t c_row, c_column;  /* its strides */
    void *block_a, *block_b, *acc;
} product;

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* A block of `from` (rows, columns) as rows of BLOCK values of the accumulator's type. Reads along the smaller stride:
 * a transposed block is read column by column, each a run in memory, and set out from there. */
static void pack(const product *self, const unsigned char *from, int64_t row, int64_t column, int64_t rows,
                 int64_t columns, char *to) {
    uint32_t dtype = self->args->dtype;
    if (row != 1 || column == 1) {
        for (int64_t i = 0; i < rows; i++)
            rl_interp_load(dtype, from + i * row * (int64_t)self->bytes, column, columns,
                           to + (size_t)i * BLOCK * self->width);
        return;
    }
    for (int64_t j = 0; j < columns; j++) {
        double line[BLOCK]; /* wide enough for any accumulator */
        rl_interp_load(dtype, from + j * column * (int64_t)self->bytes, 1, rows, line);
        for (int64_t i = 0; i < rows; i++)
            if (self->width == 4)
                memcpy(to + (i * BLOCK + j) * 4, (const char *)line + i * 4, 4);
            else
                memcpy(to + (i * BLOCK + j) * 8, (const char *)line + i * 8, 8);
    }
}

/* c = alpha acc + beta c for a run of a row, rounded once. */
static void store_row(const product *self, const char *acc, unsigned char *c, int64_t count) {
    const rl_matmul_args *args = self->args;
    union {
        double f[BLOCK];
        int64_t i[BLOCK];
    } sum, old = {{0}};
    if (args->alpha == 1 && args->beta == 0) {
        rl_interp_store(args->dtype, c, self->c_column, count, self->reg, acc);
        return;
    }
    int is_float = self->reg == RL_REG_F32 || self->reg == RL_REG_F64;
    double loaded[BLOCK];
    rl_interp_store(is_float ? RL_F64 : RL_I64, &sum, 1, count, self->reg, acc);
    if (args->beta != 0) {
        rl_interp_load(args->dtype, c, self->c_column, count, loaded);
        rl_interp_store(is_float ? RL_F64 : RL_I64, &old, 1, count, self->reg, loaded);
    }
    for (int64_t j = 0; j < count; j++) {
        if (is_float)
            sum.f[j] = args->alpha * sum.f[j] + (args->beta != 0 ? args->beta * old.f[j] : 0);
        else
            sum.i[j] = (int64_t)((uint64_t)(int64_t)args->alpha * (uint64_t)sum.i[j] +
                                 (args->beta != 0 ? (uint64_t)(int64_t)args->beta * (uint64_t)old.i[j] : 0));
    }
    if (self->reg == RL_REG_I32) /* wraps in the register before it becomes a bool */
        for (int64_t j = 0; j < count; j++)
            sum.i[j] = (int32_t)sum.i[j];
    rl_interp_store(args->dtype, c, self->c_column, count, is_float ? RL_REG_F64 : RL_REG_I64, &sum);
}

/* The block of c that begins at row i0 and column j0. */
static void product_block(const product *self, int64_t i0, int64_t j0) {
    const rl_matmul_args *args = self->args;
    int64_t rows = least(args->m - i0, BLOCK), columns = least(args->n - j0, BLOCK), nb = args->batch_ndim;
    const int64_t *sa = args->a.stride + nb, *sb = args->b.stride + nb;
    memset(self->acc, 0, (size_t)rows * BLOCK * self->width);
    for (int64_t p = 0; p < args->k; p += BLOCK) {
        int64_t depth = least(args->k - p, BLOCK);
        pack(self, self->a + (i0 * sa[0] + p * sa[1]) * (int64_t)self->bytes, sa[0], sa[1], rows, depth, self->block_a);
        pack(self, self->b + (p * sb[0] + j0 * sb[1]) * (int64_t)self->bytes, sb[0], sb[1], depth, columns,
             self->block_b);
        multiply[self->reg](rows, columns, depth, self->block_a, self->block_b, self->acc);
    }
    for (int64_t i = 0; i < rows; i++)
        store_row(self, (const char *)self->acc + (size_t)i * BLOCK * self->width,
                  self->c + ((i0 + i) * self->c_row + j0 * self->c_column) * (int64_t)self->bytes, columns);
}

static void move_matrix(const product *self, unsigned char *to, int64_t to_row, int64_t to_column,
                        const unsigned char *from, int64_t row, int64_t column) {
    for (int64_t i = 0; i < self->args->m; i++)
        for (int64_t j = 0; j < self->args->n; j++)
            memcpy(to + (i * to_row + j * to_column) * (int64_t)self->bytes,
                   from + (i * row + j * column) * (int64_t)self->bytes, self->bytes);
}

/* One matrix of the batch. `copy` is where c is made while it lies over a or b; NULL where it does not. */
static void product_matrix(product *self, unsigned char *copy) {
    const rl_matmul_args *args = self->args;
    const int64_t *sc = args->c.stride + args->batch_ndim;
    unsigned char *c = self->c;
    self->c_row = copy ? args->n : sc[0];
    self->c_column = copy ? 1 : sc[1];
    if (copy) {
        self->c = copy;
        move_matrix(self, copy, args->n, 1, c, sc[0], sc[1]);
    }
    for (int64_t i0 = 0; i0 < args->m; i0 += BLOCK)
        for (int64_t j0 = 0; j0 < args->n; j0 += BLOCK)
            product_block(self, i0, j0);
    if (copy)
        move_matrix(self, c, sc[0], sc[1], copy, args->n, 1);
}

rl_status rl_kernel_matmul(const rl_host *host, const rl_matmul_args *args) {
    rl_status status = rl_check_kernel_dtype(host, "matmul", args->dtype);
    if (status)
        return status;
    if (args->m == 0 || args->n == 0 || rl_numel(args->batch_ndim, args->batch_shape) == 0)
        return RL_OK;
    product self = {.args = args, .bytes = rl_interp_dtype_bytes(args->dtype)};
    self.reg = rl_interp_dtype_reg(args->dtype);
    self.width = self.reg == RL_REG_F64 || self.reg == RL_REG_I64 ? 8 : 4;
    size_t block = (size_t)BLOCK * BLOCK * self.width;
    int aliased = rl_same_place(&args->c, &args->a) || rl_same_place(&args->c, &args->b);
    size_t copied = aliased ? (size_t)args->m * (size_t)args->n * self.bytes : 0;
    char *memory = rl_scratch(host, 3 * block + copied, "matmul");
    if (!memory)
        return RL_OUT_OF_MEMORY;
    self.block_a = memory;
    self.block_b = memory + block;
    self.acc = memory + 2 * block;
    int64_t index[RL_MAX_DIMS] = {0};
    do {
        self.a = rl_at(&args->a, self.bytes, args->batch_ndim, index, 0);
        self.b = rl_at(&args->b, self.bytes, args->batch_ndim, index, 0);
        self.c = rl_at(&args->c, self.bytes, args->batch_ndim, index, 0);
        product_matrix(&self, aliased ? (unsigned char *)memory + 3 * block : NULL);
    } while (rl_next_index(args->batch_ndim, args->batch_shape, 0, index));
    return RL_OK;
}
