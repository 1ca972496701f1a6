/* SPDX-License-Identifier: Apache-2.0 */
/* What a product's result becomes before it is stored; the word ACTIVATION is an rl_activation. */
RL_FN V_DTYPE RL_LOCAL(activate)(V_DTYPE x) {
#if ACTIVATION == 1
    return rl_i_MAX(x, (V_DTYPE)(0));
#elif ACTIVATION == 2
    return x * (V_DTYPE)(0.5f) * (1.0f + rl_i_ERF(x * (V_DTYPE)(0.70710678118654752440f)));
#elif ACTIVATION == 3
    return x * (V_DTYPE)(0.5f) *
           (1.0f + rl_i_TANH((V_DTYPE)(0.79788456080286535588f) * (x + (V_DTYPE)(0.044715f) * x * x * x)));
#else
    return x;
#endif
}
