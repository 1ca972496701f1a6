/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Primitive 3: matmul. Products of f32 go to oneDNN's sgemm block by block: the blocks of c are cut by its shape, each
 * is computed whole by one thread, so that no sum depends on the number of threads. Operands that sgemm cannot take as
 * they lie are packed first; f16 and bf16 are packed as f32. Small products, f64 and integers have loops of their own.
 */
#include <math.h>
#include <oneapi/dnnl/dnnl.h>
#include <string.h>

#include "library.h"
#include "space.h"

#define SMALL 1024     /* m * n * k up to which a call of the library costs more than it gains */
#define ROW_BLOCK 1024 /* columns of c that one row of sums holds */

typedef struct matrix { /* strides in elements */
    char *base;
    int64_t row, col;
} matrix;

typedef struct product {
    const rl_matmul_args *args;
    rl_dtype dtype;
    rl_reg reg;
    int64_t bytes; /* of a stored element */
    int64_t m, n, k;
    matrix a, b, c; /* of the batch's first */
    od_space batch; /* offsets of a, b, c in bytes */
    int64_t block_m, block_n, blocks_m, blocks_n;
    int pack_a, pack_b, buffer_c; /* in registers: a, b packed, c gathered before it is written */
    int respace_a, respace_b;     /* lines of a, b moved apart: see collides */
    od_gemm *gemm[2][2];          /* half floats: prepared for inner and last blocks of rows and columns */
    char *scratch;                /* of all threads */
    size_t packed_a, packed_b, buffered_c, gemm_scratch, per_thread;
    const float *bias; /* linear's, of n elements, or NULL; and whether ReLU follows */
    int64_t bias_step;
    int relu;
    _Atomic(int) status;
} product;

/* c = alpha * sum + beta * c for a row of sums in registers -------------------------------------------------------- */

#define WRITE_FLOATS(T, sums, values)                                                                                  \
    for (int64_t j = 0; j < n; j++)                                                                                    \
        (sums)[j] = reads ? (T)alpha * (sums)[j] + (T)beta * (values)[j] : (T)alpha * (sums)[j];
#define WRITE_INTEGERS(U, T, sums, values)                                                                             \
    for (int64_t j = 0; j < n; j++)                                                                                    \
        (sums)[j] = reads ? (U)(T)alpha * (sums)[j] + (U)(T)beta * (values)[j] : (U)(T)alpha * (sums)[j];

static void write_row(const product *self, char *c, void *sums, int64_t n) {
    const double alpha = self->args->alpha, beta = self->args->beta;
    const int64_t stride = self->c.col * self->bytes;
    const int reads = beta != 0.0;
    union {
        float f32[ROW_BLOCK];
        double f64[ROW_BLOCK];
        uint32_t i32[ROW_BLOCK];
        uint64_t i64[ROW_BLOCK];
    } old;
    if (alpha != 1.0 || reads) {
        if (reads)
            od_chosen->load[self->dtype](&old, c, 1, n, 0, stride);
        switch (self->reg) {
        case RL_REG_F32:
            WRITE_FLOATS(float, (float *)sums, old.f32) break;
        case RL_REG_F64:
            WRITE_FLOATS(double, (double *)sums, old.f64) break;
        case RL_REG_I32:
            WRITE_INTEGERS(uint32_t, int32_t, (uint32_t *)sums, old.i32) break;
        default:
            WRITE_INTEGERS(uint64_t, int64_t, (uint64_t *)sums, old.i64) break;
        }
    }
    if (self->dtype == RL_BOOL)
        od_chosen->cast[RL_REG_I32][RL_BOOL](sums, sums, NULL, NULL, n);
    od_chosen->store[self->dtype](c, sums, 1, n, 0, stride);
}

/* Linear's end, while the block is in the cache. Columns of c are next to each other. */
static void finish_block(const product *self, const matrix *c, int64_t column, int64_t m, int64_t n) {
    for (int64_t i = 0; i < m && self->bias != NULL; i++) {
        float *row = (float *)(void *)c->base + i * c->row;
        const float *bias = self->bias + column * self->bias_step;
        if (self->bias_step == 1)
            for (int64_t j = 0; j < n; j++)
                row[j] += bias[j];
        else
            for (int64_t j = 0; j < n; j++)
                row[j] += bias[j * self->bias_step];
    }
    for (int64_t i = 0; i < m && self->relu; i++) {
        float *row = (float *)(void *)c->base + i * c->row;
        for (int64_t j = 0; j < n; j++)
            row[j] = row[j] < 0.0f ? 0.0f : row[j];
    }
}

/* Small products: rows of sums on the stack ------------------------------------------------------------------------ */

#define DOT(T, A)                                                                                                      \
    static T dot_##T(const char *a, const char *b, int64_t k, int64_t sa, int64_t sb) {                                \
        A sum = 0;                                                                                                     \
        for (int64_t p = 0; p < k; p++)                                                                                \
            sum += (A)((const T *)(const void *)a)[p * sa] * (A)((const T *)(const void *)b)[p * sb];                  \
        return (T)sum;                                                                                                 \
    }
DOT(float, float)
DOT(double, double)
DOT(uint32_t, uint32_t)
DOT(uint64_t, uint64_t)

static void sum_row(rl_reg reg, void *sums, const char *a, const char *b, int64_t n, int64_t k, int64_t ca, int64_t rb,
                    int64_t cb) {
    if (cb == 1 && n >= 4) {
        memset(sums, 0, (size_t)(n * od_register_bytes(reg)));
        od_chosen->small_matmul[reg](sums, a, b, 1, n, k, 0, ca, rb, 0);
        return;
    }
    for (int64_t j = 0; j < n; j++)
        switch (reg) {
        case RL_REG_F32:
            ((float *)sums)[j] = dot_float(a, b + 4 * j * cb, k, ca, rb);
            break;
        case RL_REG_F64:
            ((double *)sums)[j] = dot_double(a, b + 8 * j * cb, k, ca, rb);
            break;
        case RL_REG_I32:
            ((uint32_t *)sums)[j] = dot_uint32_t(a, b + 4 * j * cb, k, ca, rb);
            break;
        default:
            ((uint64_t *)sums)[j] = dot_uint64_t(a, b + 8 * j * cb, k, ca, rb);
            break;
        }
}

static void small_product(const product *self, const char *a, const char *b, char *c) {
    _Alignas(64) char sums[ROW_BLOCK * 8];
    for (int64_t j = 0; j < self->n; j += ROW_BLOCK) {
        const int64_t n = od_at_most(ROW_BLOCK, self->n - j);
        for (int64_t i = 0; i < self->m; i++) {
            sum_row(self->reg, sums, a + i * self->a.row * self->bytes, b + j * self->b.col * self->bytes, n, self->k,
                    self->a.col, self->b.row, self->b.col);
            write_row(self, c + (i * self->c.row + j * self->c.col) * self->bytes, sums, n);
        }
    }
}

/* Blocks ----------------------------------------------------------------------------------------------------------- */

/* A matrix as sgemm takes it: rows (or columns: 'T') of elements next to each other. */
typedef struct layout {
    char transposed;
    int64_t leading;
} layout;

/* Leading 0: it cannot. */
static layout layout_of(const matrix *x, int64_t rows, int64_t cols) {
    if ((x->col == 1 || cols == 1) && (x->row >= cols || rows == 1))
        return (layout){'N', rows == 1 ? cols : x->row};
    if ((x->row == 1 || rows == 1) && (x->col >= rows || cols == 1))
        return (layout){'T', cols == 1 ? rows : x->col};
    return (layout){'N', 0};
}
static int has_layout(const matrix *x, int64_t rows, int64_t cols) {
    return layout_of(x, rows, cols).leading != 0;
}

/* Loads a block of a matrix as a packed one in registers, or as it is for the primitive. */
static matrix pack(const product *self, const matrix *x, const char *base, int64_t rows, int64_t cols, char *to) {
    if (self->gemm[0][0] != NULL)
        od_chosen->move[1](to, base, rows, cols, x->row * self->bytes, x->col * self->bytes);
    else
        od_chosen->load[self->dtype](to, base, rows, cols, x->row * self->bytes, x->col * self->bytes);
    return (matrix){to, cols, 1};
}

/*
 * sgemm for processors without AVX-512 reads operands where they lie, several lines side by side. Lines that are a
 * multiple of 2 KiB apart push each other out of the first-level cache (a product of 1024 took twice the time), so
 * those are copied with room between them where enough rows or columns of the other operand share the copy.
 */
#define COLLISION 512 /* floats */
#define SHARED 32

static int collides(const matrix *x, int64_t rows, int64_t cols, char orientation) {
    const layout l = layout_of(x, rows, cols);
    return l.transposed == orientation && l.leading % COLLISION == 0 && l.leading > 0;
}
static int64_t spaced(int64_t line) {
    const int64_t whole = (line + 15) / 16 * 16;
    return whole % COLLISION == 0 ? whole + 16 : whole;
}
static matrix respace(const matrix *x, const char *base, int64_t rows, int64_t cols, char *to) {
    const int transposed = layout_of(x, rows, cols).transposed == 'T';
    const int64_t lines = transposed ? cols : rows, line = transposed ? rows : cols, space = spaced(line);
    const int64_t step = transposed ? x->col : x->row;
    for (int64_t i = 0; i < lines; i++)
        memcpy(to + i * space * (int64_t)sizeof(float), base + i * step * (int64_t)sizeof(float),
               (size_t)line * sizeof(float));
    return transposed ? (matrix){to, 1, space} : (matrix){to, space, 1};
}

static rl_status library_block(const matrix *a, const matrix *b, const matrix *c, int64_t m, int64_t n, int64_t k,
                               float alpha, float beta) {
    const layout la = layout_of(a, m, k), lb = layout_of(b, k, n), lc = layout_of(c, m, n);
    dnnl_status_t status;
    if (lc.transposed == 'N')
        status =
            dnnl_sgemm(la.transposed, lb.transposed, m, n, k, alpha, (const float *)(const void *)a->base, la.leading,
                       (const float *)(const void *)b->base, lb.leading, beta, (float *)(void *)c->base, lc.leading);
    else /* c' = b' a' */
        status = dnnl_sgemm(lb.transposed == 'N' ? 'T' : 'N', la.transposed == 'N' ? 'T' : 'N', n, m, k, alpha,
                            (const float *)(const void *)b->base, lb.leading, (const float *)(const void *)a->base,
                            la.leading, beta, (float *)(void *)c->base, lc.leading);
    return status == dnnl_success ? RL_OK : status == dnnl_out_of_memory ? RL_OUT_OF_MEMORY : RL_INTERNAL;
}

/* f64 and integers: strips of b that stay in the first-level cache while all rows of c take their part. */
static void loop_block(rl_reg reg, const matrix *a, const matrix *b, char *c, int64_t m, int64_t n, int64_t k) {
    const int64_t bytes = od_register_bytes(reg), fit = 16384 / (n * bytes) / 4 * 4, strip = fit > 4 ? fit : 4;
    memset(c, 0, (size_t)(m * n * bytes));
    for (int64_t p = 0; p < k; p += strip)
        od_chosen->small_matmul[reg](c, a->base + p * a->col * bytes, b->base + p * b->row * bytes, m, n,
                                     od_at_most(strip, k - p), a->row, a->col, b->row, n);
}

static void run_block(void *context, int thread, int64_t unit) {
    product *self = context;
    const int64_t bj = unit % self->blocks_n, bi = unit / self->blocks_n % self->blocks_m,
                  batch = unit / self->blocks_n / self->blocks_m;
    const int64_t i = bi * self->block_m, j = bj * self->block_n;
    const int64_t m = od_at_most(self->block_m, self->m - i), n = od_at_most(self->block_n, self->n - j);
    const od_space *s = &self->batch;
    char *scratch = self->scratch + (size_t)thread * self->per_thread;
    matrix a = self->a, b = self->b, c = self->c;
    a.base += od_space_offset(s, 1, s->ndim, batch) + i * a.row * self->bytes;
    b.base += od_space_offset(s, 2, s->ndim, batch) + j * b.col * self->bytes;
    c.base += od_space_offset(s, 0, s->ndim, batch) + (i * c.row + j * c.col) * self->bytes;
    if (self->pack_a)
        a = pack(self, &a, a.base, m, self->k, scratch);
    else if (self->respace_a)
        a = respace(&a, a.base, m, self->k, scratch);
    if (self->pack_b)
        b = pack(self, &b, b.base, self->k, n, scratch + self->packed_a);
    else if (self->respace_b)
        b = respace(&b, b.base, self->k, n, scratch + self->packed_a);
    char *sums = scratch + self->packed_a + self->packed_b;
    const matrix to = self->buffer_c ? (matrix){sums, n, 1} : c;
    if (self->gemm[0][0] != NULL) {
        od_gemm *gemm = self->gemm[bi == self->blocks_m - 1][bj == self->blocks_n - 1];
        const rl_status status = od_gemm_run(gemm, a.base, b.base, to.base, sums + self->buffered_c);
        if (status != RL_OK)
            self->status = status;
    } else if (self->reg == RL_REG_F32) {
        const od_library_state saved = od_library_begin();
        const int direct = !self->buffer_c;
        const rl_status status = library_block(&a, &b, &to, m, n, self->k, direct ? (float)self->args->alpha : 1.0f,
                                               direct ? (float)self->args->beta : 0.0f);
        od_library_end(&saved);
        if (status != RL_OK)
            self->status = status;
    } else {
        loop_block(self->reg, &a, &b, sums, m, n, self->k);
    }
    finish_block(self, &to, j, m, n);
    for (int64_t r = 0; r < m && self->buffer_c; r++)
        for (int64_t q = 0; q < n; q += ROW_BLOCK)
            write_row(self, c.base + (r * c.row + q * c.col) * self->bytes,
                      sums + (r * n + q) * od_register_bytes(self->reg), od_at_most(ROW_BLOCK, n - q));
}

/*
 * Blocks by shape alone: the library's bits depend on the block. Two of them as soon as each is worth a thread, four
 * for 16 million multiplications, more for hundreds of millions. Blocks of at least 64 rows and 128 columns cost some 2
 * to 13 percent over the whole, narrower ones up to three times as much, since each block packs its operands anew.
 */
static double worth_cutting(int64_t units) {
    return units < 2 ? 250e3 : units < 4 ? 16e6 : units < 64 ? 300e6 : INFINITY;
}
static int64_t half_of(int64_t edge) {
    return (edge / 2 + 15) / 16 * 16;
}
static void cut(product *self) {
    int64_t *m = &self->block_m, *n = &self->block_n;
    *m = self->reg == RL_REG_F32 ? self->m : od_at_most(self->m, 64);
    *n = self->reg == RL_REG_F32 ? self->n : od_at_most(self->n, 128);
    for (;;) {
        const int64_t units = self->batch.count * od_parts(self->m, *m) * od_parts(self->n, *n);
        if ((double)*m * (double)*n * (double)self->k < worth_cutting(units))
            break;
        if (*n >= 256 && *n > *m)
            *n = half_of(*n);
        else if (*m >= 128 || (units < 2 && *m >= 64))
            *m = half_of(*m);
        else if (*n >= 256 || (units < 2 && *n >= 64))
            *n = half_of(*n);
        else
            break;
    }
    self->blocks_m = od_parts(self->m, *m);
    self->blocks_n = od_parts(self->n, *n);
}

/* Strides that the library takes for dimensions of one element too. */
static matrix regular(const matrix *x, int64_t rows, int64_t cols, int packed) {
    const layout l = layout_of(x, rows, cols);
    return packed                ? (matrix){NULL, cols, 1}
           : l.transposed == 'N' ? (matrix){NULL, l.leading, 1}
                                 : (matrix){NULL, 1, l.leading};
}

static void give_halves(od_gemm *gemm[2][2]) {
    for (int i = 0; i < 4; i++)
        od_gemm_give(gemm[i / 2][i % 2]);
}

/* Prepares the primitives of all blocks; leaves the product to sgemm where one of them cannot be had. */
static void prepare_halves(product *self) {
    const double alpha = self->args->alpha, beta = self->args->beta;
    const int pack_a = !has_layout(&self->a, self->m, self->k), pack_b = !has_layout(&self->b, self->k, self->n);
    const layout lc = layout_of(&self->c, self->m, self->n);
    const int wide = alpha != 1.0 || beta != 0.0 || lc.leading == 0 || lc.transposed != 'N';
    const int64_t last_m = self->m - (self->blocks_m - 1) * self->block_m;
    const int64_t last_n = self->n - (self->blocks_n - 1) * self->block_n;
    od_gemm *gemm[2][2] = {{NULL, NULL}, {NULL, NULL}};
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 2; j++) {
            const int64_t m = i ? last_m : self->block_m, n = j ? last_n : self->block_n;
            const matrix a = regular(&self->a, m, self->k, pack_a), b = regular(&self->b, self->k, n, pack_b);
            const od_gemm_shape shape = {.m = m,
                                         .n = n,
                                         .k = self->k,
                                         .a_row = a.row,
                                         .a_col = a.col,
                                         .b_row = b.row,
                                         .b_col = b.col,
                                         .c_row = wide     ? n
                                                  : m == 1 ? n
                                                           : self->c.row,
                                         .dtype = (int32_t)self->dtype,
                                         .wide = wide};
            gemm[i][j] = od_gemm_take(&shape);
            if (gemm[i][j] == NULL) {
                give_halves(gemm);
                return;
            }
            const size_t scratch = od_gemm_scratch(gemm[i][j]);
            self->gemm_scratch = scratch > self->gemm_scratch ? scratch : self->gemm_scratch;
        }
    memcpy(self->gemm, gemm, sizeof gemm);
    self->pack_a = pack_a;
    self->pack_b = pack_b;
    self->buffer_c = wide;
}

static void choose_copies(product *self) {
    const int loops = self->reg != RL_REG_F32, foreign = !od_is_native(self->dtype);
    self->pack_a = foreign || (!loops && !has_layout(&self->a, self->m, self->k));
    /* For the loops always: rows far apart by a power of two would push each other out of the cache. */
    self->pack_b = foreign || loops || !has_layout(&self->b, self->k, self->n);
    self->buffer_c = loops || foreign || !has_layout(&self->c, self->m, self->n);
    if (od_gemm_takes(self->dtype))
        prepare_halves(self);
    const int reads_in_place = !loops && self->gemm[0][0] == NULL && !od_sgemm_copies();
    self->respace_a =
        reads_in_place && !self->pack_a && self->block_n >= SHARED && collides(&self->a, self->block_m, self->k, 'T');
    self->respace_b =
        reads_in_place && !self->pack_b && self->block_m >= SHARED && collides(&self->b, self->k, self->block_n, 'N');
    const int64_t bytes = od_register_bytes(self->reg);
    self->packed_a = self->pack_a      ? od_lines((size_t)(self->block_m * self->k * bytes))
                     : self->respace_a ? od_lines((size_t)(spaced(self->block_m) * self->k * bytes))
                                       : 0;
    self->packed_b = self->pack_b      ? od_lines((size_t)(self->k * self->block_n * bytes))
                     : self->respace_b ? od_lines((size_t)(self->k * spaced(self->block_n) * bytes))
                                       : 0;
    self->buffered_c = self->buffer_c ? od_lines((size_t)(self->block_m * self->block_n * bytes)) : 0;
    self->per_thread = self->packed_a + self->packed_b + self->buffered_c + od_lines(self->gemm_scratch);
}

static rl_status run_blocks(product *self) {
    const int64_t units = self->batch.count * self->blocks_m * self->blocks_n;
    const double work = (double)self->batch.count * (double)self->m * (double)self->n * (double)self->k;
    const int threads = od_threads(units, work / (self->reg == RL_REG_F32 ? 25.0 : 5.0));
    if (self->per_thread > 0) {
        const size_t wanted = (size_t)threads * self->per_thread;
        self->scratch = od_host->scratch(wanted);
        if (self->scratch == NULL)
            return od_host->fail(RL_OUT_OF_MEMORY, "onednn: matmul: no scratch memory of %zu bytes", wanted);
    }
    od_run(threads, units, run_block, self);
    const int status = self->status;
    if (status != RL_OK)
        return od_host->fail((rl_status)status,
                             "onednn: matmul: oneDNN failed at a product of (%lld, %lld) and (%lld, %lld)",
                             (long long)self->m, (long long)self->k, (long long)self->k, (long long)self->n);
    return RL_OK;
}

static rl_status big_product(product *self) {
    cut(self);
    choose_copies(self);
    const rl_status status = run_blocks(self);
    give_halves(self->gemm);
    return status;
}

static void run_small(void *context, int thread, int64_t batch) {
    const product *self = context;
    const od_space *s = &self->batch;
    (void)thread;
    small_product(self, self->a.base + od_space_offset(s, 1, s->ndim, batch),
                  self->b.base + od_space_offset(s, 2, s->ndim, batch),
                  self->c.base + od_space_offset(s, 0, s->ndim, batch));
    finish_block(self, &self->c, 0, self->m, self->n);
}

/* With k = 0 only beta * c is left. */
static void scale_only(const product *self) {
    _Alignas(64) char sums[ROW_BLOCK * 8];
    for (int64_t batch = 0; batch < self->batch.count; batch++)
        for (int64_t i = 0; i < self->m; i++)
            for (int64_t j = 0; j < self->n; j += ROW_BLOCK) {
                char *c = self->c.base + od_space_offset(&self->batch, 0, self->batch.ndim, batch) +
                          (i * self->c.row + j * self->c.col) * self->bytes;
                memset(sums, 0, sizeof sums);
                write_row(self, c, sums, od_at_most(ROW_BLOCK, self->n - j));
            }
}

/* `linear`, or NULL: what the product ends with. */
static rl_status multiply(const rl_matmul_args *args, const rl_linear_args *linear) {
    const rl_dtype dtype = (rl_dtype)args->dtype;
    product self = {.args = args,
                    .dtype = dtype,
                    .reg = od_register(dtype),
                    .bytes = od_dtype_bytes(dtype),
                    .m = args->m,
                    .n = args->n,
                    .k = args->k};
    if (linear != NULL) {
        self.bias = linear->bias.buffer ? (const float *)(const void *)od_address(&linear->bias) : NULL;
        self.bias_step = linear->bias.stride[0];
        self.relu = linear->activation == RL_ACTIVATION_RELU;
    }
    const int64_t d = args->batch_ndim;
    self.a = (matrix){od_address(&args->a), args->a.stride[d], args->a.stride[d + 1]};
    self.b = (matrix){od_address(&args->b), args->b.stride[d], args->b.stride[d + 1]};
    self.c = (matrix){od_address(&args->c), args->c.stride[d], args->c.stride[d + 1]};
    od_space_init(&self.batch, d, args->batch_shape, ~0u);
    od_space_add(&self.batch, args->c.stride, self.bytes);
    od_space_add(&self.batch, args->a.stride, self.bytes);
    od_space_add(&self.batch, args->b.stride, self.bytes);
    od_space_finish(&self.batch, 1);
    if (self.m == 0 || self.n == 0 || self.batch.count == 0)
        return RL_OK;
    if (self.k == 0) {
        scale_only(&self);
        finish_block(&self, &self.c, 0, self.m, self.n);
        return RL_OK;
    }
    const double size = (double)self.m * (double)self.n * (double)self.k;
    if (size <= SMALL && od_is_native(dtype)) {
        od_run(od_threads(self.batch.count, size * (double)self.batch.count / 4.0), self.batch.count, run_small, &self);
        return RL_OK;
    }
    return big_product(&self);
}

rl_status od_matmul(rl_backend_stream *stream, const rl_matmul_args *args) {
    (void)stream;
    return multiply(args, NULL);
}

/* Fused row: linear, a product and its end. */
rl_status od_linear(rl_backend_stream *stream, const void *what) {
    const rl_linear_args *args = what;
    (void)stream;
    rl_matmul_args plain = {.size = sizeof plain,
                            .dtype = args->dtype,
                            .m = args->rows,
                            .n = args->out_features,
                            .k = args->in_features,
                            .alpha = 1.0,
                            .a = args->in,
                            .b = args->weight,
                            .c = args->out};
    plain.b.stride[0] = args->weight.stride[1];
    plain.b.stride[1] = args->weight.stride[0];
    return multiply(&plain, args);
}

int od_supports_linear(rl_backend_device *device, const void *what, const char **out_reason) {
    const rl_linear_args *args = what;
    (void)device;
    if (args->dtype != RL_F32)
        *out_reason = "linear is for float32; others are a product and a map";
    else if (args->activation != RL_ACTIVATION_NONE && args->activation != RL_ACTIVATION_RELU)
        *out_reason = "no other activation than relu is part of it";
    else if (args->out.stride[1] != 1)
        *out_reason = "the result's rows must be packed";
    else
        return 1;
    return 0;
}
