/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls by name with arguments that nobody would give: test_fuzz [SEED [CALLS [OP]]]. Whatever comes, a call gives
 * results, whose backward can be walked, or an error with a sentence; nothing crashes, hangs, leaks or writes where it
 * must not (the sanitizers look).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/op.h"
#include "rushlight/autograd.h"
#include "rushlight/device.h"
#include "rushlight/ops.h"

#define CALLS 60000
#define MEMORY_LIMIT "67108864" /* bytes, so that a shape of a million by a million is an error and no wait */
#define POOL 48
#define ROOM 16

typedef struct fuzzer {
    uint64_t state;
    rl_device *device, *ref;
    rl_tensor *pool[POOL];
    rl_generator *generator;
    int64_t lists[ROOM][RL_MAX_DIMS + 2];
    rl_tensor *tensors[ROOM][4];
    int n_lists;
    long ran; /* calls that gave results */
} fuzzer;

static uint64_t next(fuzzer *self) { /* xorshift64* (Marsaglia 2003, Vigna 2016) */
    self->state ^= self->state >> 12;
    self->state ^= self->state << 25;
    self->state ^= self->state >> 27;
    return self->state * 0x2545f4914f6cdd1du;
}
static int64_t pick(fuzzer *self, int64_t n) {
    return (int64_t)((next(self) >> 20) % (uint64_t)n);
}

/* Values --------------------------------------------------------------------------------------------------------- */

static int64_t any_int(fuzzer *self) {
    static const int64_t far[] = {INT64_MIN, INT64_MAX, INT64_MIN / 2, INT64_MAX / 2, 1 << 30, -(1 << 30), 255,
                                  65,        1e6};
    return pick(self, 12) ? pick(self, 9) - 3 : far[pick(self, sizeof far / sizeof *far)];
}

static double any_float(fuzzer *self) {
    static const double values[] = {0,     -0.0, 0.5,    1,    -1,    2.5,      1e-300, 1e300,
                                    -1e30, NAN,  0x1p63, 1e10, -0.25, INFINITY, 3,      -INFINITY};
    return values[pick(self, sizeof values / sizeof *values)];
}

static rl_ints any_ints(fuzzer *self) {
    int64_t count = pick(self, 40) ? pick(self, 4) : pick(self, RL_MAX_DIMS + 3);
    int64_t *list = self->lists[self->n_lists++ % ROOM];
    for (int64_t i = 0; i < count; i++)
        list[i] = any_int(self);
    return (rl_ints){list, count};
}

static rl_tensors any_tensors(fuzzer *self) {
    int64_t count = pick(self, 5);
    rl_tensor **list = self->tensors[self->n_lists++ % ROOM];
    for (int64_t i = 0; i < count; i++)
        list[i] = pick(self, 30) ? self->pool[pick(self, POOL)] : NULL;
    return (rl_tensors){list, count};
}

static const char *any_string(fuzzer *self) {
    static const char *const words[] = {
        "mean",     "sum",     "none",      "tanh",     "floor",   "trunc",         "prod",     "amax",      "amin",
        "",         "ref",     "moon",      "xx",       "%s%n",    "mean ",         "float32",  "largest",   "linear",
        "constant", "reflect", "replicate", "circular", "nearest", "nearest-exact", "bilinear", "trilinear", "bicubic",
        "area",     "lstm",    "gru",       "relu",     "gelu",    "gelu_tanh",     "batchmean"};
    return pick(self, 20) ? words[pick(self, sizeof words / sizeof *words)] : NULL;
}

static rl_value any_of_kind(fuzzer *self, rl_value_kind kind) {
    rl_value v = {.kind = kind};
    switch (kind) {
    case RL_VALUE_TENSOR:
        v.as.tensor = pick(self, 40) ? self->pool[pick(self, POOL)] : NULL;
        break;
    case RL_VALUE_INT:
        v.as.i = any_int(self);
        break;
    case RL_VALUE_FLOAT:
        v.as.f = any_float(self);
        break;
    case RL_VALUE_BOOL:
        v.as.b = pick(self, 2);
        break;
    case RL_VALUE_INTS:
        v.as.ints = any_ints(self);
        break;
    case RL_VALUE_TENSORS:
        v.as.tensors = any_tensors(self);
        break;
    case RL_VALUE_DTYPE:
        v.as.dtype = (rl_dtype)(pick(self, 30) ? pick(self, RL_DTYPE_COUNT + 1) : any_int(self));
        break;
    case RL_VALUE_DEVICE:
        v.as.device = pick(self, 4) ? self->device : pick(self, 2) ? self->ref : NULL;
        break;
    case RL_VALUE_STRING:
        v.as.string = any_string(self);
        break;
    case RL_VALUE_GENERATOR:
        v.as.generator = pick(self, 3) ? self->generator : NULL;
        break;
    default:
        break;
    }
    return v;
}

/* Mostly of the kind that the parameter takes. */
static rl_value any_value(fuzzer *self, const rl_param *param) {
    static const rl_value_kind kinds[] = {
        [RL_PARAM_TENSOR] = RL_VALUE_TENSOR,   [RL_PARAM_TENSOR_OR_SCALAR] = RL_VALUE_TENSOR,
        [RL_PARAM_TENSORS] = RL_VALUE_TENSORS, [RL_PARAM_INT] = RL_VALUE_INT,
        [RL_PARAM_FLOAT] = RL_VALUE_FLOAT,     [RL_PARAM_BOOL] = RL_VALUE_BOOL,
        [RL_PARAM_SCALAR] = RL_VALUE_FLOAT,    [RL_PARAM_INTS] = RL_VALUE_INTS,
        [RL_PARAM_DTYPE] = RL_VALUE_DTYPE,     [RL_PARAM_DEVICE] = RL_VALUE_DEVICE,
        [RL_PARAM_STRING] = RL_VALUE_STRING,   [RL_PARAM_GENERATOR] = RL_VALUE_GENERATOR};
    bool number = param->type == RL_PARAM_TENSOR_OR_SCALAR || param->type == RL_PARAM_SCALAR;
    if (number && pick(self, 2) == 0)
        return any_of_kind(self, (rl_value_kind)(RL_VALUE_INT + pick(self, 3)));
    return any_of_kind(self, pick(self, 25) ? kinds[param->type] : (rl_value_kind)pick(self, RL_VALUE_GENERATOR + 1));
}

/* Tensors of many shapes, dtypes and layouts. Integers are small, so that many are good indices. */
static rl_tensor *any_tensor(fuzzer *self) {
    static const int64_t shapes[][4] = {{0},       {1, 1},    {1, 3},       {1, 0},   {2, 2, 3},
                                        {2, 3, 3}, {2, 0, 3}, {3, 2, 3, 2}, {2, 3, 1}};
    const int64_t *shape = shapes[pick(self, sizeof shapes / sizeof *shapes)];
    rl_dtype dtype = (rl_dtype)(1 + pick(self, RL_DTYPE_COUNT - 1));
    rl_ints size = {shape + 1, shape[0]};
    rl_tensor *t = rl_dtype_is_float(dtype) ? rl_randn(size, .device = self->device)
                                            : rl_randint(0, 4, size, .device = self->device);
    t = rl_to(t, .dtype = dtype, .device = pick(self, 30) ? self->device : self->ref);
    int64_t layout = pick(self, 6);
    if (layout == 0 && shape[0] >= 2)
        t = rl_transpose(t, 0, 1);
    else if (layout == 1 && shape[0] >= 1)
        t = rl_slice(t, 0, .start = 1);
    else if (layout == 2)
        t = rl_expand(rl_unsqueeze(t, 0), (rl_ints){(const int64_t[]){2, -1, -1, -1, -1}, shape[0] + 1});
    return rl_dtype_is_float(dtype) && pick(self, 3) == 0 ? rl_requires_grad(t, true) : t;
}

/* Calls ---------------------------------------------------------------------------------------------------------- */

static bool call_any(fuzzer *self, size_t op) {
    RL_SCOPE();
    const rl_schema *schema = &rl_schema_table[op];
    rl_argument arguments[RL_MAX_ARGS + 1];
    rl_tensor *results[ROOM];
    int64_t count = 0, n_results = 0;
    bool named = false;
    for (int i = 0; i < schema->n_params; i++) {
        const rl_param *param = &schema->params[i];
        bool skip = param->has_default ? pick(self, 2) : pick(self, 60) == 0;
        named |= param->keyword || skip || pick(self, 30) == 0;
        if (!skip)
            arguments[count++] = (rl_argument){named ? param->name : NULL, any_value(self, param)};
    }
    bool inplace = schema->inplace_name && pick(self, 3) == 0;
    const char *name = inplace ? schema->inplace_name : schema->name;
    rl_status status = rl_op_call(name, arguments, count, results, ROOM, &n_results);
    for (int64_t i = 0; status == RL_OK && i < n_results && i < ROOM; i++) {
        bool differentiable = rl_tensor_requires_grad(results[i]) && rl_tensor_numel(results[i]) < 10000;
        if (differentiable && rl_backward(rl_sum(results[i]), .retain_graph = true) != RL_OK)
            status = rl_error_status();
    }
    rl_synchronize(self->device);
    self->ran += !rl_failed();
    bool well = status == RL_OK || (*rl_error_text() != '\0' && rl_error_status() != RL_INTERNAL);
    if (!well)
        printf("FAILED %s: status %d, \"%s\"\n", name, (int)status, rl_error_text());
    rl_error_clear();
    return well;
}

int main(int argc, char **argv) {
    fuzzer self = {.state = argc > 1 ? strtoull(argv[1], NULL, 10) * 2 + 1 : 1};
    const char *wanted = getenv("RUSHLIGHT_TEST_DEVICES"), *only = argc > 3 ? argv[3] : NULL;
    long calls = argc > 2 ? atol(argv[2]) : CALLS, failed = 0;
    setenv("RUSHLIGHT_BACKEND_PATH", TEST_BINARY_DIR "/lib/rushlight", 0);
    setenv("RUSHLIGHT_MEMORY_LIMIT", MEMORY_LIMIT, 1);
    setenv("RUSHLIGHT_QUIET", "1", 1);
    self.ref = rl_device_get("ref");
    self.device = wanted && *wanted ? rl_device_get(wanted) : rl_device_default();
    self.generator = rl_generator_new(1);
    rl_manual_seed(1);
    for (long i = 0; i < calls && !(self.device == NULL); i++) {
        if (i % 500 == 0) { /* in place, they become what they will: from the start again */
            for (int k = 0; k < POOL; k++) {
                RL_SCOPE();
                rl_release(i ? self.pool[k] : NULL);
                self.pool[k] = rl_retain(any_tensor(&self));
            }
            if (rl_failed())
                break;
        }
        size_t op = (size_t)pick(&self, RL_OPCODE_COUNT);
        if (only == NULL || strcmp(rl_schema_table[op].name, only) == 0)
            failed += !call_any(&self, op);
    }
    printf("%ld calls on %s, of which %ld gave results, %ld no sensible error; %s\n", calls,
           rl_device_name(self.device), self.ran, failed, rl_error_text());
    bool well = failed == 0 && !rl_failed() && (only || self.ran > calls / 10);
    for (int k = 0; k < POOL; k++)
        rl_release(self.pool[k]);
    rl_shutdown();
    return well ? 0 : 1;
}
