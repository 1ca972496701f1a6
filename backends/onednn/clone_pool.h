/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Part of clone.c, included once for each T (POOL(name) is a name of its own): pooling of one plane, or, where channels
 * lie innermost, of a block of channels. A plane has three sizes, depth, rows and columns; of an operand, `stride`
 * tells the way from one of each to the next. Columns lie side by side where there is one channel, channels where there
 * are more.
 */

/* Dim d of output o: the first kernel step that is within the input, and the first behind. */
static inline int64_t POOL(first_step)(const od_pool_plane *p, int d, int64_t o) {
    const int64_t start = o * p->stride[d] - p->padding[d];
    return start >= 0 ? 0 : p->dilation[d] == 1 ? -start : (p->dilation[d] - 1 - start) / p->dilation[d];
}
static inline int64_t POOL(end_step)(const od_pool_plane *p, int d, int64_t o) {
    const int64_t room = p->in[d] - (o * p->stride[d] - p->padding[d]);
    const int64_t more = room <= 0 ? 0 : room; /* a division costs more than all else here */
    const int64_t steps = p->dilation[d] == 1 ? more : (more + p->dilation[d] - 1) / p->dilation[d];
    return steps < p->kernel[d] ? steps : p->kernel[d];
}
/* How many places an average counts along dim d. */
static inline int64_t POOL(count)(const od_pool_plane *p, int d, int64_t o) {
    const int64_t margin = p->count_padding ? p->padding[d] : 0, start = o * p->stride[d] - p->padding[d];
    const int64_t low = start > -margin ? start : -margin;
    const int64_t high = start + p->kernel[d] < p->in[d] + margin ? start + p->kernel[d] : p->in[d] + margin;
    return high - low;
}

/* NaN wins. */
#define GREATER(v, m) ((v) > (m) || (v) != (v) ? (v) : (m))
#define FOUND(v, m) ((v) == (m) || (v) != (v)) /* m is the greatest of several, v one of them */

/* All of one window of 2 x 2: the gradient to the first greatest, zero to the others. */
#define TWO_BY_TWO(g, a0, a1, b0, b1, A0, A1, B0, B1)                                                                  \
    do {                                                                                                               \
        T left_ = GREATER(a1, a0), right_ = GREATER(b1, b0), m_ = GREATER(right_, left_), rest_ = (g);                 \
        T t_ = FOUND(a0, m_) ? rest_ : (T)0;                                                                           \
        rest_ = FOUND(a0, m_) ? (T)0 : rest_;                                                                          \
        A0 = t_;                                                                                                       \
        t_ = FOUND(a1, m_) ? rest_ : (T)0;                                                                             \
        rest_ = FOUND(a1, m_) ? (T)0 : rest_;                                                                          \
        A1 = t_;                                                                                                       \
        t_ = FOUND(b0, m_) ? rest_ : (T)0;                                                                             \
        rest_ = FOUND(b0, m_) ? (T)0 : rest_;                                                                          \
        B0 = t_;                                                                                                       \
        B1 = rest_;                                                                                                    \
    } while (0)
static inline int POOL(is_two_by_two)(const od_pool_plane *p) {
    return p->kernel[0] == 1 && p->kernel[1] == 2 && p->kernel[2] == 2 && p->stride[0] == 1 && p->stride[1] == 2 &&
           p->stride[2] == 2 && p->dilation[1] == 1 && p->dilation[2] == 1 && p->padding[0] == 0;
}

/* Each row of the output from number `first` to `end` - 1, without a division each. */
#define EACH_POOL_ROW(p, first, end)                                                                                   \
    for (int64_t r = (first), depth = r / (p)->out[1], row = r % (p)->out[1]; r < (end);                               \
         r++, depth += row + 1 == (p)->out[1], row = row + 1 == (p)->out[1] ? 0 : row + 1)

/* Vectors ---------------------------------------------------------------------------------------------------------- */

static inline void POOL(fill)(T *out, T value, int64_t n) {
    SIMD for (int64_t i = 0; i < n; i++) out[i] = value;
}
static inline void POOL(take)(T *out, const T *in, int64_t n) {
    SIMD for (int64_t i = 0; i < n; i++) out[i] = in[i];
}
static inline void POOL(max1)(T *out, const T *in, int64_t n) {
    SIMD for (int64_t i = 0; i < n; i++) out[i] = GREATER(in[i], out[i]);
}
static inline void POOL(add1)(T *out, const T *in, int64_t n) {
    SIMD for (int64_t i = 0; i < n; i++) out[i] += in[i];
}
static inline void POOL(max4)(T *out, const T *const *in, int64_t n, int begun) {
    const T *a = in[0], *b = in[1], *c = in[2], *d = in[3];
    SIMD for (int64_t i = 0; i < n; i++) {
        T m = GREATER(b[i], a[i]), k = GREATER(d[i], c[i]);
        m = GREATER(k, m);
        out[i] = begun ? GREATER(m, out[i]) : m;
    }
}
static inline void POOL(add4)(T *out, const T *const *in, int64_t n, int begun) {
    const T *a = in[0], *b = in[1], *c = in[2], *d = in[3];
    SIMD for (int64_t i = 0; i < n; i++) {
        T sum = (a[i] + b[i]) + (c[i] + d[i]);
        out[i] = begun ? out[i] + sum : sum;
    }
}

/* Windows of 2 x 2 over two rows: 0, and nothing done, where there are no lanes for them. The last block of
 * lanes may do some columns again. */
static inline int POOL(two_rows_forward)(T *out, const T *a, const T *b, int64_t n) {
#if POOL_LANES
    for (int64_t j = 0; n >= POOL_WIDTH && j < n; j += POOL_WIDTH) {
        const int64_t at = j + POOL_WIDTH <= n ? j : n - POOL_WIDTH;
        pool_two_by_two_forward(out + at, a + 2 * at, b + 2 * at);
    }
    return n >= POOL_WIDTH;
#else
    (void)out, (void)a, (void)b, (void)n;
    return 0;
#endif
}
static inline int POOL(two_rows_backward)(const T *g, const T *a, const T *b, T *A, T *B, int64_t n) {
#if POOL_LANES
    for (int64_t j = 0; n >= POOL_WIDTH && j < n; j += POOL_WIDTH) {
        const int64_t at = j + POOL_WIDTH <= n ? j : n - POOL_WIDTH;
        pool_two_by_two_backward(g + at, a + 2 * at, b + 2 * at, A + 2 * at, B + 2 * at);
    }
    return n >= POOL_WIDTH;
#else
    (void)g, (void)a, (void)b, (void)A, (void)B, (void)n;
    return 0;
#endif
}

/* Columns side by side --------------------------------------------------------------------------------------------- */

/* buffer: the rows that windows of output row (depth, row) see, combined element by element, with what is neutral
 * where columns lie outside. p->width elements. */
static void POOL(combine_rows)(const od_pool_plane *p, int is_max, const T *in, T *buffer, int64_t depth, int64_t row) {
    const int64_t *s = p->strides[0], columns = p->in[2], before = p->padding[2];
    const T neutral = is_max ? -(T)INFINITY : (T)0;
    const T *rows[2] = {NULL, NULL};
    T *middle = buffer + before;
    int n = 0, begun = 0;
    POOL(fill)(buffer, neutral, before);
    POOL(fill)(middle + columns, neutral, p->width - before - columns);
    const int64_t d1 = POOL(end_step)(p, 0, depth), h1 = POOL(end_step)(p, 1, row);
    for (int64_t d = POOL(first_step)(p, 0, depth); d < d1; d++)
        for (int64_t h = POOL(first_step)(p, 1, row); h < h1; h++) {
            rows[n++] = in + (depth * p->stride[0] - p->padding[0] + d * p->dilation[0]) * s[0] +
                        (row * p->stride[1] - p->padding[1] + h * p->dilation[1]) * s[1];
            if (n < 2)
                continue;
            const T *a = rows[0], *b = rows[1];
            if (!begun && is_max) {
                SIMD for (int64_t i = 0; i < columns; i++) middle[i] = GREATER(b[i], a[i]);
            } else if (!begun) {
                SIMD for (int64_t i = 0; i < columns; i++) middle[i] = a[i] + b[i];
            } else if (is_max) {
                POOL(max1)(middle, a, columns);
                POOL(max1)(middle, b, columns);
            } else {
                POOL(add1)(middle, a, columns);
                POOL(add1)(middle, b, columns);
            }
            begun = 1;
            n = 0;
        }
    if (n == 0 && !begun)
        POOL(fill)(middle, neutral, columns);
    else if (n == 1 && !begun)
        POOL(take)(middle, rows[0], columns);
    else if (n == 1 && is_max)
        POOL(max1)(middle, rows[0], columns);
    else if (n == 1)
        POOL(add1)(middle, rows[0], columns);
}

/* out[j] from buffer[j stride + t dilation], t < kernel */
static void POOL(combine_columns)(const od_pool_plane *p, int is_max, const T *buffer, T *out) {
    const int64_t n = p->out[2], step = p->stride[2], kernel = p->kernel[2], dilation = p->dilation[2];
    if (step == 2 && kernel == 2 && dilation == 1) {
        if (is_max) {
            SIMD for (int64_t j = 0; j < n; j++) out[j] = GREATER(buffer[2 * j + 1], buffer[2 * j]);
        } else {
            SIMD for (int64_t j = 0; j < n; j++) out[j] = buffer[2 * j] + buffer[2 * j + 1];
        }
        return;
    }
    if (step == 1)
        POOL(take)(out, buffer, n);
    else if (step == 2) {
        SIMD for (int64_t j = 0; j < n; j++) out[j] = buffer[2 * j];
    } else
        for (int64_t j = 0; j < n; j++)
            out[j] = buffer[j * step];
    for (int64_t t = 1; t < kernel; t++) {
        const T *in = buffer + t * dilation;
        if (step == 1 && is_max)
            POOL(max1)(out, in, n);
        else if (step == 1)
            POOL(add1)(out, in, n);
        else if (step == 2 && is_max) {
            SIMD for (int64_t j = 0; j < n; j++) out[j] = GREATER(in[2 * j], out[j]);
        } else if (is_max)
            for (int64_t j = 0; j < n; j++)
                out[j] = GREATER(in[j * step], out[j]);
        else
            for (int64_t j = 0; j < n; j++)
                out[j] += in[j * step];
    }
}

/* counts[j]: what column j's windows count along the columns; 1 where there is a divisor. */
static void POOL(column_counts)(const od_pool_plane *p, T *counts) {
    for (int64_t j = 0; j < p->out[2]; j++)
        counts[j] = p->divisor ? (T)1 : (T)POOL(count)(p, 2, j);
}
/* What counts[] are to be multiplied with. */
static T POOL(row_count)(const od_pool_plane *p, int64_t depth, int64_t row) {
    return p->divisor ? (T)p->divisor : (T)(POOL(count)(p, 0, depth) * POOL(count)(p, 1, row));
}

/* The sum of a whole plane that lies without gaps: 0, and nothing done, for another one. */
static int POOL(whole_plane)(const od_pool_plane *p, const T *in, T *out) {
    const int64_t n = p->in[0] * p->in[1] * p->in[2], *s = p->strides[0];
    for (int d = 0; d < 3; d++)
        if (p->out[d] != 1 || p->kernel[d] != p->in[d] || p->padding[d] != 0)
            return 0;
    if ((s[1] != p->in[2] && p->in[1] > 1) || (s[0] != p->in[1] * p->in[2] && p->in[0] > 1))
        return 0;
    double sum = 0.0;
    for (int64_t at = 0; at < n; at += 512)
        sum += POOL_SUM(in + at, n - at < 512 ? n - at : 512);
    *out = (T)(sum / (double)(p->divisor ? p->divisor : n));
    return 1;
}

static void POOL(columns_forward)(const od_pool_plane *p, int is_max, const T *in, T *out, T *room) {
    if (!is_max && POOL(whole_plane)(p, in, out))
        return;
    T *buffer = room, *counts = room + p->width;
    const int two = is_max && POOL(is_two_by_two)(p) && p->padding[1] == 0 && p->padding[2] == 0;
    if (!is_max)
        POOL(column_counts)(p, counts);
    EACH_POOL_ROW(p, p->first, p->end) {
        T *to = out + depth * p->strides[1][0] + row * p->strides[1][1];
        if (two && (row + 1) * 2 <= p->in[1] && p->out[2] * 2 <= p->in[2]) {
            const T *a = in + depth * p->strides[0][0] + 2 * row * p->strides[0][1];
            if (POOL(two_rows_forward)(to, a, a + p->strides[0][1], p->out[2]))
                continue;
        }
        POOL(combine_rows)(p, is_max, in, buffer, depth, row);
        POOL(combine_columns)(p, is_max, buffer, to);
        if (!is_max) {
            const T rest = POOL(row_count)(p, depth, row);
            SIMD for (int64_t j = 0; j < p->out[2]; j++) to[j] = to[j] / (counts[j] * rest);
        }
    }
}

/* Windows of 2 x 2, side by side. */
static void POOL(columns_two_by_two)(const od_pool_plane *p, const T *g, const T *in, T *grad) {
    const int64_t n = p->out[2];
    EACH_POOL_ROW(p, 0, p->out[0] * p->out[1]) {
        const T *from = g + depth * p->strides[0][0] + row * p->strides[0][1];
        const T *a = in + depth * p->strides[1][0] + 2 * row * p->strides[1][1], *b = a + p->strides[1][1];
        T *A = grad + depth * p->strides[2][0] + 2 * row * p->strides[2][1], *B = A + p->strides[2][1];
        if (POOL(two_rows_backward)(from, a, b, A, B, n))
            continue;
        for (int64_t j = 0; j < n; j++)
            TWO_BY_TWO(from[j], a[2 * j], a[2 * j + 1], b[2 * j], b[2 * j + 1], A[2 * j], A[2 * j + 1], B[2 * j],
                       B[2 * j + 1]);
    }
}

/*
 * Where windows lie in another way, the first maximum of each is found in two steps: of each column, the greatest
 * element and the first step of the kernel that has it (kernel rows counted over depth), then of each window the first
 * of its columns that has the greatest in the first of these rows. NOWHERE stands for what is outside.
 */
#define NOWHERE INT32_MAX
static void POOL(find_in_columns)(const od_pool_plane *p, const T *in, T *best, int32_t *step, int64_t depth,
                                  int64_t row) {
    const int64_t *s = p->strides[1], columns = p->in[2], before = p->padding[2];
    POOL(fill)(best, -(T)INFINITY, p->width);
    for (int64_t i = 0; i < p->width; i++)
        step[i] = NOWHERE;
    best += before;
    step += before;
    const int64_t d1 = POOL(end_step)(p, 0, depth), h1 = POOL(end_step)(p, 1, row);
    for (int64_t d = POOL(first_step)(p, 0, depth); d < d1; d++)
        for (int64_t h = POOL(first_step)(p, 1, row); h < h1; h++) {
            const T *x = in + (depth * p->stride[0] - p->padding[0] + d * p->dilation[0]) * s[0] +
                         (row * p->stride[1] - p->padding[1] + h * p->dilation[1]) * s[1];
            const int32_t number = (int32_t)(d * p->kernel[1] + h);
            SIMD for (int64_t i = 0; i < columns; i++) {
                const int take = (x[i] > best[i]) | ((x[i] != x[i]) & (best[i] == best[i])) | (step[i] == NOWHERE);
                best[i] = take ? x[i] : best[i];
                step[i] = take ? number : step[i];
            }
        }
}
/* found[j]: the kernel's row; column[j]: its column. most[] is room. */
static void POOL(find_in_windows)(const od_pool_plane *p, const T *best, const int32_t *step, T *most, int32_t *found,
                                  int32_t *column) {
    const int64_t n = p->out[2], pitch = p->stride[2];
    for (int64_t j = 0; j < n; j++) {
        most[j] = best[j * pitch];
        found[j] = step[j * pitch];
        column[j] = 0;
    }
    for (int64_t t = 1; t < p->kernel[2]; t++) {
        const T *x = best + t * p->dilation[2];
        const int32_t *at = step + t * p->dilation[2], number = (int32_t)t;
#define TAKE_BETTER(pitch)                                                                                             \
    const T v = x[j * (pitch)], m = most[j];                                                                           \
    const int32_t s = at[j * (pitch)];                                                                                 \
    const int same = (v == m) | ((v != v) & (m != m));                                                                 \
    const int take = (v > m) | ((v != v) & (m == m)) | (same & (s < found[j]));                                        \
    most[j] = take ? v : m;                                                                                            \
    found[j] = take ? s : found[j];                                                                                    \
    column[j] = take ? number : column[j];
        if (pitch == 1) {
            SIMD for (int64_t j = 0; j < n; j++) {
                TAKE_BETTER(1)
            }
        } else if (pitch == 2) {
            SIMD for (int64_t j = 0; j < n; j++) {
                TAKE_BETTER(2)
            }
        } else {
            for (int64_t j = 0; j < n; j++) {
                TAKE_BETTER(pitch)
            }
        }
#undef TAKE_BETTER
    }
}

/* The same by lanes, straight over all elements: 0, and nothing done, where there are none or the kernel is large. */
static int POOL(columns_max_by_lanes)(const od_pool_plane *p, const T *g, const T *in, T *grad, T *room) {
#if POOL_LANES
    const int64_t n = p->out[2], kernel = p->kernel[2], step = p->stride[2], pitch = p->width + OD_POOL_SLACK;
    const int64_t *s = p->strides[1], *to = p->strides[2];
    if (n < POOL_WIDTH || p->kernel[0] * p->kernel[1] > OD_POOL_ROWS || kernel > OD_POOL_ROWS)
        return 0;
    POOL(fill)(room, -(T)INFINITY, p->kernel[0] * p->kernel[1] * pitch);
    EACH_POOL_ROW(p, 0, p->out[0] * p->out[1]) {
        const float *rows[OD_POOL_ROWS], *from = g + depth * p->strides[0][0] + row * p->strides[0][1];
        int64_t place[OD_POOL_ROWS * OD_POOL_ROWS]; /* in grad, of each number for window 0 */
        int n_rows = 0;
        const int64_t d1 = POOL(end_step)(p, 0, depth), h1 = POOL(end_step)(p, 1, row);
        for (int64_t d = POOL(first_step)(p, 0, depth); d < d1; d++)
            for (int64_t h = POOL(first_step)(p, 1, row); h < h1; h++, n_rows++) {
                const int64_t z = depth * p->stride[0] - p->padding[0] + d * p->dilation[0];
                const int64_t y = row * p->stride[1] - p->padding[1] + h * p->dilation[1];
                for (int64_t t = 0; t < kernel; t++)
                    place[n_rows * kernel + t] = z * to[0] + y * to[1] + t * p->dilation[2] - p->padding[2];
                rows[n_rows] = room + n_rows * pitch;
                POOL(take)(room + n_rows * pitch + p->padding[2], in + z * s[0] + y * s[1], p->in[2]);
            }
        for (int64_t j = 0; n_rows > 0 && j < n; j += POOL_WIDTH) {
            const int64_t at = j + POOL_WIDTH <= n ? j : n - POOL_WIDTH; /* the last block passes over what was done */
            const float *moved[OD_POOL_ROWS];
            int32_t found[POOL_WIDTH];
            for (int k = 0; k < n_rows; k++)
                moved[k] = rows[k] + at * step;
            pool_find_lanes(found, moved, n_rows, kernel, p->dilation[2], step);
            for (int64_t i = j - at; i < POOL_WIDTH; i++) {
                int64_t number = found[i];
                if (number < 0) { /* all is -infinity: the first within the input, if there is one */
                    number = POOL(first_step)(p, 2, at + i);
                    if (number >= POOL(end_step)(p, 2, at + i))
                        continue;
                }
                grad[place[number] + (at + i) * step] += from[at + i];
            }
        }
    }
    return 1;
#else
    (void)p, (void)g, (void)in, (void)grad, (void)room;
    return 0;
#endif
}

static void POOL(columns_max_backward)(const od_pool_plane *p, const T *g, const T *in, T *grad, T *room) {
    T *best = room, *most = best + p->width;
    int32_t *step = (int32_t *)(void *)(most + p->out[2]), *found = step + p->width, *column = found + p->out[2];
    EACH_POOL_ROW(p, 0, p->out[0] * p->out[1]) {
        const int64_t *s = p->strides[2];
        const T *from = g + depth * p->strides[0][0] + row * p->strides[0][1];
        T *to = grad + (depth * p->stride[0] - p->padding[0]) * s[0] + (row * p->stride[1] - p->padding[1]) * s[1] -
                p->padding[2];
        POOL(find_in_columns)(p, in, best, step, depth, row);
        POOL(find_in_windows)(p, best, step, most, found, column);
        for (int64_t j = 0; j < p->out[2]; j++) {
            if (found[j] == NOWHERE)
                continue;
            const int64_t d = p->kernel[0] == 1 ? 0 : found[j] / p->kernel[1], h = found[j] - d * p->kernel[1];
            to[d * p->dilation[0] * s[0] + h * p->dilation[1] * s[1] + j * p->stride[2] + column[j] * p->dilation[2]] +=
                from[j];
        }
    }
}

/* share[] spread over the columns into buffer, which is then added to each row that the windows see. */
static void POOL(columns_average_backward)(const od_pool_plane *p, const T *g, T *grad, T *room) {
    T *buffer = room, *counts = room + p->width, *share = counts + p->out[2];
    const int64_t n = p->out[2], step = p->stride[2], kernel = p->kernel[2];
    POOL(column_counts)(p, counts);
    POOL(fill)(buffer, 0, p->width);
    EACH_POOL_ROW(p, 0, p->out[0] * p->out[1]) {
        const T *from = g + depth * p->strides[0][0] + row * p->strides[0][1];
        const T rest = POOL(row_count)(p, depth, row);
        SIMD for (int64_t j = 0; j < n; j++) share[j] = from[j] / (counts[j] * rest);
        if (step == 2 && kernel == 2) {
            SIMD for (int64_t j = 0; j < n; j++) buffer[2 * j] = buffer[2 * j + 1] = share[j];
        } else if (step >= kernel) {
            for (int64_t j = 0; j < n; j++)
                POOL(fill)(buffer + j * step, share[j], kernel);
        } else {
            POOL(fill)(buffer, 0, p->width);
            for (int64_t t = 0; t < kernel; t++)
                if (step == 1)
                    POOL(add1)(buffer + t, share, n);
                else
                    for (int64_t j = 0; j < n; j++)
                        buffer[j * step + t] += share[j];
        }
        const int64_t d1 = POOL(end_step)(p, 0, depth), h1 = POOL(end_step)(p, 1, row);
        for (int64_t d = POOL(first_step)(p, 0, depth); d < d1; d++)
            for (int64_t h = POOL(first_step)(p, 1, row); h < h1; h++) {
                T *to = grad + (depth * p->stride[0] - p->padding[0] + d) * p->strides[2][0] +
                        (row * p->stride[1] - p->padding[1] + h) * p->strides[2][1];
                (p->tiled ? POOL(take) : POOL(add1))(to, buffer + p->padding[2], p->in[2]);
            }
    }
}

/* Channels side by side -------------------------------------------------------------------------------------------- */

/* The elements that one window sees, one after the other. */
typedef struct POOL(walk) {
    int64_t z0, z1, y0, y1, x0, x1; /* steps within the input */
    int64_t z, y, x;                /* where the window begins */
} POOL(walk);

static inline POOL(walk) POOL(walk_of)(const od_pool_plane *p, int64_t depth, int64_t row, int64_t column) {
    POOL(walk)
    w = {POOL(first_step)(p, 0, depth),        POOL(end_step)(p, 0, depth),
         POOL(first_step)(p, 1, row),          POOL(end_step)(p, 1, row),
         POOL(first_step)(p, 2, column),       POOL(end_step)(p, 2, column),
         depth * p->stride[0] - p->padding[0], row * p->stride[1] - p->padding[1],
         column * p->stride[2] - p->padding[2]};
    return w;
}
/* For each of them, `at` is its offset by strides s. */
#define EACH_STEP(p, w, s)                                                                                             \
    for (int64_t zi = (w).z0; zi < (w).z1; zi++)                                                                       \
        for (int64_t yi = (w).y0; yi < (w).y1; yi++)                                                                   \
            for (int64_t xi = (w).x0, at = ((w).z + zi * (p)->dilation[0]) * (s)[0] +                                  \
                                           ((w).y + yi * (p)->dilation[1]) * (s)[1] +                                  \
                                           ((w).x + xi * (p)->dilation[2]) * (s)[2];                                   \
                 xi < (w).x1; xi++, at += (p)->dilation[2] * (s)[2])

/* out[c] of one window; `zeros` for a sum. */
static inline void POOL(window)(const od_pool_plane *p, int is_max, const POOL(walk) * w, const T *in, const int64_t *s,
                                const T *zeros, T *out) {
    const T *taps[4];
    int n = 0, begun = 0;
    EACH_STEP(p, *w, s) {
        taps[n++] = in + at;
        if (n == 4) {
            (is_max ? POOL(max4) : POOL(add4))(out, taps, p->channels, begun);
            begun = 1;
            n = 0;
        }
    }
    if (n > 0) {
        while (n < 4) {
            taps[n] = is_max ? taps[0] : zeros;
            n++;
        }
        (is_max ? POOL(max4) : POOL(add4))(out, taps, p->channels, begun);
    } else if (!begun) {
        POOL(fill)(out, is_max ? -(T)INFINITY : (T)0, p->channels);
    }
}

static void POOL(channels_forward)(const od_pool_plane *p, int is_max, const T *in, T *out, T *room) {
    if (!is_max)
        POOL(fill)(room, 0, p->channels);
    EACH_POOL_ROW(p, p->first, p->end) {
        T *to = out + depth * p->strides[1][0] + row * p->strides[1][1];
        for (int64_t j = 0; j < p->out[2]; j++, to += p->strides[1][2]) {
            const POOL(walk) w = POOL(walk_of)(p, depth, row, j);
            POOL(window)(p, is_max, &w, in, p->strides[0], room, to);
            if (is_max)
                continue;
            const T count = POOL(row_count)(p, depth, row) * (p->divisor ? (T)1 : (T)POOL(count)(p, 2, j));
            SIMD for (int64_t c = 0; c < p->channels; c++) to[c] = to[c] / count;
        }
    }
}

static void POOL(channels_two_by_two)(const od_pool_plane *p, const T *g, const T *in, T *grad) {
    const int64_t *si = p->strides[1], *so = p->strides[2];
    EACH_POOL_ROW(p, 0, p->out[0] * p->out[1]) {
        for (int64_t j = 0; j < p->out[2]; j++) {
            const T *from = g + depth * p->strides[0][0] + row * p->strides[0][1] + j * p->strides[0][2];
            const T *a = in + depth * si[0] + 2 * row * si[1] + 2 * j * si[2], *b = a + si[2], *c = a + si[1],
                    *d = c + si[2];
            T *A = grad + depth * so[0] + 2 * row * so[1] + 2 * j * so[2], *B = A + so[2], *C = A + so[1],
              *D = C + so[2];
            SIMD for (int64_t i = 0; i < p->channels; i++)
                TWO_BY_TWO(from[i], a[i], b[i], c[i], d[i], A[i], B[i], C[i], D[i]);
        }
    }
}

/* One step of the kernel: rest, where it is not given away yet, goes to the elements that are found. */
static inline void POOL(give)(T *grad, const T *in, T *rest, const T *most, int64_t n) {
    SIMD for (int64_t c = 0; c < n; c++) {
        const int found = FOUND(in[c], most[c]);
        grad[c] += found ? rest[c] : (T)0;
        rest[c] = found ? (T)0 : rest[c];
    }
}

/* One window by lanes, which keep what they look for in registers: 0, and nothing done, where that cannot be. */
static inline int POOL(give_lanes)(const od_pool_plane *p, const POOL(walk) * w, const T *g, const T *in, T *grad) {
#if POOL_LANES
    enum { MOST_STEPS = 64 };
    const int64_t *s = p->strides[2], *si = p->strides[1], whole = p->channels / POOL_WIDTH * POOL_WIDTH;
    int64_t to[MOST_STEPS], from[MOST_STEPS], n = 0;
    if (whole == 0 || p->kernel[0] * p->kernel[1] * p->kernel[2] > MOST_STEPS)
        return 0;
    EACH_STEP(p, *w, s) {
        to[n] = at;
        from[n++] = (w->z + zi * p->dilation[0]) * si[0] + (w->y + yi * p->dilation[1]) * si[1] +
                    (w->x + xi * p->dilation[2]) * si[2];
    }
    for (int64_t c = 0; n > 0 && c < whole; c += POOL_WIDTH)
        pool_give_lanes(grad + c, to, in + c, from, n, g + c);
    for (int64_t c = whole; n > 0 && c < p->channels; c++) {
        int64_t best = 0;
        for (int64_t i = 1; i < n; i++) {
            const T v = in[from[i] + c], m = in[from[best] + c];
            best = v > m || (v != v && m == m) ? i : best;
        }
        grad[to[best] + c] += g[c];
    }
    return 1;
#else
    (void)p, (void)w, (void)g, (void)in, (void)grad;
    return 0;
#endif
}

static void POOL(channels_backward)(const od_pool_plane *p, int is_max, const T *g, const T *in, T *grad, T *room) {
    T *most = room, *rest = room + p->channels;
    const int64_t *s = p->strides[2], *si = p->strides[1], n = p->channels;
    EACH_POOL_ROW(p, 0, p->out[0] * p->out[1]) {
        for (int64_t j = 0; j < p->out[2]; j++) {
            const T *from = g + depth * p->strides[0][0] + row * p->strides[0][1] + j * p->strides[0][2];
            const POOL(walk) w = POOL(walk_of)(p, depth, row, j);
            if (is_max && POOL(give_lanes)(p, &w, from, in, grad))
                continue;
            if (is_max) {
                POOL(window)(p, 1, &w, in, si, NULL, most);
                POOL(take)(rest, from, n);
                EACH_STEP(p, w, s) {
                    const int64_t source = (w.z + zi * p->dilation[0]) * si[0] + (w.y + yi * p->dilation[1]) * si[1] +
                                           (w.x + xi * p->dilation[2]) * si[2];
                    POOL(give)(grad + at, in + source, rest, most, n);
                }
                continue;
            }
            const T count = POOL(row_count)(p, depth, row) * (p->divisor ? (T)1 : (T)POOL(count)(p, 2, j));
            SIMD for (int64_t c = 0; c < n; c++) rest[c] = from[c] / count;
            EACH_STEP(p, w, s) {
                (p->tiled ? POOL(take) : POOL(add1))(grad + at, rest, n);
            }
        }
    }
}

/* Entries ---------------------------------------------------------------------------------------------------------- */

static void POOL(forward)(const od_pool_plane *p, const void *in, void *out, void *room) {
    (p->channels > 1 ? POOL(channels_forward) : POOL(columns_forward))(p, p->is_max, in, out, room);
}

static void POOL(clear)(const od_pool_plane *p, T *grad) {
    const int64_t *s = p->strides[2];
    const int joined = p->channels == 1 || s[2] == p->channels;
    for (int64_t z = 0; z < p->in[0]; z++)
        for (int64_t y = 0; y < p->in[1]; y++)
            for (int64_t x = 0; x < (joined ? 1 : p->in[2]); x++)
                memset(grad + z * s[0] + y * s[1] + x * s[2], 0,
                       (size_t)((joined ? p->in[2] : 1) * p->channels) * sizeof(T));
}

static void POOL(backward)(const od_pool_plane *p, const void *g, const void *in, void *grad, void *room) {
    const int two = p->is_max && p->tiled && p->kernel[0] == 1 && p->kernel[1] == 2 && p->kernel[2] == 2;
    if (two) {
        (p->channels > 1 ? POOL(channels_two_by_two) : POOL(columns_two_by_two))(p, g, in, grad);
        return;
    }
    if (!p->tiled || p->is_max)
        POOL(clear)(p, grad);
    if (p->channels > 1)
        POOL(channels_backward)(p, p->is_max, g, in, grad, room);
    else if (p->is_max && POOL(columns_max_by_lanes)(p, g, in, grad, room))
        return;
    else if (p->is_max)
        POOL(columns_max_backward)(p, g, in, grad, room);
    else
        POOL(columns_average_backward)(p, g, grad, room);
}
#undef GREATER
#undef FOUND
#undef TWO_BY_TWO
#undef EACH_STEP
#undef EACH_POOL_ROW
#undef NOWHERE
