/* SPDX-License-Identifier: Apache-2.0 */
/* Part of clone.c: conversions of stored elements, and the loops between strided memory and blocks. */

static inline float half_to_float(uint16_t h) {
    float f = float32((uint32_t)(h & 0x7fffu) << 13) * 0x1p112f; /* rebias; subnormals come out right */
    uint32_t u = bits32(f) | (f >= 65536.0f ? 0x7f800000u : 0u);
    return float32(u | (uint32_t)(h & 0x8000u) << 16);
}
static inline uint16_t float_to_half(float x) {
    uint32_t sign = bits32(x) >> 16 & 0x8000u, u = bits32(x) & 0x7fffffffu;
    uint32_t normal = (u + 0xc8000fffu + (u >> 13 & 1u)) >> 13;
    uint32_t small = bits32(float32(u) + 0.5f) - 0x3f000000u; /* the addition rounds at 2^-24 */
    uint32_t h = u < 0x38800000u ? small : normal;
    h = u >= 0x47800000u ? 0x7c00u : h;
    h = u > 0x7f800000u ? 0x7e00u : h;
    return (uint16_t)(h | sign);
}
static inline float brain_to_float(uint16_t h) {
    return float32((uint32_t)h << 16);
}
static inline uint16_t float_to_brain(float x) {
    uint32_t u = bits32(x), nan = (u & 0x7fffffffu) > 0x7f800000u;
    uint32_t rounded = u + 0x7fffu + (u >> 16 & 1u);
    return (uint16_t)((nan ? u | 0x400000u : rounded) >> 16);
}
/* x as a float whose last bit says whether anything was lost: rounding that to half the bits rounds x itself. */
static inline float round_to_odd(double x) {
    float f = (float)x;
    double back = f;
    uint32_t u = bits32(f);
    uint32_t away = __builtin_fabs(back) > __builtin_fabs(x) && u << 1 != 0; /* one step toward zero then */
    u -= away;
    u |= back != x && x == x ? 1u : 0u;
    return float32(u);
}
static inline double odd_double(int64_t x) {
    int64_t sticky = (x & ~(int64_t)0xfff) | ((x & 0xfff) != 0 ? 0x1000 : 0);
    int64_t size = x < 0 ? ~x : x;
    return (double)(size >> 53 ? sticky : x);
}

/* One row with a stride of its own, and a whole box. The first branch is the usual one: memory packed as the block. */
#define LOAD(name, S, R, convert, convert_row)                                                                         \
    static void load_##name(void *out, const char *in, int64_t rows, int64_t cols, int64_t row_stride,                 \
                            int64_t col_stride) {                                                                      \
        R *o = out;                                                                                                    \
        if (col_stride == (int64_t)sizeof(S) && row_stride == cols * (int64_t)sizeof(S))                               \
            cols *= rows, rows = 1;                                                                                    \
        if (rows > 1 && (row_stride < 0 ? -row_stride : row_stride) < (col_stride < 0 ? -col_stride : col_stride)) {   \
            for (int64_t c = 0; c < cols; c++)                                                                         \
                for (int64_t r = 0; r < rows; r++)                                                                     \
                    o[r * cols + c] = convert(*(const S *)(in + r * row_stride + c * col_stride));                     \
            return;                                                                                                    \
        }                                                                                                              \
        for (int64_t r = 0; r < rows; r++, o += cols, in += row_stride) {                                              \
            if (col_stride == (int64_t)sizeof(S)) {                                                                    \
                convert_row(o, (const S *)in, cols);                                                                   \
            } else if (col_stride == 0) {                                                                              \
                const R x = convert(*(const S *)in);                                                                   \
                SIMD for (int64_t c = 0; c < cols; c++) o[c] = x;                                                      \
            } else {                                                                                                   \
                for (int64_t c = 0; c < cols; c++)                                                                     \
                    o[c] = convert(*(const S *)(in + c * col_stride));                                                 \
            }                                                                                                          \
        }                                                                                                              \
    }
#define STORE(name, R, S, convert, convert_row)                                                                        \
    static void store_##name(char *out, const void *in, int64_t rows, int64_t cols, int64_t row_stride,                \
                             int64_t col_stride) {                                                                     \
        const R *x = in;                                                                                               \
        if (col_stride == (int64_t)sizeof(S) && row_stride == cols * (int64_t)sizeof(S))                               \
            cols *= rows, rows = 1;                                                                                    \
        for (int64_t r = 0; r < rows; r++, x += cols, out += row_stride) {                                             \
            if (col_stride == (int64_t)sizeof(S)) {                                                                    \
                convert_row((S *)out, x, cols);                                                                        \
            } else {                                                                                                   \
                for (int64_t c = 0; c < cols; c++)                                                                     \
                    *(S *)(out + c * col_stride) = convert(x[c]);                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }
#define CONVERT_ROW(name, S, R, convert)                                                                               \
    static inline void name(R *out, const S *in, int64_t n) {                                                          \
        SIMD for (int64_t i = 0; i < n; i++) out[i] = convert(in[i]);                                                  \
    }

#define AS_IS(x) (x)
CONVERT_ROW(row_32, uint32_t, uint32_t, AS_IS)
CONVERT_ROW(row_64, uint64_t, uint64_t, AS_IS)
CONVERT_ROW(row_8, uint8_t, uint8_t, AS_IS)
CONVERT_ROW(row_16, uint16_t, uint16_t, AS_IS)
CONVERT_ROW(row_from_i8, int8_t, int32_t, (int32_t))
CONVERT_ROW(row_from_u8, uint8_t, int32_t, (int32_t))
CONVERT_ROW(row_from_i16, int16_t, int32_t, (int32_t))
CONVERT_ROW(row_to_i8, int32_t, int8_t, (int8_t))
CONVERT_ROW(row_to_i16, int32_t, int16_t, (int16_t))
CONVERT_ROW(row_from_brain, uint16_t, float, brain_to_float)
CONVERT_ROW(row_to_brain, float, uint16_t, float_to_brain)
#ifdef __F16C__
static inline void row_from_half(float *out, const uint16_t *in, int64_t n) {
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(in + i))));
    for (; i < n; i++)
        out[i] = half_to_float(in[i]);
}
static inline void row_to_half(uint16_t *out, const float *in, int64_t n) {
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(out + i), _mm256_cvtps_ph(_mm256_loadu_ps(in + i), 0));
    for (; i < n; i++)
        out[i] = float_to_half(in[i]);
}
#else
CONVERT_ROW(row_from_half, uint16_t, float, half_to_float)
CONVERT_ROW(row_to_half, float, uint16_t, float_to_half)
#endif

LOAD(plain_32, uint32_t, uint32_t, AS_IS, row_32)
LOAD(64, uint64_t, uint64_t, AS_IS, row_64)
LOAD(8, uint8_t, uint8_t, AS_IS, row_8)
LOAD(16, uint16_t, uint16_t, AS_IS, row_16)
LOAD(f16, uint16_t, float, half_to_float, row_from_half)
LOAD(bf16, uint16_t, float, brain_to_float, row_from_brain)
LOAD(i8, int8_t, int32_t, (int32_t), row_from_i8)
LOAD(u8, uint8_t, int32_t, (int32_t), row_from_u8)
LOAD(i16, int16_t, int32_t, (int32_t), row_from_i16)
STORE(plain_32, uint32_t, uint32_t, AS_IS, row_32)
STORE(64, uint64_t, uint64_t, AS_IS, row_64)
STORE(f16, float, uint16_t, float_to_half, row_to_half)
STORE(bf16, float, uint16_t, float_to_brain, row_to_brain)
STORE(i8, int32_t, int8_t, (int8_t), row_to_i8)
STORE(i16, int32_t, int16_t, (int16_t), row_to_i16)

/* Elements of 4 bytes whose rows lie side by side in memory while the block has its columns so: squares of 8 are turned
 * in registers. */
#ifdef __AVX2__
#define TURN_LANES 8
static inline void turn_square(char *to, int64_t to_step, const char *from, int64_t from_step) {
    __m256 a[8], b[8];
    PRAGMA_(GCC unroll 8)
    for (int k = 0; k < 8; k++)
        a[k] = _mm256_loadu_ps((const float *)(const void *)(from + k * from_step));
    PRAGMA_(GCC unroll 4)
    for (int k = 0; k < 8; k += 2) {
        b[k] = _mm256_unpacklo_ps(a[k], a[k + 1]);
        b[k + 1] = _mm256_unpackhi_ps(a[k], a[k + 1]);
    }
    PRAGMA_(GCC unroll 2)
    for (int k = 0; k < 8; k += 4) {
        a[k] = _mm256_shuffle_ps(b[k], b[k + 2], 0x44);
        a[k + 1] = _mm256_shuffle_ps(b[k], b[k + 2], 0xee);
        a[k + 2] = _mm256_shuffle_ps(b[k + 1], b[k + 3], 0x44);
        a[k + 3] = _mm256_shuffle_ps(b[k + 1], b[k + 3], 0xee);
    }
    PRAGMA_(GCC unroll 4)
    for (int k = 0; k < 4; k++) {
        _mm256_storeu_ps((float *)(void *)(to + k * to_step), _mm256_permute2f128_ps(a[k], a[k + 4], 0x20));
        _mm256_storeu_ps((float *)(void *)(to + (k + 4) * to_step), _mm256_permute2f128_ps(a[k], a[k + 4], 0x31));
    }
}
#else
#define TURN_LANES 4
static inline void turn_square(char *to, int64_t to_step, const char *from, int64_t from_step) {
    for (int k = 0; k < 4; k++)
        for (int j = 0; j < 4; j++)
            memcpy(to + k * to_step + j * 4, from + j * from_step + k * 4, 4);
}
#endif

/* to[r][c] = from[c][r] for rows and columns that a step apart lie side by side in the other direction. */
static void turn_32(char *to, int64_t to_step, const char *from, int64_t from_step, int64_t rows, int64_t cols) {
    const int64_t whole_rows = rows / TURN_LANES * TURN_LANES, whole_cols = cols / TURN_LANES * TURN_LANES;
    for (int64_t r = 0; r < whole_rows; r += TURN_LANES)
        for (int64_t c = 0; c < whole_cols; c += TURN_LANES)
            turn_square(to + r * to_step + c * 4, to_step, from + c * from_step + r * 4, from_step);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = r < whole_rows ? whole_cols : 0; c < cols; c++)
            memcpy(to + r * to_step + c * 4, from + c * from_step + r * 4, 4);
}
static void load_32(void *out, const char *in, int64_t rows, int64_t cols, int64_t row_stride, int64_t col_stride) {
    if (row_stride == 4 && col_stride != 4 && rows >= TURN_LANES && cols >= TURN_LANES)
        turn_32(out, cols * 4, in, col_stride, rows, cols);
    else
        load_plain_32(out, in, rows, cols, row_stride, col_stride);
}
static void store_32(char *out, const void *in, int64_t rows, int64_t cols, int64_t row_stride, int64_t col_stride) {
    if (row_stride == 4 && col_stride != 4 && rows >= TURN_LANES && cols >= TURN_LANES)
        turn_32(out, col_stride, in, cols * 4, cols, rows);
    else
        store_plain_32(out, in, rows, cols, row_stride, col_stride);
}

#define FILL(t, T, value)                                                                                              \
    static void fill_##t(void *out, rl_number number, int64_t n) {                                                     \
        T *o = out;                                                                                                    \
        const T x = (T)(value);                                                                                        \
        SIMD for (int64_t i = 0; i < n; i++) o[i] = x;                                                                 \
    }
FILL(f32, float, number.f)
FILL(f64, double, number.f)
FILL(i32, int32_t, (uint64_t)number.i)
FILL(i64, int64_t, number.i)

static void iota(int64_t *out, int64_t start, int64_t rows, int64_t cols, int64_t row_stride, int64_t col_stride) {
    for (int64_t r = 0; r < rows; r++, out += cols) {
        const int64_t first = start + r * row_stride;
        SIMD for (int64_t c = 0; c < cols; c++) out[c] = first + c * col_stride;
    }
}

/* Stores that do not read the lines they overwrite, for results too big for the caches. */
static void stream(char *out, const char *in, int64_t bytes) {
#if defined(__SSE2__)
    int64_t head = (int64_t)(-(uintptr_t)out & 63);
    head = head < bytes ? head : bytes;
    memcpy(out, in, (size_t)head);
    int64_t i = head;
    for (; i + 64 <= bytes; i += 64) {
#if defined(__AVX512F__)
        _mm512_stream_si512((void *)(out + i), _mm512_loadu_si512((const void *)(in + i)));
#elif defined(__AVX2__)
        for (int j = 0; j < 64; j += 32)
            _mm256_stream_si256((void *)(out + i + j), _mm256_loadu_si256((const void *)(in + i + j)));
#else
        for (int j = 0; j < 64; j += 16)
            _mm_stream_si128((void *)(out + i + j), _mm_loadu_si128((const void *)(in + i + j)));
#endif
    }
    memcpy(out + i, in + i, (size_t)(bytes - i));
#else
    memcpy(out, in, (size_t)bytes);
#endif
}
static void stream_end(void) {
#if defined(__SSE2__)
    _mm_sfence();
#endif
}
