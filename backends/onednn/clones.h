/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inner loops, compiled once for each instruction set: one table of functions a clone, picked at init. A loop works
 * on a block of elements that lies in L1; `out` may be the same memory as an operand, never overlap it in part.
 */
#ifndef RUSHLIGHT_BACKENDS_ONEDNN_CLONES_H
#define RUSHLIGHT_BACKENDS_ONEDNN_CLONES_H

#include "rushlight/backend.h"

/* out[i] = f(a[i], b[i], c[i]) for i < n, in registers. Unused operands are not looked at. */
typedef void (*od_step_fn)(void *out, const void *a, const void *b, const void *c, int64_t n);

/* Registers x[r * cols + c] from or to strided memory; strides in bytes. */
typedef void (*od_load_fn)(void *out, const char *in, int64_t rows, int64_t cols, int64_t row_stride,
                           int64_t col_stride);
typedef void (*od_store_fn)(char *out, const void *in, int64_t rows, int64_t cols, int64_t row_stride,
                            int64_t col_stride);

/* What reduce has combined so far for one output: floats in double, integers in 64 bits that are cut at the end. */
typedef union od_accumulator {
    double f;
    int64_t i;
} od_accumulator;

/* Combines n values of one row into *acc; *position is the number of the best so far (ARGMAX, ARGMIN), `first` the
 * number of x[0]. The order of additions depends on n alone. */
typedef void (*od_combine_row_fn)(od_accumulator *acc, int64_t *position, const void *x, int64_t n, int64_t first);
/* The same for each of `cols` columns of x[r * pitch + c]: acc[c], position[c]. At most OD_COLUMN_ROWS rows. */
#define OD_COLUMN_ROWS 32
typedef void (*od_combine_columns_fn)(od_accumulator *acc, int64_t *position, const void *x, int64_t rows, int64_t cols,
                                      int64_t pitch, int64_t first);

/* One row of softmax in F32 registers. */
typedef struct od_row_kernels {
    float (*max)(const float *x, int64_t n); /* NaN wins */
    double (*exp_sum)(float *out, const float *x, float shift,
                      int64_t n); /* out = e^(x - shift); NULL: the sum alone */
    double (*dot)(const float *a, const float *b, int64_t n);
    double (*sum)(const float *a, int64_t n);
    void (*scale)(float *out, const float *x, float factor, int64_t n);                     /* x * factor */
    void (*shift)(float *out, const float *x, float shift, float log_sum, int64_t n);       /* (x - shift) - log_sum */
    void (*backward)(float *out, const float *g, const float *y, float sum, int64_t n);     /* y * (g - sum) */
    void (*backward_log)(float *out, const float *g, const float *y, float sum, int64_t n); /* g - e^y * sum */
    void (*exp_scale)(float *out, const float *x, float shift, float factor, int64_t n);    /* e^(x - shift) * factor */
    void (*add)(float *out, const float *x, int64_t n);                                     /* out + x */
} od_row_kernels;

/* Lines and columns of normalizations in F32 registers: clone_norm.h says what each does. Pitches in elements. */
typedef struct od_norm_kernels {
    double (*sum)(const float *x, int64_t n);
    double (*squares)(const float *x, float mean, int64_t n);
    void (*dots)(const float *g, const float *x, float mean, int64_t n, double *sums);
    void (*dots_weighted)(const float *g, const float *x, const float *w, float mean, float scale, int64_t n, float *gw,
                          float *gb, double *sums);
    void (*scale)(float *out, const float *x, float mean, float scale, float shift, int64_t n);
    void (*affine)(float *out, const float *x, float mean, float scale, const float *w, const float *b, int64_t n);
    void (*grad)(float *out, const float *g, const float *x, const float *w, float mean, float scale, float slope,
                 float shift, int64_t n);
    void (*columns_sum)(const float *x, int64_t pitch, int64_t rows, int64_t cols, double *sums);
    void (*columns_squares)(const float *x, int64_t pitch, int64_t rows, int64_t cols, const float *mean, double *sums);
    void (*columns_dots)(const float *g, int64_t g_pitch, const float *x, int64_t pitch, int64_t rows, int64_t cols,
                         const float *mean, double *sums, double *dots);
    void (*columns_scale)(float *out, const float *x, const float *mean, const float *scale, const float *shift,
                          int64_t cols);
    void (*columns_grad)(float *out, const float *g, const float *x, const float *mean, const float *scale,
                         const float *slope, const float *shift, int64_t cols);
} od_norm_kernels;

/* Tiles of attention: a panel is OD_PANEL queries side by side, one a lane. */
#define OD_PANEL 16
typedef struct od_tile_kernels {
    /* c (m, OD_PANEL) = a b, or with `add` c + a b: a (m, k) at a[i * ra + p * ca], b (k, OD_PANEL); rows of c and b
     * lie ldc and ldb apart. */
    void (*product)(float *c, int64_t ldc, const float *a, int64_t ra, int64_t ca, const float *b, int64_t ldb,
                    int64_t m, int64_t k, int add);
    /* Scores s (rows, OD_PANEL) to e^(s - max), after max and sum have taken them in; what was summed with the old max
     * is to be multiplied by factor. */
    void (*attend)(float *s, int64_t rows, float *max, float *sum, float *factor);
    void (*scale)(float *x, int64_t rows, const float *factor);                /* x (rows, OD_PANEL) *= factor */
    void (*weights)(float *s, int64_t ld, int64_t rows, const float *log_sum); /* s = e^(s - log_sum) */
    void (*gradient)(float *dp, const float *p, int64_t ld, int64_t rows, const float *sum,
                     float scale); /* dp = scale p (dp - sum) */
    /* out (width, OD_PANEL) = the transpose of in (n, width) times scale, 0 beyond n; and back, times factor. */
    void (*to_panel)(float *out, const float *in, int64_t stride, int64_t n, int64_t width, float scale);
    void (*from_panel)(float *out, int64_t stride, const float *in, int64_t n, int64_t width, const float *factor);
} od_tile_kernels;

/* c[i * ldc + j] += sum over p of a[i * ra + p * ca] * b[p * ldb + j]; strides in elements; c is in registers. */
typedef void (*od_small_matmul_fn)(void *c, const void *a, const void *b, int64_t m, int64_t n, int64_t k, int64_t ra,
                                   int64_t ca, int64_t ldb, int64_t ldc);

/* Recurrent layers, in F32. The weight is packed: for each strip of OD_RNN_STRIP rows, for each `panel` of columns, the
 * strip's rows of the panel; columns beyond the last are zero. */
#define OD_RNN_STRIP 128
typedef struct od_rnn_kernels {
    int64_t panel; /* columns */
    /* c (rows, panels panel) += a (rows, k) packed (k, panels panel). */
    void (*product)(float *c, const float *a, const float *packed, int64_t rows, int64_t panels, int64_t k, int64_t ldc,
                    int64_t lda);
    void (*add)(float *out, const float *a, const float *b, int64_t n);
    /* One row of a cell, of n units: what they do stands in clone_rnn.h. */
    void (*lstm)(float *u, float *c, float *h, int64_t n);
    void (*gru)(float *u, const float *x, float *h, int64_t n);
    void (*plain[2])(float *h, const float *u, int64_t n); /* tanh, relu */
    void (*lstm_backward)(float *du, const float *e, float *dc, const float *u, const float *before, const float *c,
                          int64_t n);
    void (*gru_backward)(float *du, float *ds, float *e, const float *u, const float *before, int64_t n);
    void (*plain_backward[2])(float *du, const float *e, const float *h, int64_t n);
} od_rnn_kernels;

/* Pooling of one plane of depth, rows and columns, or of several that lie side by side (clone_pool.h). */
typedef struct od_pool_plane {
    int64_t in[3], out[3], kernel[3], stride[3], padding[3], dilation[3]; /* as rl_pool_window's, always three */
    int64_t divisor, channels; /* channels > 1: they lie side by side, else columns do */
    int64_t strides[3][3];     /* forward: of in, out; backward: of grad_out, in, grad_in; in elements */
    int64_t width;             /* columns with what windows see beyond them */
    int64_t first, end;        /* forward: rows of the output, counted over depth and rows */
    int is_max, count_padding;
    int tiled; /* windows lie side by side and cover the input */
} od_pool_plane;
/* What a plane needs of `room`, in elements: rows with what vectors may look at behind them. */
#define OD_POOL_ROWS 8
#define OD_POOL_SLACK 16
static inline int64_t od_pool_room(const od_pool_plane *p) {
    const int64_t rows = p->kernel[0] * p->kernel[1] < OD_POOL_ROWS ? p->kernel[0] * p->kernel[1] : OD_POOL_ROWS;
    const int64_t one = 2 * p->width + 3 * p->out[2], all = rows * (p->width + OD_POOL_SLACK);
    return p->channels > 1 ? 2 * p->channels : one > all ? one : all;
}
typedef struct od_pool_kernels {
    void (*forward)(const od_pool_plane *p, const void *in, void *out, void *room);
    void (*backward)(const od_pool_plane *p, const void *grad_out, const void *in, void *grad_in, void *room);
} od_pool_kernels;

typedef struct od_kernels {
    const char *name;                   /* "avx2" */
    od_step_fn step[RL_INSN_COUNT][4];  /* by instruction and rl_reg; NULL where there is no such instruction */
    od_step_fn cast[4][RL_DTYPE_COUNT]; /* by the operand's rl_reg and the rl_dtype */
    od_load_fn load[RL_DTYPE_COUNT];    /* into the dtype's register */
    od_store_fn store[RL_DTYPE_COUNT];  /* from the dtype's register, which holds a value of the dtype */
    od_load_fn move[4];                 /* elements of 1, 2, 4, 8 bytes as they are, into a packed block */
    /* Whole elements past the caches, and the fence that other threads need to see them. */
    void (*stream)(char *out, const char *in, int64_t bytes);
    void (*stream_end)(void);
    void (*fill[4])(void *out, rl_number value, int64_t n);
    void (*iota)(int64_t *out, int64_t start, int64_t rows, int64_t cols, int64_t row_stride, int64_t col_stride);
    od_combine_row_fn combine_row[6][4]; /* by rl_combiner and rl_reg */
    od_combine_columns_fn combine_columns[6][4];
    od_row_kernels row;
    od_norm_kernels norm;
    od_tile_kernels tile;
    od_small_matmul_fn small_matmul[4];
    od_rnn_kernels rnn;
    od_pool_kernels pool[2]; /* by rl_reg: F32, F64 */
} od_kernels;

extern const od_kernels od_kernels_baseline;
#ifdef OD_X86_CLONES
extern const od_kernels od_kernels_avx2, od_kernels_avx512;
#endif

/* The clone for this machine: the best that it can run, or the one that RUSHLIGHT_ONEDNN_ISA names (baseline, avx2,
 * avx512). NULL, with *out_reason, where that name is unknown or the machine lacks it. */
const od_kernels *od_pick_kernels(const char **out_reason);

/* The register that holds values of a dtype. */
static inline rl_reg od_register(rl_dtype dtype) {
    switch (dtype) {
    case RL_F32:
    case RL_F16:
    case RL_BF16:
        return RL_REG_F32;
    case RL_F64:
        return RL_REG_F64;
    case RL_I64:
        return RL_REG_I64;
    default:
        return RL_REG_I32;
    }
}
static inline int64_t od_register_bytes(rl_reg reg) {
    return reg == RL_REG_F64 || reg == RL_REG_I64 ? 8 : 4;
}
static inline int64_t od_dtype_bytes(rl_dtype dtype) {
    static const uint8_t bytes[RL_DTYPE_COUNT] = {0, 4, 8, 2, 2, 1, 1, 2, 4, 8, 1};
    return bytes[dtype];
}
/* True where memory of the dtype is a register as it stands. */
static inline int od_is_native(rl_dtype dtype) {
    return dtype == RL_F32 || dtype == RL_F64 || dtype == RL_I32 || dtype == RL_I64;
}

#endif
