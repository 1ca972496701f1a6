/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rl_convert.h"
#include "rl_interp.h"

/* The host -------------------------------------------------------------------------------------------------------- */

uint32_t threads = 2;
char host_text[512];
int scratch_fails;
const rl_backend *backend;
rl_backend_device *device;
rl_backend_stream *stream;

static rl_status host_fail(rl_status status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(host_text, sizeof host_text, format, args);
    va_end(args);
    return status;
}
static void host_log(rl_log_level level, const char *format, ...) {
    (void)level, (void)format;
}
static uint32_t host_threads(void) {
    return threads;
}
static _Thread_local struct {
    void *block;
    size_t bytes;
} own_scratch;
static pthread_key_t scratch_of_thread; /* frees it when a thread ends */
static void make_key(void) {
    (void)pthread_key_create(&scratch_of_thread, free);
}
static void *host_scratch(size_t bytes) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (scratch_fails)
        return NULL;
    pthread_once(&once, make_key);
    if (own_scratch.bytes < bytes) {
        free(own_scratch.block);
        own_scratch.block = NULL;
        own_scratch.bytes = posix_memalign(&own_scratch.block, 64, bytes) == 0 ? bytes : 0;
        pthread_setspecific(scratch_of_thread, own_scratch.block);
    }
    return own_scratch.block;
}
static rl_status cache_get(const char *key, void *data, size_t *bytes) {
    (void)key, (void)data, (void)bytes;
    return RL_NOT_FOUND;
}
static rl_status cache_put(const char *key, const void *data, size_t bytes) {
    (void)key, (void)data, (void)bytes;
    return RL_OK;
}
rl_host host = {.size = sizeof(rl_host),
                .abi = RL_ABI_VERSION,
                .fail = host_fail,
                .log = host_log,
                .thread_count = host_threads,
                .scratch = host_scratch,
                .cache_get = cache_get,
                .cache_put = cache_put};

static void *library;
static void free_programs(void);

rl_backend_query_fn query_of_plugin(void) {
    rl_backend_query_fn query;
    void *symbol = dlsym(library, RL_BACKEND_QUERY_SYMBOL);
    assert_non_null(symbol);
    memcpy(&query, &symbol, sizeof query);
    return query;
}

int open_backend(const char *isa) {
    if (library == NULL)
        library = dlopen(TEST_BINARY_DIR "/lib/rushlight/rushlight_backend_onednn.so", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fail_msg("%s", dlerror());
        return 0;
    }
    if (isa != NULL)
        setenv("RUSHLIGHT_ONEDNN_ISA", isa, 1);
    else
        unsetenv("RUSHLIGHT_ONEDNN_ISA");
    assert_int_equal(query_of_plugin()(RL_ABI_VERSION, &host, &backend), RL_OK);
    if (backend->init() != RL_OK) {
        fprintf(stderr, "SKIPPED %s: %s\n", isa ? isa : "default", host_text);
        return 0;
    }
    assert_int_equal(backend->device_open(0, &device), RL_OK);
    assert_int_equal(backend->stream_create(device, &stream), RL_OK);
    return 1;
}

void close_backend(void) {
    backend->stream_destroy(stream);
    backend->device_close(device);
    backend->shutdown();
    free_programs();
    free(own_scratch.block);
    own_scratch.block = NULL;
    own_scratch.bytes = 0;
}

void each_clone(void (*test)(void)) {
    static const char *const clones[] = {"baseline", "avx2", "avx512"};
    for (int i = 0; i < COUNT(clones); i++)
        if (open_backend(clones[i])) {
            seed((uint64_t)i + 1);
            test();
            free_operands();
            close_backend();
        }
}

/* Random numbers: xorshift64* ------------------------------------------------------------------------------------- */

static uint64_t state_ = 88172645463325252u;
void seed(uint64_t value) {
    state_ = value * 0x9E3779B97F4A7C15u + 1;
}
const rl_fused_cell *cell_of(rl_row row) {
    for (uint32_t i = 0; i < backend->n_fused; i++)
        if (backend->fused[i].row == (uint32_t)row)
            return &backend->fused[i];
    fail_msg("the backend has no cell of row %d", (int)row);
    return NULL;
}

uint64_t draw(void) {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545F4914F6CDD1Du;
}
int64_t draw_below(int64_t n) {
    return (int64_t)((draw() >> 11) % (uint64_t)n);
}

static double random_float(void) {
    static const double special[] = {0.0, -0.0, 1.0, -1.0, 0.5, INFINITY, -INFINITY, 1e-40, 65504.0, 3e38};
    if (draw_below(16) == 0)
        return draw_below(12) == 0 ? (double)NAN : special[draw_below(COUNT(special))];
    return ((double)(draw() >> 11) * 0x1p-53 - 0.5) * (draw_below(4) ? 8.0 : 600.0);
}

void fill_random(void *to, rl_dtype dtype, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        const double f = random_float();
        const int64_t k = draw_below(5) ? draw_below(21) - 10 : (int64_t)draw();
        switch (dtype) {
        case RL_F32:
            ((float *)to)[i] = (float)f;
            break;
        case RL_F64:
            ((double *)to)[i] = f;
            break;
        case RL_F16:
            ((uint16_t *)to)[i] = rl_f16_from_f64(f);
            break;
        case RL_BF16:
            ((uint16_t *)to)[i] = rl_bf16_from_f64(f);
            break;
        case RL_I8:
        case RL_U8:
            ((uint8_t *)to)[i] = (uint8_t)k;
            break;
        case RL_I16:
            ((uint16_t *)to)[i] = (uint16_t)k;
            break;
        case RL_I32:
            ((uint32_t *)to)[i] = (uint32_t)k;
            break;
        case RL_I64:
            ((int64_t *)to)[i] = k;
            break;
        default:
            ((uint8_t *)to)[i] = (uint8_t)(draw() >> 40 & 1u);
            break;
        }
    }
}

void fill_small_integers(void *to, rl_dtype dtype, int64_t n, int64_t bound) {
    for (int64_t i = 0; i < n; i++) {
        int64_t k = draw_below(2 * bound + 1) - bound;
        if (dtype == RL_BOOL)
            k &= 1;
        const int bytes = (int)rl_interp_dtype_bytes(dtype);
        if (rl_interp_dtype_reg(dtype) == RL_REG_F32) {
            const float x = (float)k;
            rl_interp_store(dtype, (char *)to + i * bytes, 1, 1, RL_REG_F32, &x);
        } else if (dtype == RL_F64) {
            ((double *)to)[i] = (double)k;
        } else if (dtype == RL_I64) {
            ((int64_t *)to)[i] = k;
        } else {
            const int32_t x = (int32_t)k;
            rl_interp_store(dtype, (char *)to + i * bytes, 1, 1, RL_REG_I32, &x);
        }
    }
}

/* Operands -------------------------------------------------------------------------------------------------------- */

static twin_operand *made[1024]; /* what free_operands frees */
static int n_made;

void free_operands(void) {
    for (; n_made > 0; n_made--) {
        twin *t = made[n_made - 1]->memory;
        backend->mem_free(device, t->wrapped);
        free(t->base[0]);
        free(t->base[1]);
        free(t);
        free(made[n_made - 1]);
    }
}

#define GUARD 64
twin_operand *new_operand(rl_dtype dtype, int64_t ndim, const int64_t *shape, stride_kind kind) {
    const int64_t bytes = (int64_t)rl_interp_dtype_bytes(dtype);
    int order[RL_MAX_DIMS];
    twin_operand *self = calloc(1, sizeof *self);
    assert_non_null(self);
    self->dtype = dtype;
    if (kind == ANY)
        kind = (stride_kind)draw_below(4);
    for (int d = 0; d < ndim; d++)
        order[d] = d;
    if (kind != PACKED)
        for (int64_t d = ndim - 1; d > 0; d--) {
            const int64_t e = draw_below(d + 1);
            const int t = order[d];
            order[d] = order[e];
            order[e] = t;
        }
    int64_t step = 1, low = 0, high = 0;
    rl_operand o = {0};
    for (int64_t i = ndim - 1; i >= 0; i--) {
        const int d = order[i];
        if (kind == GAPS && draw_below(3) == 0)
            step += draw_below(3);
        o.stride[d] = step;
        if (kind == BROADCAST && draw_below(2) == 0) {
            o.stride[d] = 0;
            continue;
        }
        if (kind == GAPS && draw_below(4) == 0)
            o.stride[d] = -step;
        if (shape[d] > 0) {
            *(o.stride[d] < 0 ? &low : &high) += o.stride[d] * (shape[d] - 1);
            step *= shape[d];
        }
        step = kind == GAPS && high - low + 1 > step ? high - low + 1 : step;
    }
    const int64_t elements = high - low + 1;
    twin *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->bytes = (uint64_t)(elements * bytes + 2 * GUARD);
    for (int i = 0; i < 2; i++) {
        void *block = NULL;
        assert_int_equal(posix_memalign(&block, 64, t->bytes), 0);
        t->base[i] = block;
        memset(block, 0xa5, t->bytes);
    }
    fill_random(t->base[0] + GUARD, dtype, elements);
    memcpy(t->base[1], t->base[0], t->bytes);
    t->plain.data = t->base[0];
    assert_int_equal(backend->mem_wrap(device, t->base[1], t->bytes, &t->wrapped), RL_OK);
    o.offset = (uint64_t)(GUARD - low * bytes);
    self->memory = t;
    self->of[0] = self->of[1] = o;
    self->of[0].buffer = (rl_backend_buffer *)(void *)&t->plain;
    self->of[1].buffer = t->wrapped;
    assert_true(n_made < COUNT(made));
    made[n_made++] = self;
    return self;
}

/* Comparing ------------------------------------------------------------------------------------------------------- */

static double value_at(const unsigned char *base, rl_dtype dtype, uint64_t i) {
    double x;
    float f;
    uint16_t h;
    switch (dtype) {
    case RL_F32:
        memcpy(&f, base + 4 * i, 4);
        return (double)f;
    case RL_F64:
        memcpy(&x, base + 8 * i, 8);
        return x;
    default:
        memcpy(&h, base + 2 * i, 2);
        return (double)(dtype == RL_F16 ? rl_f32_from_f16(h) : rl_f32_from_bf16(h));
    }
}

static double ulp_of(rl_dtype dtype, double x) {
    const int digits = dtype == RL_F32 ? 24 : dtype == RL_F64 ? 53 : dtype == RL_F16 ? 11 : 8;
    const int least = dtype == RL_F32 || dtype == RL_BF16 ? -125 : dtype == RL_F64 ? -1021 : -13;
    int e;
    (void)frexp(x, &e);
    return ldexp(1.0, (x == 0.0 || e < least ? least : e) - digits);
}

void assert_twins(const twin_operand *operand, double ulps, const char *what) {
    const twin *t = operand->memory;
    if (memcmp(t->base[0], t->base[1], t->bytes) == 0)
        return;
    const rl_dtype dtype = operand->dtype;
    const uint64_t bytes = rl_interp_dtype_bytes(dtype);
    assert_memory_equal(t->base[0], t->base[1], GUARD);
    assert_memory_equal(t->base[0] + t->bytes - GUARD, t->base[1] + t->bytes - GUARD, GUARD);
    const int is_float = dtype == RL_F32 || dtype == RL_F64 || dtype == RL_F16 || dtype == RL_BF16;
    for (uint64_t i = 0; i < (t->bytes - 2 * GUARD) / bytes; i++) {
        const unsigned char *a = t->base[0] + GUARD, *b = t->base[1] + GUARD;
        if (memcmp(a + i * bytes, b + i * bytes, bytes) == 0)
            continue;
        if (!is_float)
            fail_msg("%s: element %llu of dtype %d differs", what, (unsigned long long)i, (int)dtype);
        const double x = value_at(a, dtype, i), y = value_at(b, dtype, i);
        if ((isnan(x) && isnan(y)) || (ulps > 0 && x == y))
            continue;
        const double error = fabs(x - y) / ulp_of(dtype, x);
        if (!(error <= ulps))
            fail_msg("%s: element %llu of dtype %d: expected %.17g, got %.17g, %.3g ulp apart, %.3g allowed", what,
                     (unsigned long long)i, (int)dtype, x, y, error, ulps);
    }
}

/* Programs --------------------------------------------------------------------------------------------------------- */

static uint32_t next_index;
static program_box *programs; /* they live until shutdown has returned */

static void free_programs(void) {
    while (programs != NULL) {
        program_box *next = programs->next;
        free(programs);
        programs = next;
    }
}

rl_program *begin_program(void) {
    program_box *box = calloc(1, sizeof *box);
    assert_non_null(box);
    box->program.size = sizeof box->program;
    box->program.index = next_index++;
    box->program.insns = box->insns;
    box->next = programs;
    programs = box;
    return &box->program;
}
uint8_t put(rl_program *p, rl_insn insn) {
    ((program_box *)(void *)p)->insns[p->n_insns] = insn;
    if (insn.code == RL_INSN_INDEX)
        p->flags |= RL_PROGRAM_INDEX;
    if (insn.code >= RL_INSN_PHILOX && insn.code <= RL_INSN_NORMAL)
        p->flags |= RL_PROGRAM_RANDOM;
    return (uint8_t)p->n_insns++;
}
uint8_t put_input(rl_program *p, rl_dtype dtype) {
    p->input_dtype[p->n_inputs] = (uint8_t)dtype;
    return put(p, (rl_insn){.code = RL_INSN_INPUT, .type = (uint8_t)rl_interp_dtype_reg(dtype), .imm = p->n_inputs++});
}
uint8_t put_scalar(rl_program *p, rl_reg reg) {
    return put(p, (rl_insn){.code = RL_INSN_SCALAR, .type = (uint8_t)reg, .imm = p->n_scalars++});
}
void put_output(rl_program *p, uint8_t value, rl_dtype dtype) {
    p->output_value[p->n_outputs] = value;
    p->output_dtype[p->n_outputs++] = (uint8_t)dtype;
}

static rl_dtype random_dtype(void) {
    return (rl_dtype)(1 + draw_below(RL_DTYPE_COUNT - 1));
}

/* Instructions whose results are the same bits everywhere. */
static const uint8_t exact[] = {
    RL_INSN_ADD,   RL_INSN_SUB,  RL_INSN_MUL,   RL_INSN_DIV,    RL_INSN_FMA,   RL_INSN_NEG,  RL_INSN_ABS,
    RL_INSN_MIN,   RL_INSN_MAX,  RL_INSN_IDIV,  RL_INSN_IREM,   RL_INSN_EQ,    RL_INSN_NE,   RL_INSN_LT,
    RL_INSN_LE,    RL_INSN_GT,   RL_INSN_GE,    RL_INSN_SELECT, RL_INSN_AND,   RL_INSN_OR,   RL_INSN_XOR,
    RL_INSN_NOT,   RL_INSN_SHL,  RL_INSN_SHR,   RL_INSN_SQRT,   RL_INSN_FLOOR, RL_INSN_CEIL, RL_INSN_TRUNC,
    RL_INSN_ROUND, RL_INSN_CAST, RL_INSN_RECIP, RL_INSN_FMOD};

#define OPERANDS(NAME, number, operands, types, text) [number] = {operands, #types[0]},
static const struct {
    int operands;
    char types;
} insn_info[RL_INSN_COUNT] = {RL_INSN_LIST(OPERANDS)};

/* A random earlier value held in a register, or -1. */
static int value_in(const rl_reg *regs, int n, rl_reg reg) {
    for (int tries = 0; tries < 20; tries++) {
        const int v = (int)draw_below(n);
        if (regs[v] == reg)
            return v;
    }
    return -1;
}

static int put_random(rl_program *p, rl_reg *regs) {
    const uint8_t code = exact[draw_below(COUNT(exact))];
    const int a = (int)draw_below(p->n_insns);
    const int is_float = regs[a] == RL_REG_F32 || regs[a] == RL_REG_F64;
    const char types = insn_info[code].types;
    rl_insn insn = {.code = code, .type = (uint8_t)regs[a], .a = (uint8_t)a};
    rl_reg result = regs[a];
    if ((types == 'F' && !is_float) || (types == 'I' && is_float))
        return 0;
    if (code == RL_INSN_CAST) {
        /* Floats out of range have no value as integers: those casts have a test of their own. */
        insn.dtype = (uint8_t)random_dtype();
        result = rl_interp_dtype_reg(insn.dtype);
        if (is_float && (result == RL_REG_I32 || result == RL_REG_I64) && insn.dtype != RL_BOOL)
            return 0;
    } else if (code == RL_INSN_SELECT) {
        const int mask = value_in(regs, p->n_insns, RL_REG_I32), c = value_in(regs, p->n_insns, regs[a]);
        if (mask < 0 || c < 0)
            return 0;
        insn.a = (uint8_t)mask, insn.b = (uint8_t)a, insn.c = (uint8_t)c;
    } else {
        const int b = value_in(regs, p->n_insns, regs[a]), c = value_in(regs, p->n_insns, regs[a]);
        if (b < 0 || c < 0)
            return 0;
        insn.b = insn_info[code].operands > 1 ? (uint8_t)b : 0;
        insn.c = insn_info[code].operands > 2 ? (uint8_t)c : 0;
        if (code >= RL_INSN_EQ && code <= RL_INSN_GE)
            result = RL_REG_I32;
    }
    regs[put(p, insn)] = result;
    return 1;
}

rl_program *random_program(int n_inputs, int n_outputs, int n_insns, int with_index) {
    rl_program *p = begin_program();
    rl_reg regs[RL_MAX_INSNS + 1];
    for (int i = 0; i < n_inputs; i++) {
        const rl_dtype dtype = random_dtype();
        regs[put_input(p, dtype)] = rl_interp_dtype_reg(dtype);
    }
    for (int r = 0; r < 4; r++)
        regs[put_scalar(p, (rl_reg)r)] = (rl_reg)r;
    for (int d = 0; d < with_index; d++)
        regs[put(p, (rl_insn){.code = RL_INSN_INDEX, .type = RL_REG_I64, .imm = (uint16_t)d})] = RL_REG_I64;
    while (p->n_insns < n_insns)
        put_random(p, regs);
    for (int k = 0; k < n_outputs; k++) {
        const int v = p->n_insns - 1 - (int)draw_below(p->n_insns < 8 ? p->n_insns : 8);
        rl_dtype dtype = random_dtype();
        const rl_reg reg = rl_interp_dtype_reg(dtype);
        if ((regs[v] == RL_REG_F32 || regs[v] == RL_REG_F64) && (reg == RL_REG_I32 || reg == RL_REG_I64))
            dtype = draw_below(2) ? RL_BOOL : RL_F32;
        put_output(p, (uint8_t)v, dtype);
    }
    return p;
}
