/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lowering of pointwise ops: one map with the op's program. Programs are built at their first use and kept in a list
 * per op, by variant and dtypes; looking one up takes no lock. Any thread.
 */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "ops/call.h"

#define NUMBER 15u /* in a key: an operand that is a launch scalar. Else its dtype; 0: None */

/* A program of an op. Immutable once it is in its list. */
typedef struct pointwise_entry {
    struct pointwise_entry *next;
    uint64_t key;
    const rl_program *program;
    uint16_t inputs;    /* bit i: args[i] is an input of the program */
    uint16_t scalars;   /* bit i: args[i] is a launch scalar */
    uint16_t generator; /* bit i: args[i] gives two, seed and offset */
} pointwise_entry;

static _Atomic(pointwise_entry *) entries[RL_OPCODE_COUNT];

/* Programs live until rl_shutdown, and so does what points to them. */
static void forget_entries(void) {
    for (int i = 0; i < RL_OPCODE_COUNT; i++) {
        pointwise_entry *entry = atomic_exchange(&entries[i], NULL);
        while (entry != NULL) {
            pointwise_entry *next = entry->next;
            rl_free(entry);
            entry = next;
        }
    }
}

/* A tensor that is an input of the program; a number, or a tensor on another device (of no dimensions, on a host: infer
 * saw to that), is a launch scalar. */
static inline const rl_tensor *input_tensor(const rl_call *call, int i) {
    const rl_value *v = &call->args[i];
    return v->kind == RL_VALUE_TENSOR && v->as.tensor->storage->device == call->meta[0].device ? v->as.tensor : NULL;
}

static inline rl_dtype compute_dtype(const rl_call *call) {
    return call->compute ? call->compute : call->meta[0].dtype;
}

/* What the results are stored as. */
static inline rl_dtype result_dtype(const rl_call *call, int i) {
    return call->inplace ? (rl_dtype)call->args[0].as.tensor->dtype : call->meta[i].dtype;
}

/* Bits 0..7 the variant, 8..11 the compute dtype, 12..27 the results', then 4 bits for each operand (8 at most: gen/
 * sees to that). */
static uint64_t entry_key(const rl_call *call, const rl_schema *schema) {
    uint64_t key = call->op->variant ? call->op->variant(call) & 0xff : 0;
    key |= (uint64_t)compute_dtype(call) << 8;
    for (int i = 0; i < call->n_results; i++)
        key |= (uint64_t)result_dtype(call, i) << (12 + 4 * i);
    int shift = 28;
    for (uint32_t m = schema->operands; m != 0; m &= m - 1, shift += 4) {
        int i = __builtin_ctz(m);
        const rl_tensor *t = input_tensor(call, i);
        key |= (uint64_t)(t ? t->dtype : call->args[i].kind == RL_VALUE_NONE ? 0 : NUMBER) << shift;
    }
    return key;
}

/* Writes the program with those operands that `wanted` has. Returns how many instructions stand before the op's. */
static int write_program(rl_builder *b, const rl_call *call, const rl_schema *schema, uint32_t wanted, rl_pw *x) {
    rl_dtype compute = compute_dtype(call);
    rl_pw out[RL_MAX_RESULTS] = {0};
    rl_builder_init(b);
    for (uint32_t m = wanted; m != 0; m &= m - 1) {
        int i = __builtin_ctz(m);
        const rl_tensor *t = input_tensor(call, i);
        if (schema->generators >> i & 1) {
            x[i] = rl_build_scalar(b, RL_I64);
            rl_build_scalar(b, RL_I64); /* the offset, found beside the seed */
        } else if (t != NULL) {
            x[i] = rl_build_input(b, (rl_dtype)t->dtype);
            if (!(call->op->as_is >> i & 1))
                x[i] = rl_build_cast(b, x[i], compute);
        } else {
            x[i] = rl_build_scalar(b, schema->ints >> i & 1 ? RL_I64 : compute);
        }
    }
    int own = b->n_insns;
    call->op->pointwise(b, call, x, out);
    for (int i = 0; i < call->n_results; i++)
        rl_build_output(b, out[i], result_dtype(call, i));
    return own;
}

/* The operands whose values x[i] the op's instructions, from `own` on, or the outputs refer to. */
static uint32_t used_operands(const rl_builder *b, int own, uint32_t wanted, const rl_pw *x) {
    bool used[256] = {false};
    for (int i = own; i < b->n_insns; i++) {
        const rl_insn *insn = &b->insns[i];
        const rl_pw operands[3] = {insn->a, insn->b, insn->c};
        for (int k = 0; k < rl_insn_describe((rl_insn_code)insn->code)->operands; k++)
            used[operands[k]] = true; /* NOLINT(clang-analyzer-core.uninitialized.ArraySubscript): own <= n_insns */
    }
    for (int i = 0; i < b->n_outputs; i++)
        used[b->output_value[i]] = true;
    uint32_t mask = 0;
    for (uint32_t m = wanted; m != 0; m &= m - 1)
        if (used[x[__builtin_ctz(m)]])
            mask |= m & -m;
    return mask;
}

static pointwise_entry *add_entry(const rl_call *call, const rl_schema *schema, uint64_t key) {
    rl_builder b;
    rl_pw x[RL_MAX_ARGS] = {0};
    uint32_t given = schema->generators;
    for (uint32_t m = schema->operands; m != 0; m &= m - 1)
        if (call->args[__builtin_ctz(m)].kind != RL_VALUE_NONE)
            given |= m & -m;
    /* Twice: first to see which operands it uses, then with those alone, so that nothing is read in vain. */
    int own = write_program(&b, call, schema, given, x);
    uint32_t used = used_operands(&b, own, given, x) | schema->generators;
    memset(x, 0, sizeof x);
    if (used != given)
        write_program(&b, call, schema, used, x);
    const rl_program *program = rl_builder_finish(&b);
    pointwise_entry *entry = program ? rl_alloc(sizeof *entry, "a pointwise program of an op") : NULL;
    if (entry == NULL)
        return NULL;
    *entry = (pointwise_entry){.key = key, .program = program, .generator = schema->generators};
    for (uint32_t m = used & ~(uint32_t)schema->generators; m != 0; m &= m - 1)
        *(input_tensor(call, __builtin_ctz(m)) ? &entry->inputs : &entry->scalars) |= (uint16_t)(m & -m);
    rl_at_shutdown(forget_entries);
    entry->next = atomic_load(&entries[call->opcode]);
    while (!atomic_compare_exchange_weak(&entries[call->opcode], &entry->next, entry)) {
    }
    return entry;
}

static inline const pointwise_entry *find_entry(const rl_call *call, int opcode) {
    const rl_schema *schema = &rl_schema_table[opcode];
    uint64_t key = entry_key(call, schema);
    const pointwise_entry *entry = atomic_load_explicit(&entries[opcode], memory_order_acquire);
    while (entry != NULL && entry->key != key)
        entry = entry->next;
    return entry ? entry : add_entry(call, schema, key);
}

/* Launch scalars ------------------------------------------------------------------------------------------------- */

/* A float among integers: toward zero, without undefined behaviour beyond the range. */
static int64_t to_integer(double f) {
    return f >= 0x1p63 ? INT64_MAX : f >= -0x1p63 ? (int64_t)f : f < 0 ? INT64_MIN : 0;
}

/* As a register of integers of that dtype holds it: wrapped. */
static int64_t wrapped(int64_t i, rl_dtype dtype) {
    switch (dtype) {
    case RL_BOOL:
        return i != 0;
    case RL_U8:
        return (uint8_t)i;
    case RL_I8:
        return (int8_t)i;
    case RL_I16:
        return (int16_t)i;
    case RL_I32:
        return (int32_t)i;
    default:
        return i;
    }
}

static rl_number to_number(const rl_value *v, rl_dtype dtype) {
    bool is_float = v->kind == RL_VALUE_FLOAT;
    int64_t i = is_float ? 0 : v->kind == RL_VALUE_BOOL ? v->as.b : v->as.i;
    if (rl_dtype_is_float(dtype))
        return (rl_number){.f = is_float ? v->as.f : (double)i};
    if (dtype == RL_BOOL && is_float)
        return (rl_number){.i = v->as.f != 0.0};
    return (rl_number){.i = wrapped(is_float ? to_integer(v->as.f) : i, dtype)};
}

/* The number that args[i] stands for; a tensor on another device is read. In place of a tensor it wraps, as that would;
 * what can be a number alone must fit. */
static rl_status read_scalar(const rl_call *call, const rl_schema *schema, int i, rl_number *out) {
    rl_value v = call->args[i];
    rl_dtype dtype = schema->ints >> i & 1 ? RL_I64 : compute_dtype(call);
    if (v.kind == RL_VALUE_TENSOR) {
        v = rl_dtype_is_float((rl_dtype)v.as.tensor->dtype) ? rl_value_of_float(rl_item(v.as.tensor))
                                                            : rl_value_of_int(rl_item_int(v.as.tensor));
        if (rl_failed())
            return rl_error_status();
    } else if (!(schema->tensors >> i & 1)) {
        rl_status status = rl_check_fits(call, i, dtype);
        if (status != RL_OK)
            return status;
    }
    *out = to_number(&v, dtype);
    return RL_OK;
}

static void draw(const rl_call *call, int i, rl_number *out_seed, rl_number *out_offset) {
    uint64_t seed, offset;
    int64_t numel = 1;
    for (int64_t d = 0; d < call->meta[0].ndim; d++)
        numel *= call->meta[0].shape[d];
    rl_generator_take(call->args[i].kind == RL_VALUE_NONE ? NULL : call->args[i].as.generator, numel, &seed, &offset);
    out_seed->i = (int64_t)seed;
    out_offset->i = (int64_t)offset;
}

rl_status rl_pointwise_prepare(const rl_call *call, int opcode, rl_pointwise_launch *out_launch) {
    const pointwise_entry *entry = find_entry(call, opcode);
    if (entry == NULL)
        return rl_error_status();
    out_launch->program = entry->program;
    int n_inputs = 0, n_scalars = 0;
    for (uint32_t m = entry->inputs; m != 0; m &= m - 1)
        out_launch->inputs[n_inputs++] = call->args[__builtin_ctz(m)].as.tensor;
    for (uint32_t m = entry->scalars | entry->generator; m != 0; m &= m - 1) {
        int i = __builtin_ctz(m);
        if (m & -m & entry->generator) {
            draw(call, i, &out_launch->scalars[n_scalars], &out_launch->scalars[n_scalars + 1]);
            n_scalars += 2;
            continue;
        }
        rl_status status = read_scalar(call, &rl_schema_table[opcode], i, &out_launch->scalars[n_scalars++]);
        if (status != RL_OK)
            return status;
    }
    out_launch->n_inputs = n_inputs;
    out_launch->n_scalars = n_scalars;
    return RL_OK;
}

const rl_program *rl_pointwise_program(const rl_call *call, int opcode) {
    const pointwise_entry *entry = find_entry(call, opcode);
    return entry ? entry->program : NULL;
}

rl_status rl_pointwise_run(rl_call *call) {
    rl_pointwise_launch launch;
    launch.program = NULL;
    rl_status status = rl_pointwise_prepare(call, call->opcode, &launch);
    if (status != RL_OK)
        return status;
    return rl_row_map(rl_call_name(call), launch.program, launch.inputs, call->results, launch.scalars);
}

/* Copies --------------------------------------------------------------------------------------------------------- */

rl_status rl_copy_into(const char *op, rl_tensor *to, rl_tensor *from) {
    const rl_program *program = rl_program_cast((rl_dtype)from->dtype, (rl_dtype)to->dtype);
    return program ? rl_row_map(op, program, &from, &to, NULL) : rl_error_status();
}

rl_tensor *rl_contiguous_copy(const char *op, rl_tensor *self) {
    rl_tensor *copy =
        rl_object_own(rl_tensor_empty(self->storage->device, (rl_dtype)self->dtype, self->ndim, self->shape, NULL));
    return copy && rl_copy_into(op, copy, self) == RL_OK ? copy : NULL;
}
