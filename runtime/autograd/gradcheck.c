/* SPDX-License-Identifier: Apache-2.0 */
/* Gradients against central differences (f(x + e) - f(x - e)) / 2e, entry by entry, in f64. */
#include <math.h>
#include <string.h>

#include "autograd/graph.h"
#include "base/sized.h"
#include "rushlight/ops.h"

typedef struct checker {
    const char *name;
    rl_tensor_fn fn;
    void *context;
    rl_tensors inputs;
    int64_t n_outputs;
    rl_gradcheck_options options;
} checker;

/* Runs fn, and gives its outputs to the innermost scope. */
static rl_status call(const checker *self, rl_tensor **outputs, bool record) {
    bool was = rl_set_grad_enabled(record);
    rl_status status = call_tensor_fn(self->name, self->fn, self->context, self->inputs, outputs, self->n_outputs);
    rl_set_grad_enabled(was);
    return status;
}

/* All elements of a tensor on the host, as doubles; the caller frees them. */
static double *elements(rl_tensor *tensor) {
    double *values = rl_alloc_zero((size_t)tensor->numel + 1, sizeof *values, "elements");
    RL_SCOPE();
    RL_NO_GRAD();
    if (values)
        rl_tensor_read(rl_to(tensor, .dtype = RL_F64), values, (size_t)tensor->numel * sizeof *values);
    if (rl_failed()) {
        rl_free(values);
        return NULL;
    }
    return values;
}

/* Every element of every output into one array: `room` doubles. */
static rl_status evaluate(const checker *self, double *out, int64_t room) {
    RL_SCOPE();
    rl_tensor *outputs[RL_MAX_OUTPUTS * 4];
    if (call(self, outputs, false) != RL_OK)
        return rl_error_status();
    int64_t at = 0;
    for (int64_t i = 0; i < self->n_outputs; i++) {
        int64_t n = outputs[i]->numel;
        double *values = elements(outputs[i]);
        if (values == NULL)
            return rl_error_status();
        if (at + n > room) {
            rl_free(values);
            return rl_fail(RL_INVALID_ARGUMENT, "%s: the function gives outputs of changing shapes", self->name);
        }
        memcpy(out + at, values, (size_t)n * sizeof *values);
        at += n;
        rl_free(values);
    }
    return RL_OK;
}

/* d outputs / d inputs[which][element] by differences, into `out`. */
static rl_status difference(const checker *self, int64_t which, int64_t element, double *values, double *out,
                            double *scratch, int64_t room) {
    rl_tensor *input = self->inputs.data[which];
    size_t bytes = (size_t)input->numel * sizeof *values;
    double at = values[element], eps = self->options.eps;
    RL_NO_GRAD();
    values[element] = at + eps;
    rl_tensor_write(input, values, bytes);
    evaluate(self, out, room);
    values[element] = at - eps;
    rl_tensor_write(input, values, bytes);
    evaluate(self, scratch, room);
    values[element] = at;
    rl_tensor_write(input, values, bytes);
    for (int64_t i = 0; i < room && !rl_failed(); i++)
        out[i] = (out[i] - scratch[i]) / (2.0 * eps);
    return rl_error_status();
}

/* A tensor of zeros like `like` with a 1 at `element`. */
static rl_tensor *one_hot(rl_tensor *like, int64_t element) {
    double *values = rl_alloc_zero((size_t)like->numel + 1, sizeof *values, "elements");
    if (values == NULL)
        return NULL;
    values[element] = 1.0;
    rl_tensor *made = rl_tensor_from_data(values, (rl_ints){like->shape, like->ndim}, RL_F64, like->storage->device);
    rl_free(values);
    return made && like->dtype != RL_F64 ? rl_to(made, .dtype = (rl_dtype)like->dtype) : made;
}

/* d outputs[row] / d inputs by the graph: fills jacobian[input element][row] for one row. */
static rl_status analytic_row(const checker *self, rl_tensor *output, int64_t element, int64_t row, int64_t rows,
                              double *jacobian) {
    RL_SCOPE();
    rl_tensor *wanted[RL_MAX_INPUTS], *found[RL_MAX_INPUTS], *seed = one_hot(output, element);
    int64_t n = 0;
    for (int64_t i = 0; i < self->inputs.count; i++) {
        if (self->inputs.data[i]->requires_grad)
            wanted[n++] = self->inputs.data[i];
    }
    if (seed == NULL ||
        rl_gradients(RL_TENSORS(output), ((rl_tensors){wanted, n}), found, .grad_outputs = RL_TENSORS(seed),
                     .retain_graph = true, .allow_unused = true) != RL_OK)
        return rl_error_status();
    int64_t at = 0;
    for (int64_t i = 0; i < n; i++) {
        double *values = found[i] ? elements(found[i]) : NULL;
        if (found[i] && values == NULL)
            return rl_error_status();
        for (int64_t k = 0; k < wanted[i]->numel; k++)
            jacobian[(at + k) * rows + row] = values ? values[k] : 0.0;
        at += wanted[i]->numel;
        rl_free(values);
    }
    return RL_OK;
}

static rl_status analytic(const checker *self, int64_t rows, double *jacobian) {
    RL_SCOPE();
    rl_tensor *outputs[RL_MAX_OUTPUTS * 4];
    if (call(self, outputs, true) != RL_OK)
        return rl_error_status();
    int64_t row = 0;
    for (int64_t i = 0; i < self->n_outputs; i++) {
        for (int64_t k = 0; k < outputs[i]->numel; k++, row++) {
            if (outputs[i]->requires_grad && analytic_row(self, outputs[i], k, row, rows, jacobian) != RL_OK)
                return rl_error_status();
        }
    }
    return RL_OK;
}

/* Which element of which output a row is. */
static int64_t output_of(rl_tensor *const *outputs, int64_t row, int64_t *out_element) {
    int64_t i = 0;
    while (row >= outputs[i]->numel)
        row -= outputs[i++]->numel;
    *out_element = row;
    return i;
}

static rl_status compare(const checker *self, rl_tensor *const *outputs, int64_t rows, const double *jacobian,
                         double *numeric) {
    int64_t at = 0;
    for (int64_t i = 0; i < self->inputs.count; i++) {
        rl_tensor *input = self->inputs.data[i];
        double *values = input->requires_grad ? elements(input) : NULL;
        if (input->requires_grad && values == NULL)
            return rl_error_status();
        for (int64_t k = 0; values && k < input->numel && !rl_failed(); k++, at++) {
            difference(self, i, k, values, numeric, numeric + rows, rows);
            for (int64_t r = 0; r < rows && !rl_failed(); r++) {
                double a = jacobian[at * rows + r], n = numeric[r];
                int64_t element, output = output_of(outputs, r, &element);
                if (!(fabs(a - n) <= self->options.atol + self->options.rtol * fabs(n)))
                    rl_fail(RL_AUTOGRAD,
                            "%s: the derivative by input %lld, element %lld, of output %lld, element %lld, is expected "
                            "to be %.9g by differences, and the graph gives %.9g",
                            self->name, (long long)i, (long long)k, (long long)output, (long long)element, n, a);
            }
        }
        rl_free(values);
    }
    return rl_error_status();
}

static rl_status check_inputs(const checker *self) {
    int64_t wanted = 0;
    rl_tensor *room[1]; /* there is room for the outputs: not the caller's */
    if (check_tensor_fn(self->name, self->fn, self->inputs, RL_MAX_INPUTS, room, self->n_outputs, RL_MAX_OUTPUTS * 4) !=
        RL_OK)
        return rl_error_status();
    for (int64_t i = 0; i < self->inputs.count; i++) {
        const rl_tensor *t = self->inputs.data[i];
        if (t->requires_grad && t->dtype != RL_F64)
            return rl_fail(RL_DTYPE_MISMATCH, "%s: input %lld must be float64, is %s", self->name, (long long)i,
                           rl_dtype_name((rl_dtype)t->dtype));
        wanted += t->requires_grad;
    }
    return wanted ? RL_OK : rl_fail(RL_INVALID_ARGUMENT, "%s: no input requires gradients", self->name);
}

static rl_status run(const checker *self) {
    if (check_inputs(self) != RL_OK)
        return rl_error_status();
    RL_SCOPE();
    rl_tensor *outputs[RL_MAX_OUTPUTS * 4];
    int64_t rows = 0, columns = 0;
    if (call(self, outputs, false) != RL_OK)
        return rl_error_status();
    for (int64_t i = 0; i < self->n_outputs; i++)
        rows += outputs[i]->numel;
    for (int64_t i = 0; i < self->inputs.count; i++)
        columns += self->inputs.data[i]->requires_grad ? self->inputs.data[i]->numel : 0;
    double *jacobian = rl_alloc_zero((size_t)(rows * columns) + 1, sizeof *jacobian, "derivatives");
    double *numeric = rl_alloc_zero(2 * (size_t)rows + 1, sizeof *numeric, "derivatives");
    if (jacobian && numeric && analytic(self, rows, jacobian) == RL_OK)
        compare(self, outputs, rows, jacobian, numeric);
    rl_free(jacobian);
    rl_free(numeric);
    return rl_error_status();
}

static checker checker_make(const char *name, rl_tensor_fn fn, void *context, rl_tensors inputs, int64_t n_outputs,
                            const rl_gradcheck_options *given) {
    checker self = {name, fn, context, inputs, n_outputs, {0}};
    rl_sized_take(name, &self.options, sizeof self.options, given);
    self.options.eps = rl_option_real(self.options.eps, 1e-6);
    self.options.atol = rl_option_real(self.options.atol, 1e-5);
    self.options.rtol = rl_option_real(self.options.rtol, 1e-3);
    return self;
}

rl_status rl_gradcheck_opt(rl_tensor_fn fn, void *context, rl_tensors inputs, int64_t n_outputs,
                           const rl_gradcheck_options *options) {
    checker self = checker_make("gradcheck", fn, context, inputs, n_outputs, options);
    return rl_failed() ? rl_error_status() : run(&self);
}

/* Gradients of gradients: the function (inputs, seeds) -> gradients of the inputs is checked like any other.
 * ---------------- */

typedef struct second {
    const checker *first;
    int64_t n_inputs; /* of the first function; the seeds follow them */
} second;

static rl_status gradients_of(rl_tensors given, rl_tensor **out, int64_t n_out, void *context) {
    const second *self = context;
    checker first = *self->first;
    rl_tensor *outputs[RL_MAX_OUTPUTS * 4], *roots[RL_MAX_OUTPUTS * 4], *seeds[RL_MAX_OUTPUTS * 4];
    rl_tensor *wanted[RL_MAX_INPUTS];
    int64_t n_wanted = 0, n_roots = 0, at = self->n_inputs;
    first.inputs.count = self->n_inputs;
    first.inputs.data = given.data;
    if (call(&first, outputs, true) != RL_OK)
        return rl_error_status();
    for (int64_t i = 0; i < first.n_outputs; i++) {
        if (outputs[i]->requires_grad) {
            roots[n_roots] = outputs[i];
            seeds[n_roots++] = given.data[at++];
        }
    }
    for (int64_t i = 0; i < self->n_inputs; i++) {
        if (given.data[i]->requires_grad)
            wanted[n_wanted++] = given.data[i];
    }
    bool was = rl_set_grad_enabled(true);
    rl_gradients(((rl_tensors){roots, n_roots}), ((rl_tensors){wanted, n_wanted}), out,
                 .grad_outputs = {seeds, n_roots}, .create_graph = true, .allow_unused = true);
    rl_set_grad_enabled(was);
    for (int64_t i = 0; i < n_out && !rl_failed(); i++) { /* an input that does not matter has gradient zero */
        if (out[i] == NULL)
            out[i] = rl_zeros_like(wanted[i]);
    }
    return rl_error_status();
}

rl_status rl_gradgradcheck_opt(rl_tensor_fn fn, void *context, rl_tensors inputs, int64_t n_outputs,
                               const rl_gradcheck_options *options) {
    static const char name[] = "gradgradcheck";
    checker first = checker_make(name, fn, context, inputs, n_outputs, options);
    if (rl_failed() || check_inputs(&first) != RL_OK)
        return rl_error_status();
    RL_SCOPE();
    rl_tensor *outputs[RL_MAX_OUTPUTS * 4], *all[RL_MAX_INPUTS + RL_MAX_OUTPUTS * 4];
    int64_t count = 0, wanted = 0;
    for (int64_t i = 0; i < inputs.count; i++) {
        all[count++] = inputs.data[i];
        wanted += inputs.data[i]->requires_grad;
    }
    if (call(&first, outputs, true) != RL_OK)
        return rl_error_status();
    for (int64_t i = 0; i < n_outputs; i++) {
        RL_NO_GRAD();
        if (outputs[i]->requires_grad)
            all[count++] = rl_requires_grad(
                rl_uniform_(rl_empty_like(outputs[i]), .from = 0.5, .to = 1.5, .generator = rl_generator_new(7)), true);
    }
    if (rl_failed())
        return rl_error_status();
    if (count > RL_MAX_INPUTS)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: more than %d inputs and outputs", name, RL_MAX_INPUTS);
    if (count == inputs.count)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: no output requires gradients", name);
    second context_2 = {&first, inputs.count};
    checker self = checker_make(name, gradients_of, &context_2, (rl_tensors){all, count}, wanted, options);
    return run(&self);
}
