/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the instructions of rl_interpreter_params, an element at a time: in vectors, code of this size would take half a
 * minute to compile. The cases of instructions, loads, stores and casts are macros that interpreter.c writes from the
 * list in backend.h. */
typedef union RL_LOCAL(reg) {
    float f;
    int i;
    long l;
#if RL_HAS_F64
    double d;
#endif
} RL_LOCAL(reg);

#define RL_24(X)                                                                                                       \
    X(0)                                                                                                               \
    X(1)                                                                                                               \
    X(2)                                                                                                               \
    X(3)                                                                                                               \
    X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23)
#define RL_ARGUMENT(k) RL_GLOBAL char *b##k,
#define RL_CHOOSE(k)                                                                                                   \
    case k:                                                                                                            \
        base = b##k;                                                                                                   \
        break;
RL_KERNEL(RL_24(RL_ARGUMENT) const RL_GLOBAL char *params, rl_long params_at) {
    const RL_GLOBAL rl_interpreter_params *p = (const RL_GLOBAL rl_interpreter_params *)(params + params_at);
    const rl_long total = p->rows * p->inner;
    const int inner_dim = (int)p->dims - 1, n_insns = (int)p->n_insns;
    RL_FOR_ITEMS(element, total, 1) {
        RL_LOCAL(reg) r[RL_REGISTERS];
        rl_long index[RL_PARAM_DIMS], rest = element;
        for (int d = inner_dim; d >= 0; d--) {
            index[d] = rest % p->shape[d];
            rest /= p->shape[d];
        }
        for (int v = 0; v < n_insns; v++) {
            const rl_long insn = p->insn[v];
            const int code = (int)insn & 255, type = (int)(insn >> 8) & 255, dtype = (int)(insn >> 16) & 255;
            const int to = (int)(insn >> 24) & 255, a = (int)(insn >> 32) & 255, b = (int)(insn >> 40) & 255;
            const int c = (int)(insn >> 48) & 255, imm = a | b << 8;
            if (code == RL_INTERPRETER_INPUT || code == RL_INTERPRETER_STORE) {
                const int k = code == RL_INTERPRETER_INPUT ? a : 16 + b;
                RL_GLOBAL char *base = b0;
                rl_long place = p->offset[k];
                for (int d = 0; d <= inner_dim; d++)
                    place += index[d] * p->stride[k][d];
                switch (k) { RL_24(RL_CHOOSE) }
                if (code == RL_INTERPRETER_INPUT)
                    switch (dtype) { RL_LOADS }
                else
                    switch (dtype * 4 + type) { RL_STORES }
            } else if (code == RL_INTERPRETER_SCALAR) {
                const rl_long slot = p->slot[imm];
                if (type == 0)
                    r[to].f = as_float((int)slot);
                else if (type == 2)
                    r[to].i = (int)slot;
                else
                    r[to].l = slot; /* F64: the same 8 bytes */
            } else if (code == RL_INTERPRETER_INDEX) {
                r[to].l = index[a];
            } else if (code < RL_INTERPRETER_CAST) {
                const rl_ulong seed = (rl_ulong)p->slot[imm], offset = (rl_ulong)p->slot[imm + 1];
                const rl_u32 high = rl_philox_word(seed, offset, (rl_ulong)element, 0);
                if (code == RL_INTERPRETER_PHILOX)
                    r[to].i = (int)high;
                else if (type == 0)
                    r[to].f = code == RL_INTERPRETER_UNIFORM ? rl_uniform_f32(high) : rl_normal_f32(high);
#if RL_HAS_F64
                else {
                    const rl_u32 low = rl_philox_word(seed, offset, (rl_ulong)element, 1);
                    r[to].d = code == RL_INTERPRETER_UNIFORM ? rl_uniform_f64(high, low) : rl_normal_f64(high, low);
                }
#endif
            } else if (code == RL_INTERPRETER_CAST) {
                switch (dtype * 4 + type) { RL_CASTS }
            } else if (code == RL_INTERPRETER_BITCAST) {
                r[to] = r[a];
            } else {
                switch (code * 4 + type) { RL_CASES(r, to, a, b, c) }
            }
        }
    }
}
