/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dialect of kernels: macros that make one text OpenCL C 1.2, and CUDA C++ once they say so. In front of it stand
 *   RL_OPENCL 1 or RL_CUDA 1, RL_DEVICE 1, RL_HAS_F64 0 or 1, RL_HAS_F16 0 or 1 (instructions that convert it),
 *   RL_WIDTH   lanes of a vector (rl_accel_traits.width),
 *   RL_GROUP   work-items of a group; 1: a work-item is a thread of its own.
 * Then come params.h, vector.h (once for scalars, once for vectors of RL_WIDTH lanes) and what a kernel needs of
 * math.h.
 *
 * A kernel is written
 *   RL_KERNEL(const RL_GLOBAL T_DTYPE *in, RL_GLOBAL T_DTYPE *out, RL_PARAMS(rl_move_params) p) { ... }
 * and its file's own functions and types RL_LOCAL(name). Work that is the same for many items is spread by
 *   RL_FOR_ITEMS(i, total, step) { ... }      i = multiples of step, in a chunk a thread, or in turns
 *   RL_FOR_GROUPS(g, total) { ... }           all work-items of a group take the same g
 */
#define RL_PASTE_(a, b) a##b
#define RL_PASTE(a, b) RL_PASTE_(a, b)
#define RL_LOCAL(name) RL_PASTE(RL_ENTRY, _##name)

#ifdef RL_OPENCL
#pragma OPENCL FP_CONTRACT OFF
#if RL_HAS_F64
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif
#if RL_HAS_F16
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#endif
typedef long rl_long;
typedef ulong rl_ulong;
typedef uint rl_uint;
#define RL_KERNEL __kernel void RL_ENTRY
#define RL_FN static inline __attribute__((overloadable))
#define RL_GLOBAL __global
#define RL_SHARED __local
#define RL_PARAMS(T) const T
#define RL_GROUP_NUMBER ((rl_long)get_group_id(0))
#define RL_GROUP_COUNT ((rl_long)get_num_groups(0))
#define RL_ITEM ((int)get_local_id(0)) /* within the group */
#define RL_ATOMIC_CLAIM(p) (atomic_cmpxchg((volatile __global int *)(p), 0, 1) == 0)
#if RL_GROUP > 1
#define RL_BARRIER() barrier(CLK_LOCAL_MEM_FENCE)
#else
#define RL_BARRIER()
#endif
#define RL_INFINITY INFINITY
#define RL_NAN NAN
#else
#error "no dialect"
#endif

RL_FN rl_long rl_least(rl_long a, rl_long b) {
    return a < b ? a : b;
}

/* Items 0 .. total - 1, `step` at a time. */
#if RL_GROUP > 1
#define RL_FOR_ITEMS(i, total, step)                                                                                   \
    for (rl_long i = (RL_GROUP_NUMBER * RL_GROUP + RL_ITEM) * (step); i < (total);                                     \
         i += RL_GROUP_COUNT * RL_GROUP * (step))
#else
/* The first item of chunk g of n, a multiple of step. */
RL_FN rl_long rl_chunk(rl_long total, rl_long step, rl_long g, rl_long n) {
    rl_long pieces = (total + step - 1) / step, each = pieces / n, more = pieces % n;
    return rl_least(total, (each * g + rl_least(g, more)) * step);
}
#define RL_FOR_ITEMS(i, total, step)                                                                                   \
    for (rl_long i = rl_chunk((total), (step), RL_GROUP_NUMBER, RL_GROUP_COUNT),                                       \
                 i##_end = rl_chunk((total), (step), RL_GROUP_NUMBER + 1, RL_GROUP_COUNT);                             \
         i < i##_end; i += (step))
#endif
#define RL_FOR_GROUPS(g, total) for (rl_long g = RL_GROUP_NUMBER; g < (total); g += RL_GROUP_COUNT)

/* Offset of row-major element `number` of a shape, by strides; `dims` is a constant. */
#define RL_OFFSET(result, number, dims, shape, stride)                                                                 \
    do {                                                                                                               \
        rl_ulong rl_rest_ = (rl_ulong)(number);                                                                        \
        for (int rl_d_ = (dims)-1; rl_d_ > 0; rl_d_--) {                                                               \
            rl_ulong rl_q_ = rl_rest_ / (rl_ulong)(shape)[rl_d_];                                                      \
            (result) += (rl_long)(rl_rest_ - rl_q_ * (rl_ulong)(shape)[rl_d_]) * (stride)[rl_d_];                      \
            rl_rest_ = rl_q_;                                                                                          \
        }                                                                                                              \
        if ((dims) > 0)                                                                                                \
            (result) += (rl_long)rl_rest_ * (stride)[0];                                                               \
    } while (0)
