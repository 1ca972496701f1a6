/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a kernel knows of a dtype that is one of its words. For the word DTYPE:
 *   T_DTYPE     the stored scalar: float, double, ushort (f16, bf16), char, uchar (u8, bool), short, int, long
 *   R_DTYPE     the scalar it is computed in: float, double, int, long
 *   V_DTYPE     R_DTYPE with RL_WIDTH lanes
 *   I_DTYPE(x)  the R_DTYPE or V_DTYPE of what is stored (rl_load of RL_WIDTH lanes, or one scalar)
 *   O_DTYPE(x)  what is to be stored of a value of any register
 *   N_DTYPE     1 for floats, else 0
 * After this the scalar names of vector.h (F32, I32, TO ...) are those of one lane.
 */
#define RL_WIDE_(name, n) name##n
#define RL_WIDE(name, n) RL_WIDE_(name, n)
#if RL_WIDTH > 1
typedef RL_WIDE(float, RL_WIDTH) rl_f32;
typedef RL_WIDE(int, RL_WIDTH) rl_i32;
typedef RL_WIDE(long, RL_WIDTH) rl_i64;
#if RL_HAS_F64
typedef RL_WIDE(double, RL_WIDTH) rl_f64;
#endif
#else
typedef float rl_f32;
typedef int rl_i32;
typedef long rl_i64;
#if RL_HAS_F64
typedef double rl_f64;
#endif
#endif

#define rl_T_F32 float
#define rl_R_F32 float
#define rl_V_F32 rl_f32
#define rl_I_F32 rl_in_F32
#define rl_O_F32 rl_out_F32
#define rl_N_F32 1
#define rl_T_F64 double
#define rl_R_F64 double
#define rl_V_F64 rl_f64
#define rl_I_F64 rl_in_F64
#define rl_O_F64 rl_out_F64
#define rl_N_F64 1
#define rl_T_F16 ushort
#define rl_R_F16 float
#define rl_V_F16 rl_f32
#define rl_I_F16 rl_in_F16
#define rl_O_F16 rl_out_F16
#define rl_N_F16 1
#define rl_T_BF16 ushort
#define rl_R_BF16 float
#define rl_V_BF16 rl_f32
#define rl_I_BF16 rl_in_BF16
#define rl_O_BF16 rl_out_BF16
#define rl_N_BF16 1
#define rl_T_I8 char
#define rl_R_I8 int
#define rl_V_I8 rl_i32
#define rl_I_I8 rl_in_I8
#define rl_O_I8 rl_out_I8
#define rl_N_I8 0
#define rl_T_U8 uchar
#define rl_R_U8 int
#define rl_V_U8 rl_i32
#define rl_I_U8 rl_in_U8
#define rl_O_U8 rl_out_U8
#define rl_N_U8 0
#define rl_T_I16 short
#define rl_R_I16 int
#define rl_V_I16 rl_i32
#define rl_I_I16 rl_in_I16
#define rl_O_I16 rl_out_I16
#define rl_N_I16 0
#define rl_T_I32 int
#define rl_R_I32 int
#define rl_V_I32 rl_i32
#define rl_I_I32 rl_in_I32
#define rl_O_I32 rl_out_I32
#define rl_N_I32 0
#define rl_T_I64 long
#define rl_R_I64 long
#define rl_V_I64 rl_i64
#define rl_I_I64 rl_in_I64
#define rl_O_I64 rl_out_I64
#define rl_N_I64 0
#define rl_T_BOOL uchar
#define rl_R_BOOL int
#define rl_V_BOOL rl_i32
#define rl_I_BOOL rl_in_BOOL
#define rl_O_BOOL rl_out_BOOL
#define rl_N_BOOL 0
