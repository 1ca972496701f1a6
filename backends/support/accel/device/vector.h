/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of RL_LANES lanes (1: scalars): types, conversion from and to what is stored, loads, stores. Included once for
 * each number of lanes, with RL_SUFFIX empty or the number; the functions are overloaded.
 *
 * A value is in one of the registers of backend.h: F32, F64, I32, I64. rl_in_D gives it from the stored form of dtype D
 * and rl_out_D gives the stored form from any register, rounding to nearest even and wrapping: the CAST of backend.h.
 */
#define F32 RL_PASTE(float, RL_SUFFIX)
#define F64 RL_PASTE(double, RL_SUFFIX)
#define I32 RL_PASTE(int, RL_SUFFIX)
#define I64 RL_PASTE(long, RL_SUFFIX)
#define U32 RL_PASTE(uint, RL_SUFFIX)
#define U64 RL_PASTE(ulong, RL_SUFFIX)
#define S8 RL_PASTE(char, RL_SUFFIX)
#define S16 RL_PASTE(short, RL_SUFFIX)
#define U8 RL_PASTE(uchar, RL_SUFFIX)
#define U16 RL_PASTE(ushort, RL_SUFFIX)
#define HALF RL_PASTE(half, RL_SUFFIX)
#define TO(type, x) RL_PASTE(convert_##type, RL_SUFFIX)(x)
#define TO_RTZ(type, x) RL_PASTE(RL_PASTE(convert_##type, RL_SUFFIX), _rtz)(x)
#define AS(type, x) RL_PASTE(as_##type, RL_SUFFIX)(x)
/* SEL: b where the comparison (of numbers as wide as these) holds, else c. PICK: b where the I32 mask is not 0, else c,
 * for values of 4 and of 8 bytes. */
#if RL_LANES > 1
#define SEL(c, b, comparison) select(c, b, comparison)
#define PICK64(mask, b, c) select(c, b, TO(long, (mask) != 0))
#else
#define SEL(c, b, comparison) ((comparison) ? (b) : (c))
#define PICK64(mask, b, c) ((mask) != 0 ? (b) : (c))
#endif
#define PICK32(mask, b, c) SEL(c, b, (mask) != 0)

/* f16 and bf16 from their bits, and to them. */
RL_FN F32 rl_in_BF16(U16 x) {
    return AS(float, TO(uint, x) << 16);
}
#if RL_HAS_F16 /* these never flush subnormal numbers, as conversions may */
RL_FN F32 rl_in_F16(U16 x) {
    const HALF held = AS(half, x);
    return RL_PASTE(vload_half, RL_SUFFIX)(0, (const half *)&held);
}
RL_FN U16 rl_out_F16(F32 x) {
    HALF held;
    RL_PASTE(RL_PASTE(vstore_half, RL_SUFFIX), _rte)(x, 0, (half *)&held);
    return AS(ushort, held);
}
#else
RL_FN F32 rl_in_F16(U16 x) {
    U32 wide = TO(uint, x), sign = (wide & 0x8000u) << 16, rest = wide & 0x7fffu;
    F32 small = TO(float, rest) * 0x1p-24f;
    U32 normal = (rest << 13) + (112u << 23);
    U32 special = 0x7f800000u | (rest & 0x3ffu) << 13;
    U32 bits = SEL(normal, special, rest >= 0x7c00u);
    bits = SEL(bits, AS(uint, small), rest < 0x400u);
    return AS(float, sign | bits);
}
RL_FN U16 rl_out_F16(F32 x) {
    U32 bits = AS(uint, x), sign = bits >> 16 & 0x8000u, rest = bits & 0x7fffffffu;
    /* Adding 1/2 leaves a subnormal, in units of 2^-24 and rounded to nearest even, in the low bits. */
    U32 small = AS(uint, AS(float, rest) + 0.5f) - 0x3f000000u;
    U32 half_bits = (rest - (112u << 23) + 0xfffu + (rest >> 13 & 1u)) >> 13;
    half_bits = SEL(half_bits, small, rest < 0x38800000u);
    half_bits = SEL(half_bits, (U32)(0x7c00u), rest >= 0x477ff000u);
    half_bits = SEL(half_bits, 0x7e00u | (rest >> 13 & 0x1ffu), rest > 0x7f800000u);
    return TO(ushort, sign | half_bits);
}
#endif
RL_FN U16 rl_out_BF16(F32 x) {
    U32 bits = AS(uint, x);
    U32 nan = bits >> 16 | 0x40u, rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    return TO(ushort, SEL(rounded, nan, (bits & 0x7fffffffu) > 0x7f800000u));
}

/* To f32 rounded to odd: rounding that again to fewer bits is right (Boldo and Melquiond 2005). */
RL_FN F32 rl_odd(I32 x) {
    F32 cut = TO_RTZ(float, x);
    /* 2^31 is what INT_MAX may not be compared with as an int; a cut result is below it. */
    return AS(float, AS(int, cut) | ((TO(int, cut) != x) & 1));
}
RL_FN F32 rl_odd(I64 x) {
    F32 cut = TO_RTZ(float, x);
    return AS(float, AS(int, cut) | (TO(int, TO(long, cut) != x) & 1));
}
RL_FN U16 rl_out_F16(I32 x) {
    return rl_out_F16(rl_odd(x));
}
RL_FN U16 rl_out_F16(I64 x) {
    return rl_out_F16(rl_odd(x));
}
RL_FN U16 rl_out_BF16(I32 x) {
    return rl_out_BF16(rl_odd(x));
}
RL_FN U16 rl_out_BF16(I64 x) {
    return rl_out_BF16(rl_odd(x));
}

/* The rest are conversions. Float to integer goes through a wide integer, so that narrow ones wrap. */
#define RL_SAME(D, stored, name, wide)                                                                                 \
    RL_FN wide rl_in_##D(stored x) {                                                                                   \
        return TO(name, x);                                                                                            \
    }
RL_SAME(F32, F32, float, F32)
RL_SAME(I8, S8, int, I32)
RL_SAME(U8, U8, int, I32)
RL_SAME(I16, S16, int, I32)
RL_SAME(I32, I32, int, I32)
RL_SAME(I64, I64, long, I64)
RL_FN I32 rl_in_BOOL(U8 x) {
    return (TO(int, x) != 0) & 1;
}

RL_FN F32 rl_out_F32(F32 x) {
    return x;
}
RL_FN F32 rl_out_F32(I32 x) {
    return TO(float, x);
}
RL_FN F32 rl_out_F32(I64 x) {
    return TO(float, x);
}
#define RL_TO_INTEGERS(register)                                                                                       \
    RL_FN I32 rl_out_I32(register x) {                                                                                 \
        return TO(int, x);                                                                                             \
    }                                                                                                                  \
    RL_FN I64 rl_out_I64(register x) {                                                                                 \
        return TO(long, x);                                                                                            \
    }                                                                                                                  \
    RL_FN S8 rl_out_I8(register x) {                                                                                   \
        return TO(char, TO(int, x));                                                                                   \
    }                                                                                                                  \
    RL_FN U8 rl_out_U8(register x) {                                                                                   \
        return TO(uchar, TO(int, x));                                                                                  \
    }                                                                                                                  \
    RL_FN S16 rl_out_I16(register x) {                                                                                 \
        return TO(short, TO(int, x));                                                                                  \
    }
RL_TO_INTEGERS(F32)
RL_TO_INTEGERS(I32)
RL_TO_INTEGERS(I64)
#define RL_TO_BOOL(register, zero)                                                                                     \
    RL_FN U8 rl_out_BOOL(register x) {                                                                                 \
        return TO(uchar, (x != (register)(zero)) & (1));                                                               \
    }
RL_TO_BOOL(F32, 0.0f)
RL_TO_BOOL(I32, 0)
RL_TO_BOOL(I64, 0)

#if RL_HAS_F64
RL_FN F32 rl_odd(F64 x) {
    F32 near = TO(float, x);
    F64 back = TO(double, near);
    I32 inexact = TO(int, back != x) & TO(int, x == x), away = TO(int, fabs(back) > fabs(x)) & 1;
    I32 bits = AS(int, near), even = (bits & 1) == 0;
    /* Rounded away: the number below it, which is odd where this one is even; else this one with its last bit set. */
    return AS(float, SEL(bits, SEL(bits + 1, bits - 1, away != 0), (inexact != 0) & (even != 0)));
}
RL_SAME(F64, F64, double, F64)
RL_TO_INTEGERS(F64)
RL_TO_BOOL(F64, 0.0)
RL_FN F32 rl_out_F32(F64 x) {
    return TO(float, x);
}
RL_FN F64 rl_out_F64(F64 x) {
    return x;
}
RL_FN F64 rl_out_F64(F32 x) {
    return TO(double, x);
}
RL_FN F64 rl_out_F64(I32 x) {
    return TO(double, x);
}
RL_FN F64 rl_out_F64(I64 x) {
    return TO(double, x);
}
RL_FN U16 rl_out_F16(F64 x) {
    return rl_out_F16(rl_odd(x));
}
RL_FN U16 rl_out_BF16(F64 x) {
    return rl_out_BF16(rl_odd(x));
}
#endif
#undef RL_SAME
#undef RL_TO_INTEGERS
#undef RL_TO_BOOL

#if RL_LANES > 1
/* The first n lanes from memory (the others 0), and to it, none where n is below 1; with a stride of any kind, or of 1:
 * then by the powers of two that n is the sum of, the greatest first in memory. */
#define RL_PART(count, from, to)                                                                                       \
    if (n & count)                                                                                                     \
        RL_PASTE(vstore, count)                                                                                        \
    (RL_PASTE(vload, count)(0, (from) + (n & (16 - 2 * count))), 0, (to) + (n & (16 - 2 * count)));
#if RL_LANES == 16
#define RL_PARTS(from, to) RL_PART(8, from, to) RL_PART(4, from, to) RL_PART(2, from, to)
#elif RL_LANES == 8
#define RL_PARTS(from, to) RL_PART(4, from, to) RL_PART(2, from, to)
#else
#define RL_PARTS(from, to) RL_PART(2, from, to)
#endif
#define RL_MEMORY(scalar)                                                                                              \
    RL_FN RL_PASTE(scalar, RL_SUFFIX) rl_load(const RL_GLOBAL scalar *from, rl_long stride, int n) {                   \
        scalar lanes[RL_LANES];                                                                                        \
        for (int l = 0; l < RL_LANES; l++)                                                                             \
            lanes[l] = l < n ? from[l * stride] : (scalar)0;                                                           \
        return RL_PASTE(vload, RL_SUFFIX)(0, lanes);                                                                   \
    }                                                                                                                  \
    RL_FN RL_PASTE(scalar, RL_SUFFIX) rl_load(const RL_GLOBAL scalar *from, int n) {                                   \
        if (n >= RL_LANES)                                                                                             \
            return RL_PASTE(vload, RL_SUFFIX)(0, from);                                                                \
        n = n < 0 ? 0 : n;                                                                                             \
        scalar lanes[RL_LANES];                                                                                        \
        RL_PASTE(vstore, RL_SUFFIX)((RL_PASTE(scalar, RL_SUFFIX))(0), 0, lanes);                                       \
        RL_PARTS(from, lanes)                                                                                          \
        if (n & 1)                                                                                                     \
            lanes[n & 14] = from[n & 14];                                                                              \
        return RL_PASTE(vload, RL_SUFFIX)(0, lanes);                                                                   \
    }                                                                                                                  \
    RL_FN void rl_store(RL_GLOBAL scalar *to, rl_long stride, int n, RL_PASTE(scalar, RL_SUFFIX) value) {              \
        scalar lanes[RL_LANES];                                                                                        \
        RL_PASTE(vstore, RL_SUFFIX)(value, 0, lanes);                                                                  \
        for (int l = 0; l < RL_LANES; l++)                                                                             \
            if (l < n)                                                                                                 \
                to[l * stride] = lanes[l];                                                                             \
    }                                                                                                                  \
    RL_FN void rl_store(RL_GLOBAL scalar *to, int n, RL_PASTE(scalar, RL_SUFFIX) value) {                              \
        if (n >= RL_LANES) {                                                                                           \
            RL_PASTE(vstore, RL_SUFFIX)(value, 0, to);                                                                 \
            return;                                                                                                    \
        }                                                                                                              \
        n = n < 0 ? 0 : n;                                                                                             \
        scalar lanes[RL_LANES];                                                                                        \
        RL_PASTE(vstore, RL_SUFFIX)(value, 0, lanes);                                                                  \
        RL_PARTS(lanes, to)                                                                                            \
        if (n & 1)                                                                                                     \
            to[n & 14] = lanes[n & 14];                                                                                \
    }
#else
#define RL_MEMORY(scalar)                                                                                              \
    RL_FN scalar rl_load(const RL_GLOBAL scalar *from, rl_long stride, int n) {                                        \
        return *from;                                                                                                  \
    }                                                                                                                  \
    RL_FN scalar rl_load(const RL_GLOBAL scalar *from, int n) {                                                        \
        return *from;                                                                                                  \
    }                                                                                                                  \
    RL_FN void rl_store(RL_GLOBAL scalar *to, rl_long stride, int n, scalar value) {                                   \
        *to = value;                                                                                                   \
    }                                                                                                                  \
    RL_FN void rl_store(RL_GLOBAL scalar *to, int n, scalar value) {                                                   \
        *to = value;                                                                                                   \
    }
#endif
/* For scalars beside vectors the loads would be ambiguous and are not needed. */
#if RL_LANES == RL_WIDTH
RL_MEMORY(char)
RL_MEMORY(uchar)
RL_MEMORY(short)
RL_MEMORY(ushort)
RL_MEMORY(int)
RL_MEMORY(long)
RL_MEMORY(float)
#if RL_HAS_F64
RL_MEMORY(double)
#endif

/* The numbers of the lanes. */
RL_FN I64 rl_lanes(void) {
    long lanes[RL_LANES];
    for (int l = 0; l < RL_LANES; l++)
        lanes[l] = l;
#if RL_LANES > 1
    return RL_PASTE(vload, RL_SUFFIX)(0, lanes);
#else
    return lanes[0];
#endif
}
#endif
#undef RL_MEMORY
#undef RL_PART
#undef RL_PARTS
