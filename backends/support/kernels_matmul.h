/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Product of two packed blocks in one accumulator type: acc (rows, n) += a (rows, k) b (k, n). Included by
 * kernels_matmul.c with T the type and NAME the function to define. acc and b have BLOCK columns a row, a BLOCK too.
 */
static void NAME(int64_t rows, int64_t n, int64_t k, const void *va, const void *vb, void *vacc) {
    const T *a = va;
    for (int64_t i = 0; i < rows; i++, a += BLOCK) {
        T *restrict acc = (T *)vacc + i * BLOCK;
        const T *restrict b = vb;
        int64_t p = 0;
        for (; p + 4 <= k; p += 4, b += 4 * BLOCK) { /* four rows of b for one read and write of acc */
            T a0 = a[p], a1 = a[p + 1], a2 = a[p + 2], a3 = a[p + 3];
            for (int64_t j = 0; j < n; j++)
                acc[j] += (a0 * b[j] + a1 * b[j + BLOCK]) + (a2 * b[j + 2 * BLOCK] + a3 * b[j + 3 * BLOCK]);
        }
        for (; p < k; p++, b += BLOCK)
            for (int64_t j = 0; j < n; j++)
                acc[j] += a[p] * b[j];
    }
}
#undef NAME
#undef T
