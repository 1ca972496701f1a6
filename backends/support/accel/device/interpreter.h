/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the instructions of rl_interpreter_params, an element at a time: in vectors, code of this size would take half a
 * minute to compile. The cases of instructions, loads, stores, casts and combiners are macros that interpreter.c writes
 * from the lists in backend.h. REDUCE 0 is map, 1 is reduce with the order of reduce.c's kernels: its bits are the
 * same.
 */
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
#define RL_KEEP(k) m.base[k] = b##k;

typedef struct RL_LOCAL(machine) {
    RL_LOCAL(reg) r[RL_INTERPRETER_REGISTERS + RL_INTERPRETER_EXCHANGED];
    rl_long index[RL_PARAM_DIMS];
    RL_GLOBAL char *base[24];
} RL_LOCAL(machine);

RL_FN rl_long RL_LOCAL(place)(const RL_LOCAL(machine) * m, const RL_GLOBAL rl_interpreter_params *p, int k) {
    rl_long at = p->operand[k].offset;
    for (int d = 0; d < (int)p->dims; d++)
        at += m->index[d] * p->operand[k].stride[d];
    return at;
}

/* index[0 .. dims) of element `number` of shape[0 .. dims). */
RL_FN void RL_LOCAL(decode)(rl_long *index, const RL_GLOBAL rl_long *shape, int dims, rl_long number) {
    for (int d = dims - 1; d >= 0; d--) {
        index[d] = number % shape[d];
        number /= shape[d];
    }
}

RL_FN RL_LOCAL(reg) RL_LOCAL(random)(rl_ulong seed, rl_ulong offset, rl_ulong element, int code, int type) {
    RL_LOCAL(reg) to;
    const rl_u32 high = rl_philox_word(seed, offset, element, 0);
    to.l = 0;
    if (code == RL_INTERPRETER_PHILOX)
        to.i = (int)high;
    else if (type == 0)
        to.f = code == RL_INTERPRETER_UNIFORM ? rl_uniform_f32(high) : rl_normal_f32(high);
#if RL_HAS_F64
    else {
        const rl_u32 low = rl_philox_word(seed, offset, element, 1);
        to.d = code == RL_INTERPRETER_UNIFORM ? rl_uniform_f64(high, low) : rl_normal_f64(high, low);
    }
#endif
    return to;
}

/* Instructions first .. end - 1 at m->index. */
RL_FN void RL_LOCAL(interpret)(RL_LOCAL(machine) * m, const RL_GLOBAL rl_interpreter_params *p, int first, int end) {
    RL_LOCAL(reg) *r = m->r;
    for (int v = first; v < end; v++) {
        const rl_long insn = p->insn[v];
        const int code = (int)insn & 255, type = (int)(insn >> 8) & 255, dtype = (int)(insn >> 16) & 255;
        const int to = (int)(insn >> 24) & 255, a = (int)(insn >> 32) & 255, b = (int)(insn >> 40) & 255;
        const int c = (int)(insn >> 48) & 255, imm = a | b << 8;
        if (code == RL_INTERPRETER_INPUT || code == RL_INTERPRETER_STORE) {
            const rl_long place = RL_LOCAL(place)(m, p, b);
            RL_GLOBAL char *base = m->base[c];
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
            r[to].l = RL_LOCAL(place)(m, p, a);
        } else if (code < RL_INTERPRETER_CAST) {
            r[to] = RL_LOCAL(random)((rl_ulong)p->slot[imm], (rl_ulong)p->slot[imm + 1],
                                     (rl_ulong)RL_LOCAL(place)(m, p, c), code, type);
        } else if (code == RL_INTERPRETER_CAST) {
            switch (dtype * 4 + type) { RL_CASTS }
        } else if (code == RL_INTERPRETER_BITCAST) {
            r[to] = r[a];
        } else {
            switch (code * 4 + type) { RL_CASES(r, to, a, b, c) }
        }
    }
}

#if !REDUCE
RL_KERNEL(RL_24(RL_ARGUMENT) const RL_GLOBAL char *params, rl_long params_at) {
    const RL_GLOBAL rl_interpreter_params *p = (const RL_GLOBAL rl_interpreter_params *)(params + params_at);
    RL_LOCAL(machine) m;
    RL_24(RL_KEEP)
    RL_FOR_ITEMS(element, p->items, 1) {
        RL_LOCAL(decode)(m.index, p->shape, (int)p->dims, element);
        RL_LOCAL(interpret)(&m, p, 0, (int)p->n_insns);
    }
}
#else
typedef struct RL_LOCAL(sum) { /* a combined value; for ARGMAX and ARGMIN the element's number too */
    RL_LOCAL(reg) value;
    rl_long number;
} RL_LOCAL(sum);

#define RL_PREFER(member, OP)                                                                                          \
    {                                                                                                                  \
        const int v_nan = v.value.member != v.value.member, held = acc.value.member != acc.value.member;               \
        const int same = v.value.member == acc.value.member || (v_nan && held);                                        \
        if (v.value.member OP acc.value.member || (v_nan && !held) || (same && v.number < acc.number))                 \
            acc = v;                                                                                                   \
    }
/* `how`: the combiner and the register's type. */
RL_FN RL_LOCAL(sum) RL_LOCAL(combine)(int how, RL_LOCAL(sum) acc, RL_LOCAL(sum) v) {
    switch (how) { RL_COMBINES }
    return acc;
}

RL_FN RL_LOCAL(sum) RL_LOCAL(identity)(const RL_GLOBAL rl_interpreter_params *p, int k) {
    RL_LOCAL(sum) self;
    self.value.l = p->identity[k];
    self.number = RL_NO_NUMBER;
    return self;
}

/* The values of the element at m->index, combined into acc[k][lane]. */
RL_FN void RL_LOCAL(add)(RL_LOCAL(machine) * m, const RL_GLOBAL rl_interpreter_params *p,
                         RL_LOCAL(sum) (*acc)[RL_WIDTH], int lane) {
    RL_LOCAL(sum) v;
    RL_LOCAL(interpret)(m, p, 0, (int)p->n_insns);
    v.number = p->number >= 0 ? RL_LOCAL(place)(m, p, (int)p->number) : 0;
    for (int k = 0; k < (int)p->combined; k++) {
        v.value = m->r[RL_INTERPRETER_REGISTERS + k];
        acc[k][lane] = RL_LOCAL(combine)((int)p->combiner[k], acc[k][lane], v);
    }
}

/* One line of `inner` elements, m->index but for its last coordinate: as write_lines of reduce.c goes. */
RL_FN void RL_LOCAL(line)(RL_LOCAL(machine) * m, const RL_GLOBAL rl_interpreter_params *p,
                          RL_LOCAL(sum) (*sum)[RL_WIDTH]) {
    const int combined = (int)p->combined, last = (int)p->dims - 1;
    for (rl_long from = 0; from < p->inner; from += RL_BLOCK * RL_GROUP * RL_WIDTH) {
        RL_LOCAL(sum) acc[RL_MAX_COMBINED][RL_WIDTH];
        const rl_long to = rl_least(p->inner, from + RL_BLOCK * RL_GROUP * RL_WIDTH);
        for (int k = 0; k < combined; k++)
            for (int l = 0; l < RL_WIDTH; l++)
                acc[k][l] = RL_LOCAL(identity)(p, k);
        for (rl_long j = from + RL_ITEM * RL_WIDTH; j < to; j += RL_GROUP * RL_WIDTH)
            for (int l = 0; l < RL_WIDTH && j + l < to; l++) {
                if (p->reduced_dims)
                    m->index[last] = j + l;
                RL_LOCAL(add)(m, p, acc, l);
            }
        for (int k = 0; k < combined; k++)
            for (int l = 0; l < RL_WIDTH; l++)
                sum[k][l] = RL_LOCAL(combine)((int)p->combiner[k], sum[k][l], acc[k][l]);
    }
}

RL_KERNEL(RL_24(RL_ARGUMENT) const RL_GLOBAL char *params, rl_long params_at) {
    const RL_GLOBAL rl_interpreter_params *p = (const RL_GLOBAL rl_interpreter_params *)(params + params_at);
    RL_LOCAL(machine) m;
    RL_LOCAL(sum) sum[RL_MAX_COMBINED][RL_WIDTH];
#if RL_GROUP > 1
    RL_SHARED RL_LOCAL(sum) shared[RL_MAX_COMBINED][RL_GROUP];
#endif
    const int combined = (int)p->combined, kept_dims = (int)(p->dims - p->reduced_dims);
    RL_24(RL_KEEP)
    for (int k = 0; k < combined; k++)
        m.r[RL_INTERPRETER_REGISTERS + k].l = 0; /* its 8 bytes go to shared memory, whatever the type fills of them */
    RL_FOR_GROUPS(item, p->items) {
        for (int d = 0; d < (int)p->dims; d++)
            m.index[d] = 0;
        RL_LOCAL(decode)(m.index, p->shape, kept_dims, item);
        for (int k = 0; k < combined; k++)
            for (int l = 0; l < RL_WIDTH; l++)
                sum[k][l] = RL_LOCAL(identity)(p, k);
        for (rl_long row = 0; row < p->rows; row++) {
            RL_LOCAL(decode)(m.index + kept_dims, p->shape + kept_dims, (int)p->reduced_dims - 1, row);
            RL_LOCAL(line)(&m, p, sum);
        }
        for (int k = 0; k < combined; k++) { /* lanes, then work-items */
            RL_LOCAL(sum) acc = RL_LOCAL(identity)(p, k);
            for (int l = 0; l < RL_WIDTH; l++)
                acc = RL_LOCAL(combine)((int)p->combiner[k], acc, sum[k][l]);
            sum[k][0] = acc;
#if RL_GROUP > 1
            shared[k][RL_ITEM] = acc;
#endif
        }
#if RL_GROUP > 1
        RL_BARRIER();
        for (int step = RL_GROUP / 2; step > 0; step /= 2) {
            for (int k = 0; k < combined && RL_ITEM < step; k++) {
                sum[k][0] = RL_LOCAL(combine)((int)p->combiner[k], sum[k][0], shared[k][RL_ITEM + step]);
                shared[k][RL_ITEM] = sum[k][0];
            }
            RL_BARRIER();
        }
#endif
        for (int k = 0; k < combined; k++) {
            m.r[RL_INTERPRETER_REGISTERS + k] = sum[k][0].value;
            if (p->combiner[k] >= 4 * RL_FIRST_ARG)
                m.r[RL_INTERPRETER_REGISTERS + k].l = sum[k][0].number == RL_NO_NUMBER ? 0 : sum[k][0].number;
        }
        if (RL_ITEM == 0)
            RL_LOCAL(interpret)(&m, p, (int)p->n_insns, (int)p->n_end);
        RL_BARRIER();
    }
}
#endif
