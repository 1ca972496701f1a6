/* SPDX-License-Identifier: Apache-2.0 */
/* testing.h: the calls that samples describe. */
#include <string.h>

#include "base/memory.h"
#include "base/sized.h"
#include "ops/sample.h"
#include "ops/testing.h"
#include "rushlight/ops.h"

#define MARGIN 3 /* elements of a storage before and behind those of the tensor */

/* Samples -------------------------------------------------------------------------------------------------------- */

static const rl_sample *find_sample(size_t op, size_t number) {
    const rl_sample *sample = op < RL_OPCODE_COUNT ? rl_op_table[op]->samples : NULL;
    while (sample != NULL && sample->args != NULL && number > 0) {
        sample++;
        number--;
    }
    return sample != NULL && sample->args != NULL ? sample : NULL;
}

static const rl_bad *find_bad(size_t op, size_t number) {
    const rl_bad *bad = op < RL_OPCODE_COUNT ? rl_op_table[op]->bad : NULL;
    while (bad != NULL && bad->args != NULL && number > 0) {
        bad++;
        number--;
    }
    return bad != NULL && bad->args != NULL ? bad : NULL;
}

size_t rl_test_sample_count(size_t op) {
    size_t count = 0;
    while (find_sample(op, count))
        count++;
    return count;
}

size_t rl_test_bad_count(size_t op) {
    size_t count = 0;
    while (find_bad(op, count))
        count++;
    return count;
}

static bool has_tensor_under_test(const rl_sample_line *line) {
    for (int k = 0; k < line->n_tensors; k++)
        if (rl_sample_under_test(&line->tensors[k]))
            return true;
    return false;
}

bool rl_test_sample_describe(size_t op, size_t number, rl_test_sample *out_sample) {
    const rl_sample *sample = find_sample(op, number);
    rl_sample_line line;
    if (sample == NULL || rl_sample_parse(sample->args, &line) != RL_OK)
        return false;
    const rl_op_def *def = rl_op_table[op];
    rl_test_sample made = {.args = sample->args,
                           .why = sample->why ? sample->why : "",
                           .dtypes = rl_sample_dtypes(def, sample, &line),
                           .rtol = sample->rtol,
                           .atol = sample->atol,
                           .f64 = strstr(sample->args, "f64[") || strstr(sample->args, "float64"),
                           .layouts = !(def->flags & RL_OP_LAYOUT),
                           .random = def->flags & RL_OP_RANDOM,
                           .inplace = def->flags & RL_OP_INPLACE};
    made.differentiable = !sample->no_gradcheck && !made.random && !(def->flags & RL_OP_NO_GRAD) &&
                          (def->vjp || def->flags & RL_OP_COMPOSITE) && (made.dtypes >> RL_F64 & 1) &&
                          has_tensor_under_test(&line);
    return rl_sized_fill("test_sample_describe", out_sample, &made, sizeof made) == RL_OK;
}

bool rl_test_bad_describe(size_t op, size_t number, rl_test_bad *out_bad) {
    const rl_bad *bad = find_bad(op, number);
    if (bad == NULL)
        return false;
    rl_test_bad made = {.args = bad->args, .status = bad->status, .sentence = bad->sentence};
    return rl_sized_fill("test_bad_describe", out_bad, &made, sizeof made) == RL_OK;
}

/* Tensors -------------------------------------------------------------------------------------------------------- */

const char *rl_test_layout_name(rl_test_layout layout) {
    static const char *const names[] = {"as written", "contiguous", "gapped", "reversed"};
    return (size_t)layout < RL_TEST_LAYOUT_COUNT ? names[layout] : "unknown";
}

/* Where the elements of a tensor lie: strides and first element in a storage of `length` elements. */
typedef struct placement {
    int64_t stride[RL_MAX_DIMS], offset, length;
} placement;

static void place(const rl_sample_tensor *tensor, rl_test_layout layout, int64_t numel, placement *out) {
    char how = layout == RL_TEST_AS_WRITTEN ? tensor->layout : layout == RL_TEST_REVERSED ? 't' : 0;
    int64_t gap = layout == RL_TEST_GAPPED || how == 's' ? 2 : 1;
    rl_contiguous_strides(tensor->ndim, tensor->shape, out->stride);
    if (how == 't') {
        int64_t stride = 1;
        for (int d = 0; d < tensor->ndim; stride *= tensor->shape[d++])
            out->stride[d] = stride;
    }
    for (int d = 0; d < tensor->ndim; d++)
        out->stride[d] *= gap;
    if (how == 'e' && tensor->ndim > 0)
        out->stride[0] = 0;
    int64_t margin = layout >= RL_TEST_GAPPED ? MARGIN : 0;
    out->offset = margin;
    out->length = (numel - 1) * gap + 1 + 2 * margin;
}

/* Moves to the next index, row-major; gives its place. */
static int64_t next_place(const rl_sample_tensor *tensor, const placement *at, int64_t *index) {
    int64_t position = at->offset;
    for (int d = tensor->ndim - 1; d >= 0; d--) {
        if (++index[d] < tensor->shape[d])
            break;
        index[d] = 0;
    }
    for (int d = 0; d < tensor->ndim; d++)
        position += index[d] * at->stride[d];
    return position;
}

/* All elements row-major. An expanded tensor repeats what it has along its first dimension. */
static void fill(const rl_test_call *self, int number, rl_dtype dtype, int64_t numel, char *data) {
    const rl_sample_tensor *tensor = &self->line.tensors[number];
    bool expanded = tensor->layout == 'e' && tensor->ndim > 0;
    int64_t distinct = expanded ? numel / tensor->shape[0] : numel;
    size_t bytes = (size_t)distinct * rl_dtype_size(dtype);
    rl_sample_fill(self->text, number, tensor, dtype, distinct, data);
    for (int64_t k = distinct; distinct > 0 && k < numel; k += distinct)
        memcpy(data + (size_t)k * rl_dtype_size(dtype), data, bytes);
}

/* The storage's bytes before anything runs: NaN, -1 or true where no element lies. */
static void spread(const rl_sample_tensor *tensor, const placement *at, rl_dtype dtype, int64_t numel, const char *data,
                   char *image) {
    size_t size = rl_dtype_size(dtype);
    int64_t index[RL_MAX_DIMS] = {0}, position = at->offset;
    memset(image, dtype == RL_BOOL ? 1 : 0xff, (size_t)at->length * size);
    for (int64_t k = 0; k < numel; k++) {
        memcpy(image + (size_t)position * size, data + (size_t)k * size, size);
        position = next_place(tensor, at, index);
    }
}

static rl_tensor *make_view(rl_tensor *whole, const rl_sample_tensor *tensor, const placement *at) {
    return whole ? rl_object_own(rl_tensor_make(whole->storage, (rl_dtype)whole->dtype, tensor->ndim, tensor->shape,
                                                at->stride, at->offset))
                 : NULL;
}

static rl_tensor *make_tensor(const rl_test_call *self, int number) {
    const rl_sample_tensor *tensor = &self->line.tensors[number];
    rl_dtype dtype = rl_sample_under_test(tensor) ? self->dtype : tensor->dtype;
    int64_t numel;
    if (rl_check_shape("a sample", tensor->ndim, tensor->shape, dtype, &numel) != RL_OK)
        return NULL;
    if (numel == 0)
        return rl_tensor_from_data(NULL, (rl_ints){tensor->shape, tensor->ndim}, dtype, self->device);
    placement at;
    place(tensor, self->layout, numel, &at);
    char *data = rl_alloc((size_t)(numel + at.length) * rl_dtype_size(dtype), "the numbers of a sample");
    if (data == NULL)
        return NULL;
    char *image = data + (size_t)numel * rl_dtype_size(dtype);
    fill(self, number, dtype, numel, data);
    spread(tensor, &at, dtype, numel, data, image);
    rl_tensor *whole = rl_tensor_from_data(image, RL_DIMS(at.length), dtype, self->device);
    rl_free(data);
    return make_view(whole, tensor, &at);
}

/* Whether an element lies at this place of the storage. */
static void mark_elements(const rl_sample_tensor *tensor, const placement *at, int64_t numel, bool *taken) {
    int64_t index[RL_MAX_DIMS] = {0}, position = at->offset;
    for (int64_t k = 0; k < numel; k++) {
        taken[position] = true;
        position = next_place(tensor, at, index);
    }
}

static bool gaps_untouched(const rl_test_call *self, int number) {
    const rl_sample_tensor *tensor = &self->line.tensors[number];
    const rl_tensor *made = self->tensors[number];
    if (made == NULL || made->numel == 0 || self->layout < RL_TEST_GAPPED)
        return true;
    placement at;
    place(tensor, self->layout, made->numel, &at);
    size_t size = rl_dtype_size((rl_dtype)made->dtype), bytes = (size_t)at.length * size;
    unsigned char expected = made->dtype == RL_BOOL ? 1 : 0xff;
    unsigned char *image = rl_alloc(bytes, "the memory of a sample");
    bool *taken = rl_alloc_zero((size_t)at.length, sizeof *taken, "the memory of a sample");
    bool well = image && taken && rl_storage_read(made->storage, 0, image, bytes) == RL_OK;
    if (well)
        mark_elements(tensor, &at, made->numel, taken);
    for (size_t i = 0; well && i < bytes; i++)
        well = taken[i / size] || image[i] == expected;
    rl_free(image);
    rl_free(taken);
    return well;
}

bool rl_test_gaps_untouched(const rl_test_call *self) {
    for (int k = 0; k < self->line.n_tensors; k++)
        if (!gaps_untouched(self, k))
            return false;
    return true;
}

/* Calls ---------------------------------------------------------------------------------------------------------- */

static void destroy(rl_object *object) {
    rl_test_call *self = (rl_test_call *)object;
    for (int k = 0; k < self->line.n_tensors; k++)
        rl_release(self->tensors[k]);
    rl_free(self);
}
static const rl_object_class call_class = {"call of a sample", destroy};

/* The arguments of the call with `tensors` in the places of its own. */
static void fill_arguments(const rl_test_call *self, rl_tensor *const *tensors, rl_argument *out) {
    const rl_sample_line *line = &self->line;
    for (int i = 0; i < line->n_items; i++) {
        const rl_sample_item *item = &line->items[i];
        rl_value v = item->value;
        if (item->kind == RL_ITEM_TENSOR)
            v = rl_value_of_tensor(tensors[item->first]);
        else if (item->kind == RL_ITEM_TENSORS)
            v = (rl_value){.kind = RL_VALUE_TENSORS, .as.tensors = {tensors + item->first, item->count}};
        else if (item->kind == RL_ITEM_INTS)
            v = (rl_value){.kind = RL_VALUE_INTS, .as.ints = {line->ints + item->first, item->count}};
        else if (item->kind == RL_ITEM_DEVICE)
            v = (rl_value){.kind = RL_VALUE_DEVICE, .as.device = item->count ? rl_device_get("ref") : self->device};
        out[i] = (rl_argument){item->name, v};
    }
    if (self->count > line->n_items)
        out[line->n_items] = (rl_argument){"device", (rl_value){.kind = RL_VALUE_DEVICE, .as.device = self->device}};
}

/* An op that makes tensors of none is told its device. */
static bool needs_device(const rl_test_call *self) {
    const rl_schema *schema = &rl_schema_table[self->op];
    for (int i = 0; i < schema->n_params; i++)
        if (schema->params[i].type == RL_PARAM_DEVICE)
            return self->line.n_tensors == 0;
    return false;
}

static bool set_up(rl_test_call *self) {
    RL_SCOPE();
    for (int k = 0; k < self->line.n_tensors; k++) {
        rl_tensor *made = self->line.tensors[k].kind ? make_tensor(self, k) : NULL;
        if (made == NULL && self->line.tensors[k].kind)
            return false;
        self->tensors[k] = rl_retain(made);
        if (made && rl_sample_under_test(&self->line.tensors[k]) && rl_dtype_is_float(self->dtype))
            self->inputs[self->n_inputs++] = made;
    }
    self->count = self->line.n_items + needs_device(self);
    fill_arguments(self, self->tensors, self->arguments);
    return true;
}

rl_test_call *rl_test_line_call(size_t op, const char *line, rl_dtype dtype, rl_device *device, rl_test_layout layout) {
    if (rl_failed())
        return NULL;
    if (op >= RL_OPCODE_COUNT || line == NULL)
        return rl_fail_null(RL_INVALID_ARGUMENT,
                            op >= RL_OPCODE_COUNT ? "test_line_call: there is no op number %zu"
                                                  : "test_line_call: line of op %zu is NULL",
                            op);
    if (device == NULL && (device = rl_device_default()) == NULL)
        return NULL;
    rl_test_call *self = rl_alloc_zero(1, sizeof *self, "the call of a sample");
    if (self == NULL)
        return NULL;
    rl_object_init(&self->object, &call_class);
    self->op = op;
    self->text = line;
    self->dtype = dtype;
    self->device = device;
    self->layout = layout;
    if (rl_object_own(self) == NULL || rl_sample_parse(line, &self->line) != RL_OK || !set_up(self))
        return NULL;
    return self;
}

rl_test_call *rl_test_sample_call(size_t op, size_t number, rl_dtype dtype, rl_device *device, rl_test_layout layout) {
    const rl_sample *sample = find_sample(op, number);
    if (sample == NULL)
        return rl_fail_null(RL_INVALID_ARGUMENT, "test_sample_call: op %zu has no sample %zu", op, number);
    rl_test_call *self = rl_test_line_call(op, sample->args, dtype, device, layout);
    if (self)
        self->sample = sample;
    return self;
}

rl_test_call *rl_test_bad_call(size_t op, size_t number, rl_device *device) {
    const rl_bad *bad = find_bad(op, number);
    if (bad == NULL)
        return rl_fail_null(RL_INVALID_ARGUMENT, "test_bad_call: op %zu has no bad input %zu", op, number);
    return rl_test_line_call(op, bad->args, RL_F32, device, RL_TEST_AS_WRITTEN);
}

/* Running -------------------------------------------------------------------------------------------------------- */

#define SEED 20240229

/* Runs with a seed of its own where the op draws from the default generator, which is then as it was. */
static rl_status run_seeded(const rl_test_call *self, const char *name, const rl_argument *arguments,
                            rl_tensor **results, int64_t room, int64_t *out_count) {
    bool random = rl_op_table[self->op]->flags & RL_OP_RANDOM;
    uint64_t seed = 0, offset = 0;
    if (random) {
        rl_generator_get_state(rl_generator_default(), &seed, &offset);
        rl_generator_set_state(rl_generator_default(), SEED, 0);
    }
    rl_status status = rl_op_call(name, arguments, self->count, results, room, out_count);
    if (random)
        rl_generator_set_state(rl_generator_default(), seed, offset);
    return status;
}

rl_status rl_test_run(rl_test_call *self, bool inplace) {
    if (rl_failed())
        return rl_error_status();
    const rl_schema *schema = &rl_schema_table[self->op];
    const char *name = inplace ? schema->inplace_name : schema->name;
    if (name == NULL)
        return rl_fail(RL_INVALID_ARGUMENT, "test_run: %s has no variant in place", schema->name);
    int64_t count;
    self->n_results = 0;
    rl_status status = run_seeded(self, name, self->arguments, self->results, RL_TEST_RESULTS, &count);
    self->n_results = status != RL_OK ? 0 : count < RL_TEST_RESULTS ? count : RL_TEST_RESULTS;
    return status;
}

const rl_argument *rl_test_arguments(const rl_test_call *self, int64_t *out_count) {
    *out_count = self->count;
    return self->arguments;
}

rl_tensors rl_test_results(const rl_test_call *self) {
    return (rl_tensors){self->results, self->n_results};
}

rl_tensors rl_test_inputs(const rl_test_call *self) {
    return (rl_tensors){self->inputs, self->n_inputs};
}

/* Gradcheck ------------------------------------------------------------------------------------------------------ */

rl_status rl_test_apply(rl_tensors inputs, rl_tensor **outputs, int64_t n_outputs, void *call) {
    const rl_test_call *self = call;
    rl_tensor *tensors[RL_SAMPLE_TENSORS], *results[RL_TEST_RESULTS];
    rl_argument arguments[RL_MAX_ARGS + 1];
    int64_t n_results, n_floating = 0;
    for (int k = 0, n = 0; k < self->line.n_tensors; k++) {
        bool input = n < self->n_inputs && self->tensors[k] == self->inputs[n];
        tensors[k] = input ? inputs.data[n++] : self->tensors[k];
    }
    if ((rl_op_table[self->op]->flags & RL_OP_INPLACE_ONLY) && self->line.n_tensors > 0)
        tensors[0] = rl_clone(tensors[0]); /* the input itself stays as it is */
    if (rl_failed())
        return rl_error_status();
    fill_arguments(self, tensors, arguments);
    rl_status status =
        run_seeded(self, rl_schema_table[self->op].name, arguments, results, RL_TEST_RESULTS, &n_results);
    for (int64_t i = 0; status == RL_OK && i < n_results && i < RL_TEST_RESULTS; i++)
        if (rl_dtype_is_float((rl_dtype)results[i]->dtype)) {
            if (n_floating < n_outputs)
                outputs[n_floating] = results[i];
            n_floating++;
        }
    if (status == RL_OK && n_floating < n_outputs)
        return rl_fail(RL_INVALID_ARGUMENT, "test_apply: %s gives %lld floating results, not %lld",
                       rl_schema_table[self->op].name, (long long)n_floating, (long long)n_outputs);
    return status;
}

int64_t rl_test_output_count(rl_test_call *self) {
    RL_SCOPE();
    int64_t count = 0;
    if (rl_test_run(self, false) != RL_OK)
        return 0;
    for (int64_t i = 0; i < self->n_results; i++)
        count += rl_dtype_is_float((rl_dtype)self->results[i]->dtype);
    self->n_results = 0;
    return count;
}

bool rl_test_set_fused(bool enabled) {
    bool was = rl_fused_rows_;
    rl_fused_rows_ = enabled;
    return was;
}
