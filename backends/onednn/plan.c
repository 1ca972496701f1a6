/* SPDX-License-Identifier: Apache-2.0 */
#include "plan.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "pool.h"

/* All that making a plan needs to know. */
typedef struct maker {
    const rl_program *program;
    const od_kernels *kernels;
    od_step steps[RL_MAX_INSNS + 1 + RL_MAX_OUTPUTS];
    od_plan_scalar scalars[RL_MAX_INSNS + 1];
    od_plan_pair pairs[RL_MAX_INSNS + 1];
    uint16_t alias[OD_MAX_VALUES];    /* a value that is another one: a second load of an input, a cast to itself */
    uint16_t last_use[OD_MAX_VALUES]; /* by step; n_steps: an output */
    uint16_t block_of[OD_MAX_VALUES];
    uint8_t reg[OD_MAX_VALUES];
    uint8_t is_result[OD_MAX_VALUES]; /* some step makes it */
    uint16_t numbers;                 /* the value that holds element numbers, or OD_NO_VALUE */
    uint16_t n_values;
    float cost;
    od_plan plan;
} maker;

/* About ns an element and instruction with vectors of 8. */
static float cost_of(const rl_insn *insn) {
    const float wide = insn->type == RL_REG_F64 ? 10.0f : 1.0f;
    switch (insn->code) {
    case RL_INSN_PHILOX:
    case RL_INSN_UNIFORM:
    case RL_INSN_NORMAL:
        return 3.0f;
    case RL_INSN_FMOD:
    case RL_INSN_IDIV:
    case RL_INSN_IREM:
        return 3.0f;
    case RL_INSN_EXP:
    case RL_INSN_LOG:
    case RL_INSN_TANH:
    case RL_INSN_ERF:
    case RL_INSN_ATAN:
        return 0.5f * wide;
    case RL_INSN_SIGMOID:
        return 0.5f * wide;
    case RL_INSN_SIN:
    case RL_INSN_COS:
    case RL_INSN_EXPM1:
    case RL_INSN_LOG1P:
        return 1.0f * wide;
    case RL_INSN_EXP2:
    case RL_INSN_LOG2:
    case RL_INSN_LOG10:
    case RL_INSN_SINH:
    case RL_INSN_COSH:
        return 1.0f * wide;
    case RL_INSN_POW:
        return 2.0f * wide;
    default:
        return insn->code > RL_INSN_BASE_END ? 10.0f : 0.08f;
    }
}

static uint16_t new_value(maker *m, rl_reg reg) {
    m->reg[m->n_values] = (uint8_t)reg;
    m->alias[m->n_values] = m->n_values;
    return m->n_values++;
}

static void add_step(maker *m, od_step_fn fn, uint16_t out, uint16_t a, uint16_t b, uint16_t c) {
    const uint16_t step = m->plan.n_steps++;
    m->steps[step] = (od_step){fn, out, m->alias[a], m->alias[b], m->alias[c]};
    m->is_result[out] = 1;
    m->last_use[m->alias[a]] = m->last_use[m->alias[b]] = m->last_use[m->alias[c]] = step;
}

static void add_index(maker *m, uint16_t value, int16_t dim) {
    for (int i = 0; i < m->plan.n_indices; i++)
        if (m->plan.indices[i].dim == dim) {
            m->alias[value] = m->plan.indices[i].value;
            return;
        }
    m->plan.indices[m->plan.n_indices++] = (od_plan_index){value, dim};
}

static void add_input(maker *m, uint16_t value, const rl_insn *insn) {
    od_plan_input *in = &m->plan.inputs[insn->imm];
    m->reg[value] = (uint8_t)od_register((rl_dtype)in->dtype);
    if (in->value == OD_NO_VALUE)
        in->value = value;
    else
        m->alias[value] = in->value;
}

static void add_random(maker *m, uint16_t value, const rl_insn *insn) {
    if (m->numbers == OD_NO_VALUE) {
        m->numbers = new_value(m, RL_REG_I64);
        add_index(m, m->numbers, -1);
    }
    const uint16_t pair = new_value(m, RL_REG_I64);
    m->pairs[m->plan.n_pairs++] = (od_plan_pair){pair, insn->imm};
    m->reg[value] = insn->code == RL_INSN_PHILOX ? RL_REG_I32 : insn->type;
    add_step(m, m->kernels->step[insn->code][insn->type], value, m->numbers, pair, pair);
}

#define OPERANDS(NAME, number, operands, types, text) [number] = operands,
static const uint8_t operand_count[RL_INSN_COUNT] = {RL_INSN_LIST(OPERANDS)};

static int is_comparison(int code) {
    return code >= RL_INSN_EQ && code <= RL_INSN_GE;
}

static int add_insn(maker *m, uint16_t value) {
    const rl_insn *insn = &m->program->insns[value];
    m->reg[value] = insn->type;
    m->cost += cost_of(insn);
    switch (insn->code) {
    case RL_INSN_INPUT:
        add_input(m, value, insn);
        return 1;
    case RL_INSN_SCALAR:
        m->scalars[m->plan.n_scalars++] = (od_plan_scalar){value, (uint8_t)insn->imm, insn->type};
        return 1;
    case RL_INSN_INDEX:
        m->reg[value] = RL_REG_I64;
        add_index(m, value, (int16_t)insn->imm);
        return 1;
    case RL_INSN_PHILOX:
    case RL_INSN_UNIFORM:
    case RL_INSN_NORMAL:
        add_random(m, value, insn);
        return 1;
    case RL_INSN_CAST: {
        const rl_reg from = (rl_reg)m->reg[insn->a], to = od_register((rl_dtype)insn->dtype);
        m->reg[value] = (uint8_t)to;
        if (from == to && od_is_native((rl_dtype)insn->dtype))
            m->alias[value] = m->alias[insn->a];
        else
            add_step(m, m->kernels->cast[from][insn->dtype], value, insn->a, insn->a, insn->a);
        return 1;
    }
    default:
        break;
    }
    od_step_fn fn = insn->code < RL_INSN_COUNT && insn->type < 4 ? m->kernels->step[insn->code][insn->type] : NULL;
    if (is_comparison(insn->code))
        m->reg[value] = RL_REG_I32;
    if (fn == NULL)
        return 0;
    const int count = operand_count[insn->code]; /* an operand that is not there stands for the first */
    add_step(m, fn, value, insn->a, count > 1 ? insn->b : insn->a, count > 2 ? insn->c : insn->a);
    return 1;
}

/* Brings each output into the register of its dtype and says whether its step may write to memory. */
static void add_outputs(maker *m) {
    for (int k = 0; k < m->program->n_outputs; k++) {
        od_plan_output *out = &m->plan.outputs[k];
        const rl_dtype dtype = (rl_dtype)m->program->output_dtype[k];
        uint16_t value = m->alias[m->program->output_value[k]];
        const rl_reg from = (rl_reg)m->reg[value];
        /* Stores of narrow integers wrap and stores of half floats round: only bool needs its cast besides. */
        if (from != od_register(dtype) || dtype == RL_BOOL) {
            const uint16_t cast = new_value(m, od_register(dtype));
            add_step(m, m->kernels->cast[from][dtype], cast, value, value, value);
            value = cast;
        }
        *out = (od_plan_output){.value = value,
                                .dtype = (uint8_t)dtype,
                                .bytes = (uint8_t)od_dtype_bytes(dtype),
                                .store = m->kernels->store[dtype]};
        out->direct = m->is_result[value] && od_is_native(dtype);
        for (int j = 0; j < k; j++)
            if (m->plan.outputs[j].value == value)
                out->direct = 0;
    }
    for (int k = 0; k < m->program->n_outputs; k++)
        m->last_use[m->plan.outputs[k].value] = m->plan.n_steps;
    for (int s = 0; s < m->plan.n_steps; s++)
        for (int k = 0; k < m->program->n_outputs; k++)
            if (m->steps[s].out == m->plan.outputs[k].value)
                m->plan.outputs[k].made_by = (uint16_t)s;
}

/* Gives each value a block. Loaded, spread and counted values keep theirs; a step's result takes one that is free and
 * never an operand's, since their elements may be of different size. */
static void place(maker *m) {
    uint16_t free_blocks[OD_MAX_VALUES], n_free = 0, n_blocks = 0;
    memset(m->block_of, 0xff, sizeof m->block_of);
    for (int i = 0; i < m->plan.n_inputs; i++)
        if (m->plan.inputs[i].value != OD_NO_VALUE)
            m->block_of[m->plan.inputs[i].value] = n_blocks++;
    for (int i = 0; i < m->plan.n_scalars; i++)
        m->block_of[m->scalars[i].value] = n_blocks++;
    for (int i = 0; i < m->plan.n_indices; i++)
        m->block_of[m->plan.indices[i].value] = n_blocks++;
    for (uint16_t s = 0; s < m->plan.n_steps; s++) {
        const od_step *step = &m->steps[s];
        m->block_of[step->out] = n_free ? free_blocks[--n_free] : n_blocks++;
        const uint16_t used[4] = {step->a, step->b, step->c, step->out};
        for (int i = 0; i < 4; i++) {
            int again = i == 3 ? m->last_use[used[i]] != 0 : 0;
            for (int j = 0; j < i; j++)
                again |= used[j] == used[i];
            if (!again && m->is_result[used[i]] && m->last_use[used[i]] == s)
                free_blocks[n_free++] = m->block_of[used[i]];
        }
    }
    m->plan.n_blocks = n_blocks;
}

static void size_tile(maker *m) {
    int wide = 0;
    for (int v = 0; v < m->n_values; v++)
        wide |= m->block_of[v] != OD_NO_VALUE && od_register_bytes((rl_reg)m->reg[v]) == 8;
    const int bytes = wide ? 8 : 4;
    int tile = OD_TILE_LIMIT;
    /* 64 bytes between blocks keep equal elements of different blocks out of one cache set. */
    while (tile > 16 && m->plan.n_blocks * (tile * bytes + 64) > OD_TILE_BYTES)
        tile /= 2;
    m->plan.tile = tile;
    m->plan.block_bytes = tile * bytes + 64;
}

static od_plan *finish(const maker *m) {
    const size_t steps = m->plan.n_steps * sizeof(od_step), scalars = m->plan.n_scalars * sizeof(od_plan_scalar),
                 pairs = m->plan.n_pairs * sizeof(od_plan_pair), blocks = m->n_values * sizeof(uint16_t);
    od_plan *plan = malloc(sizeof *plan + steps + scalars + pairs + blocks);
    if (plan == NULL)
        return NULL;
    *plan = m->plan;
    char *rest = (char *)(plan + 1) + steps;
    plan->steps = memcpy(plan + 1, m->steps, steps);
    plan->scalars = memcpy(rest, m->scalars, scalars);
    plan->pairs = memcpy(rest + scalars, m->pairs, pairs);
    plan->block_of = memcpy(rest + scalars + pairs, m->block_of, blocks);
    return plan;
}

static od_plan *make_plan(const rl_program *program, const od_kernels *kernels) {
    maker *m = calloc(1, sizeof *m);
    if (m == NULL) {
        od_host->fail(RL_OUT_OF_MEMORY, "onednn: no memory for a program of %d instructions", program->n_insns);
        return NULL;
    }
    m->program = program;
    m->kernels = kernels;
    m->numbers = OD_NO_VALUE;
    m->cost = 0.1f;
    m->plan.program = program;
    m->plan.kernels = kernels;
    m->plan.n_inputs = program->n_inputs;
    m->plan.n_outputs = program->n_outputs;
    for (int i = 0; i < program->n_inputs; i++) {
        const rl_dtype dtype = (rl_dtype)program->input_dtype[i];
        m->plan.inputs[i] = (od_plan_input){
            OD_NO_VALUE, (uint8_t)dtype,      (uint8_t)od_dtype_bytes(dtype), (uint8_t)od_is_native(dtype),
            0,           kernels->load[dtype]};
    }
    while (m->n_values < program->n_insns)
        new_value(m, RL_REG_F32);
    int bad = -1;
    for (uint16_t v = 0; v < program->n_insns && bad < 0; v++)
        if (!add_insn(m, v))
            bad = program->insns[v].code;
    od_plan *plan = NULL;
    if (bad < 0) {
        add_outputs(m);
        for (int i = 0; i < program->n_inputs; i++)
            if (m->plan.inputs[i].value != OD_NO_VALUE)
                m->plan.inputs[i].last_use = m->last_use[m->plan.inputs[i].value];
        place(m);
        size_tile(m);
        m->plan.is_input = m->plan.n_steps == 0 && m->plan.n_scalars == 0 && m->plan.n_indices == 0;
        for (int i = 0; i < program->n_inputs; i++)
            m->plan.is_input &= m->plan.inputs[i].native;
        m->plan.cost = m->cost;
        m->plan.n_values = m->n_values;
        plan = finish(m);
        if (plan == NULL)
            od_host->fail(RL_OUT_OF_MEMORY, "onednn: no memory for a program of %d instructions", program->n_insns);
    } else {
        od_host->fail(RL_UNSUPPORTED, "onednn: a program has instruction %d, which this backend does not take", bad);
    }
    free(m);
    return plan;
}

/* The table: pages of plans by index, so that a look-up takes no lock. */
#define PAGE 256
#define PAGES 4096
typedef _Atomic(od_plan *) slot;
static _Atomic(slot *) pages[PAGES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const od_kernels *chosen;

/* The table is good at any moment: pages and plans enter it by one store each. */
void od_plans_forked(void) {
    lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
}

void od_plans_init(const od_kernels *kernels) {
    chosen = kernels;
}

static const od_plan *add_plan(const rl_program *program) {
    const uint32_t p = program->index / PAGE;
    od_plan *plan = NULL;
    if (p >= PAGES) {
        od_host->fail(RL_UNSUPPORTED, "onednn: more than %d programs", PAGE * PAGES);
        return NULL;
    }
    pthread_mutex_lock(&lock);
    slot *page = atomic_load(&pages[p]);
    if (page == NULL && (page = calloc(PAGE, sizeof *page)) != NULL)
        atomic_store_explicit(&pages[p], page, memory_order_release);
    if (page == NULL) {
        od_host->fail(RL_OUT_OF_MEMORY, "onednn: no memory for the table of programs");
    } else {
        plan = atomic_load(&page[program->index % PAGE]);
        if (plan == NULL && (plan = make_plan(program, chosen)) != NULL)
            atomic_store_explicit(&page[program->index % PAGE], plan, memory_order_release);
    }
    pthread_mutex_unlock(&lock);
    return plan;
}

const od_plan *od_plan_of(const rl_program *program) {
    if (program->index / PAGE < PAGES) {
        slot *page = atomic_load_explicit(&pages[program->index / PAGE], memory_order_acquire);
        const od_plan *plan = page ? atomic_load_explicit(&page[program->index % PAGE], memory_order_acquire) : NULL;
        if (plan != NULL)
            return plan;
    }
    return add_plan(program);
}

void od_plans_shutdown(void) {
    for (int p = 0; p < PAGES; p++) {
        slot *page = atomic_exchange(&pages[p], NULL);
        for (int i = 0; page != NULL && i < PAGE; i++)
            free(atomic_load(&page[i]));
        free(page);
    }
}
