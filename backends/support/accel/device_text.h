/* SPDX-License-Identifier: Apache-2.0 */
/* The device sources, as embed.cmake makes them. */
#ifndef RL_ACCEL_DEVICE_TEXT_H
#define RL_ACCEL_DEVICE_TEXT_H

extern const char rl_device_dialect[];
extern const char rl_device_params[];
extern const char rl_device_vector[];
extern const char rl_device_vector_end[];
extern const char rl_device_math[];
extern const char rl_device_insns[];
extern const char rl_device_dtype[];
extern const char rl_device_philox[];
extern const char rl_device_normal_table[];
extern const char rl_device_random[];
extern const char rl_device_interpreter[];
extern const char rl_device_move[];
extern const char rl_device_scatter[];
extern const char rl_device_keys[];
extern const char rl_device_accumulate[];
extern const char rl_device_radix[];
extern const char rl_device_sort[];
extern const char rl_device_scan[];
extern const char rl_device_activation[];
extern const char rl_device_gemm[];
extern const char rl_device_depthwise[];
extern const char rl_device_attention[];
extern const char rl_device_spread[];
extern const char rl_device_line[];
extern const char rl_device_softmax[];
extern const char rl_device_cross_entropy[];
extern const char rl_device_norm[];
extern const char rl_device_pool[];

#endif
