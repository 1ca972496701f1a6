/* SPDX-License-Identifier: Apache-2.0 */
/* Fused rows: norm and norm_backward. Which picture (norm.h) the arguments are; norm_rows.c and norm_columns.c draw it.
 */
#include "norm.h"

#include <stddef.h>
#include <string.h>

/* The arguments of both directions. */
typedef struct norm_args {
    uint32_t dtype, param_dtype, normalized, affine;
    int64_t ndim;
    const int64_t *shape;
} norm_args;

/* Strides of an operand that counts: 0 where the rules say that they are to be ignored. */
static void add_operand(const od_norm_task *self, const norm_args *args, od_space *space, int k,
                        const int64_t *affine) {
    const uint32_t ignored = k == NORM_MEAN || k == NORM_VAR ? args->normalized
                             : k == NORM_GW || k == NORM_GB  ? ~args->affine
                             : k == NORM_W || k == NORM_B    ? ~args->affine
                                                             : 0;
    int64_t stride[RL_MAX_DIMS] = {0};
    for (int64_t d = 0; d < args->ndim; d++)
        if (k == NORM_AFFINE)
            stride[d] = affine[d];
        else if (self->operand[k] && !(ignored >> d & 1))
            stride[d] = self->operand[k]->stride[d];
    od_space_add(space, stride, self->bytes[k]);
}

static void make_space(const od_norm_task *self, const norm_args *args, od_space *space, uint32_t dims) {
    int64_t affine[RL_MAX_DIMS] = {0}, positions = 1;
    for (int64_t d = args->ndim - 1; d >= 0; d--)
        if (args->affine >> d & 1) {
            affine[d] = positions;
            positions *= args->shape[d];
        }
    od_space_init(space, args->ndim, args->shape, dims);
    for (int k = 0; k < NORM_OPERANDS; k++)
        add_operand(self, args, space, k, affine);
    od_space_finish(space, 1);
}

/* What both directions share. The spaces are large: they are not cleared. */
static void start(od_norm_task *self, const norm_args *args, const char *name, uint32_t center, double eps) {
    memset(self, 0, offsetof(od_norm_task, along));
    self->name = name;
    self->dtype = (rl_dtype)args->dtype;
    self->param_dtype = (rl_dtype)args->param_dtype;
    self->center = center != 0;
    self->eps = eps;
}

static void give(od_norm_task *self, int k, const rl_operand *operand) {
    const int params = k == NORM_W || k == NORM_B || k == NORM_GW || k == NORM_GB;
    self->operand[k] = operand->buffer ? operand : NULL;
    self->bytes[k] = params ? od_dtype_bytes(self->param_dtype) : k <= NORM_G ? od_dtype_bytes(self->dtype) : 4;
}

static void make_spaces(od_norm_task *self, norm_args *args) {
    const uint32_t all = (1u << args->ndim) - 1;
    if (!self->operand[NORM_W] && !self->operand[NORM_B] && !self->operand[NORM_GW] && !self->operand[NORM_GB])
        args->affine = 0;
    self->bytes[NORM_AFFINE] = 1;
    make_space(self, args, &self->along, args->normalized & all);
    make_space(self, args, &self->kept, all & ~args->normalized);
    self->n = self->along.count;
}

static void read_forward(od_norm_task *self, norm_args *out, const rl_norm_args *args) {
    *out = (norm_args){args->dtype, args->param_dtype, args->normalized, args->affine, args->ndim, args->shape};
    start(self, out, "norm", args->center, args->eps);
    give(self, NORM_X, &args->in);
    give(self, NORM_Y, &args->out);
    give(self, NORM_W, &args->weight);
    give(self, NORM_B, &args->bias);
    give(self, NORM_MEAN, &args->mean);
    give(self, NORM_VAR, &args->var);
    make_spaces(self, out);
}
static void read_backward(od_norm_task *self, norm_args *out, const rl_norm_backward_args *args) {
    *out = (norm_args){args->dtype, args->param_dtype, args->normalized, args->affine, args->ndim, args->shape};
    start(self, out, "norm_backward", args->center, args->eps);
    self->backward = 1;
    give(self, NORM_X, &args->in);
    give(self, NORM_Y, &args->grad_in);
    give(self, NORM_G, &args->grad_out);
    give(self, NORM_W, &args->weight);
    give(self, NORM_MEAN, &args->mean);
    give(self, NORM_VAR, &args->var);
    give(self, NORM_GW, &args->grad_weight);
    give(self, NORM_GB, &args->grad_bias);
    make_spaces(self, out);
}

/* Rows: the normalized dimensions are at most two, and in x the elements of the inner one lie next to each other. */
static int is_rows(const od_norm_task *self) {
    const od_space *along = &self->along;
    const int last = along->ndim - 1;
    return along->ndim <= 2 && (along->stride[NORM_X][last] == self->bytes[NORM_X] || along->shape[last] == 1);
}

/* Whether the columns of a group, and then the groups, follow each other in all that has one number a column. */
static int groups_follow(const od_norm_task *self) {
    const od_space *along = &self->along, *kept = &self->kept;
    for (int k = 0; k < NORM_OPERANDS; k++)
        if (k != NORM_MEAN && k != NORM_VAR && kept->stride[k][kept->ndim - 1] != along->stride[k][1] * along->shape[1])
            return 0;
    return along->stride[NORM_X][1] == self->bytes[NORM_X] && along->shape[1] <= NORM_COLUMNS;
}

/* Columns: one normalized dimension, and one or two others, of which the elements of the inner one lie next to each
 * other in x; or two, of which the inner one is the columns of a group. Weight does not vary down, and its gradients
 * are one number for each column. */
static int is_columns(const od_norm_task *self) {
    const od_space *along = &self->along, *kept = &self->kept;
    const int last = kept->ndim - 1, affine_grad = self->operand[NORM_GW] || self->operand[NORM_GB];
    if (along->ndim > 2 || kept->ndim > 2 || kept->shape[last] == 1 || along->stride[NORM_AFFINE][0] != 0)
        return 0;
    if (affine_grad && (along->ndim == 2 ? along->stride[NORM_AFFINE][1] : kept->stride[NORM_AFFINE][last]) == 0)
        return 0;
    if (along->ndim == 2)
        return groups_follow(self);
    if (kept->ndim == 2 && kept->stride[NORM_AFFINE][last] == 0 && kept->stride[NORM_AFFINE][0] != 0)
        return 0;
    return kept->stride[NORM_X][last] == self->bytes[NORM_X] &&
           (along->shape[0] == 1 || along->stride[NORM_X][0] > self->bytes[NORM_X]);
}

static int supports(const od_norm_task *self, const char **out_reason) {
    if (self->dtype != RL_F32 && self->dtype != RL_F16 && self->dtype != RL_BF16)
        *out_reason = "norm is for float32, float16 and bfloat16";
    else if (self->n == 0 || self->kept.count == 0)
        *out_reason = "there are no elements";
    else if (self->backward && !self->operand[NORM_W] && (self->operand[NORM_GW] || self->operand[NORM_GB]))
        *out_reason = "there is no weight, but its gradient";
    else if (!is_rows(self) && !is_columns(self))
        *out_reason = "the elements of a row, or the channels, do not lie next to each other";
    else
        return 1;
    return 0;
}

static rl_status run(od_norm_task *self, const norm_args *args) {
    const uint32_t kept = ((1u << args->ndim) - 1) & ~args->normalized;
    if (is_columns(self))
        return od_norm_columns(self);
    make_space(self, args, &self->groups, kept & args->affine);
    make_space(self, args, &self->repeats, kept & ~args->affine);
    return od_norm_rows(self);
}

int od_supports_norm(rl_backend_device *device, const void *args, const char **out_reason) {
    od_norm_task self;
    norm_args read;
    (void)device;
    read_forward(&self, &read, args);
    return supports(&self, out_reason);
}
int od_supports_norm_backward(rl_backend_device *device, const void *args, const char **out_reason) {
    od_norm_task self;
    norm_args read;
    (void)device;
    read_backward(&self, &read, args);
    return supports(&self, out_reason);
}

rl_status od_norm(rl_backend_stream *stream, const void *args) {
    od_norm_task self;
    norm_args read;
    (void)stream;
    read_forward(&self, &read, args);
    return run(&self, &read);
}
rl_status od_norm_backward(rl_backend_stream *stream, const void *args) {
    od_norm_task self;
    norm_args read;
    (void)stream;
    read_backward(&self, &read, args);
    return run(&self, &read);
}
