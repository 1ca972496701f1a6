/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sort. Elements become keys: unsigned numbers of BITS bits in the same order. DTYPE is the integer of their size; KIND
 * 0: unsigned, 1: signed, 2: floats, with exponent bits p.exponent, 3: bool.
 * PHASE 0: writes the keys of all lines. PHASE 1: writes values and indices by an order of positions. PHASE 2: a short
 * line is an item's, sorted by insertion. PHASE 3: a line of at most 1024 is a group's, sorted by a bitonic network.
 */
#define RL_SHORT 32
#define RL_LINE 1024
#if KEY_DTYPE == 9 /* RL_I64 */
typedef rl_ulong RL_LOCAL(unsigned);
#else
typedef rl_uint RL_LOCAL(unsigned);
#endif
RL_FN RL_LOCAL(unsigned) RL_LOCAL(key)(T_DTYPE x, rl_long exponent, rl_long flip) {
    typedef RL_LOCAL(unsigned) number;
    const number sign = (number)1 << (BITS - 1), mask = sign | (sign - 1), bits = (number)x & mask;
#if KIND == 0
    const number key = bits;
#elif KIND == 1
    const number key = bits ^ sign;
#elif KIND == 2
    const number size = bits & ~sign;
    number key = bits & sign && size ? ~bits & mask : size | sign;
    key = size > (number)exponent ? mask : key;
#else
    const number key = bits != 0;
#endif
    return key ^ (number)flip;
}
#if PHASE == 0
RL_KERNEL(const RL_GLOBAL T_DTYPE *in, RL_GLOBAL T_KEY_DTYPE *keys, RL_PARAMS(rl_lines_params) p) {
    keys += p.keys_at;
    RL_FOR_ITEMS(i, p.lines * p.length, 1) {
        const rl_long line = (rl_long)((rl_ulong)i / (rl_ulong)p.length), begin = line * p.length;
        rl_long at = p.offset[0], j = i - begin, end = j + 1;
        RL_OFFSET(at, line, DIMS, p.shape, p.stride[0]);
#if RL_GROUP == 1 /* the thread's elements of this line */
        end = rl_least(p.length, j + (i_end - i));
        i += end - j - 1;
#endif
        for (; j < end; j++)
            keys[begin + j] = (T_KEY_DTYPE)RL_LOCAL(key)(in[at + j * p.step[0]], p.exponent, p.flip);
    }
}
#elif PHASE == 1
RL_KERNEL(const RL_GLOBAL T_DTYPE *in, const RL_GLOBAL T_AT_DTYPE *order, RL_GLOBAL T_DTYPE *values,
          RL_GLOBAL rl_long *indices, RL_PARAMS(rl_lines_params) p) {
    order += p.order_at;
    RL_FOR_ITEMS(i, p.lines * p.length, 1) {
        const rl_long line = (rl_long)((rl_ulong)i / (rl_ulong)p.length), begin = line * p.length;
        rl_long at = p.offset[0], value_at = p.offset[1], index_at = p.offset[2], j = i - begin, end = j + 1;
        RL_OFFSET(at, line, DIMS, p.shape, p.stride[0]);
        RL_OFFSET(value_at, line, DIMS, p.shape, p.stride[1]);
        RL_OFFSET(index_at, line, DIMS, p.shape, p.stride[2]);
#if RL_GROUP == 1 /* the thread's elements of this line */
        end = rl_least(p.length, j + (i_end - i));
        i += end - j - 1;
#endif
        for (; j < end; j++) {
            const rl_long position = (rl_long)order[begin + j];
            values[value_at + j * p.step[1]] = in[at + position * p.step[0]];
            indices[index_at + j * p.step[2]] = position;
        }
    }
}
#elif PHASE == 2
RL_KERNEL(const RL_GLOBAL T_DTYPE *in, RL_GLOBAL T_DTYPE *values, RL_GLOBAL rl_long *indices,
          RL_PARAMS(rl_lines_params) p) {
    const int n = (int)p.length;
    RL_FOR_ITEMS(line, p.lines, 1) {
        RL_LOCAL(unsigned) keys[RL_SHORT];
        T_DTYPE held[RL_SHORT];
        uchar order[RL_SHORT];
        rl_long at = p.offset[0], value_at = p.offset[1], index_at = p.offset[2];
        RL_OFFSET(at, line, DIMS, p.shape, p.stride[0]);
        RL_OFFSET(value_at, line, DIMS, p.shape, p.stride[1]);
        RL_OFFSET(index_at, line, DIMS, p.shape, p.stride[2]);
        for (int i = 0; i < n; i++) {
            const T_DTYPE x = in[at + i * p.step[0]];
            const RL_LOCAL(unsigned) key = RL_LOCAL(key)(x, p.exponent, p.flip);
            int j = i;
            for (; j > 0 && keys[j - 1] > key; j--) {
                keys[j] = keys[j - 1];
                held[j] = held[j - 1];
                order[j] = order[j - 1];
            }
            keys[j] = key;
            held[j] = x;
            order[j] = (uchar)i;
        }
        for (int i = 0; i < n; i++) {
            values[value_at + i * p.step[1]] = held[i];
            indices[index_at + i * p.step[2]] = order[i];
        }
    }
}
#elif RL_GROUP > 1
RL_KERNEL(const RL_GLOBAL T_DTYPE *in, RL_GLOBAL T_DTYPE *values, RL_GLOBAL rl_long *indices,
          RL_PARAMS(rl_lines_params) p) {
    RL_SHARED RL_LOCAL(unsigned) keys[RL_LINE];
    RL_SHARED T_DTYPE held[RL_LINE];
    RL_SHARED ushort order[RL_LINE];
    const int n = (int)p.length;
    int size = 2; /* n rounded up to a power of two: what is too much has the greatest keys and positions */
    while (size < n)
        size *= 2;
    RL_FOR_GROUPS(line, p.lines) {
        rl_long at = p.offset[0], value_at = p.offset[1], index_at = p.offset[2];
        RL_OFFSET(at, line, DIMS, p.shape, p.stride[0]);
        RL_OFFSET(value_at, line, DIMS, p.shape, p.stride[1]);
        RL_OFFSET(index_at, line, DIMS, p.shape, p.stride[2]);
        for (int i = RL_ITEM; i < size; i += RL_GROUP) {
            order[i] = (ushort)i;
            if (i < n) {
                held[i] = in[at + i * p.step[0]];
                keys[i] = RL_LOCAL(key)(held[i], p.exponent, p.flip);
            } else {
                keys[i] = (RL_LOCAL(unsigned))(-1);
            }
        }
        RL_BARRIER();
        for (int k = 2; k <= size; k *= 2)
            for (int s = k / 2; s > 0; s /= 2) {
                for (int t = RL_ITEM; t < size / 2; t += RL_GROUP) {
                    const int a = (t & ~(s - 1)) * 2 + (t & (s - 1)), b = a + s;
                    const RL_LOCAL(unsigned) key_a = keys[a], key_b = keys[b];
                    const ushort at_a = order[a], at_b = order[b];
                    const int after = key_a > key_b || (key_a == key_b && at_a > at_b);
                    if (after == ((a & k) == 0)) {
                        keys[a] = key_b, keys[b] = key_a;
                        order[a] = at_b, order[b] = at_a;
                    }
                }
                RL_BARRIER();
            }
        for (int i = RL_ITEM; i < n; i += RL_GROUP) {
            values[value_at + i * p.step[1]] = held[order[i]];
            indices[index_at + i * p.step[2]] = order[i];
        }
        RL_BARRIER();
    }
}
#endif
#undef RL_SHORT
#undef RL_LINE
