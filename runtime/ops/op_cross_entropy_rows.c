/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cross entropy of rows against class numbers, and its backward: the fused rows, and their lowering to primitives. What
 * is kept between them is one logarithm a row, not one a class. cross_entropy (op_cross_entropy.c) is made of these.
 */
#include "ops/op_reduce.h"

/* log_sum, losses and their gradients are kept in this. */
static rl_dtype statistic(const rl_tensor *logits) {
    return logits->dtype == RL_F64 ? RL_F64 : RL_F32;
}

/* logits (rows, classes), target (rows): args[first], args[first + 1]. */
static rl_status check_rows(const rl_call *call, int first) {
    const rl_tensor *logits = rl_arg_tensor(call, first), *target = rl_arg_tensor(call, first + 1);
    char logits_text[RL_SHAPE_TEXT], target_text[RL_SHAPE_TEXT];
    rl_status status = rl_check_same_device(call);
    if (status == RL_OK)
        status = rl_check_float(call, first);
    if (status == RL_OK)
        status = rl_check_index_dtype(call, first + 1);
    if (status != RL_OK)
        return status;
    if (logits->ndim != 2 || target->ndim != 1 || target->shape[0] != logits->shape[0])
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "logits %s must be (rows, classes) and target %s (rows)",
                            rl_shape_text(logits->ndim, logits->shape, logits_text),
                            rl_shape_text(target->ndim, target->shape, target_text));
    return RL_OK;
}

/* Forward --------------------------------------------------------------------------------------------------------- */

static rl_status cross_entropy_rows_infer(rl_call *call) {
    const rl_tensor *logits = rl_arg_tensor(call, 0);
    rl_status status = check_rows(call, 0);
    if (status != RL_OK)
        return status;
    for (int i = 0; i < 2; i++)
        rl_meta_set(&call->meta[i], statistic(logits), logits->storage->device, 1, logits->shape);
    return RL_OK;
}

/* exp(x - max) */
static void write_exp(rl_builder *b, uint32_t key) {
    rl_pw x = rl_key_input(b, key), max = rl_build_input(b, rl_key_compute(key));
    rl_build_output(b, EXP(SUB(x, max)), rl_key_compute(key));
}
/* The target, stored as the key's `in`; class 0 where it is ignored. */
static void write_chosen(rl_builder *b, uint32_t key) {
    rl_pw target = CAST(rl_build_input(b, rl_key_in(key)), RL_I64), ignored = rl_build_scalar(b, RL_I64);
    rl_build_output(b, SELECT(EQ(target, ignored), NUM(target, 0), target), RL_I64);
}
/* log(sum) - (picked - max), 0 where the target is ignored; max + log(sum) */
static void write_loss(rl_builder *b, uint32_t key) {
    rl_dtype compute = rl_key_compute(key);
    rl_pw picked = rl_key_input(b, key), max = rl_build_input(b, compute), sum = rl_build_input(b, compute);
    rl_pw target = CAST(rl_build_input(b, rl_key_out(key)), RL_I64), ignored = rl_build_scalar(b, RL_I64);
    rl_pw log = LOG(sum), loss = SUB(log, SUB(picked, max));
    rl_build_output(b, SELECT(EQ(target, ignored), NUM(loss, 0), loss), compute);
    rl_build_output(b, ADD(max, log), compute);
}

static rl_tensor *as_vector(rl_tensor *column) {
    return rl_over(column, 1, column->shape, column->stride, column->offset);
}

/* The greatest of each row, and the sum of exponentials of what is above it. */
static rl_status reduce_rows(const char *op, rl_tensor *x, rl_tensor *max, rl_tensor *sum) {
    rl_dtype compute = (rl_dtype)max->dtype;
    rl_reduction r = {.prologue = rl_write_value,
                      .prologue_key = RL_KEY(x->dtype, compute, 0, 0),
                      .epilogue = rl_write_result,
                      .epilogue_key = RL_KEY(0, compute, compute, 0),
                      .combiner = {RL_COMBINE_MAX},
                      .inputs = {x},
                      .outputs = {max},
                      .shape_of = x,
                      .mask = 2u};
    rl_status status = rl_reduce(op, &r);
    r.prologue = write_exp;
    r.combiner[0] = RL_COMBINE_SUM;
    r.inputs[1] = max;
    r.outputs[0] = sum;
    return status == RL_OK ? rl_reduce(op, &r) : status;
}

static rl_status lower_forward(const rl_call *call, rl_tensor *x, rl_tensor *target, int64_t ignored) {
    const char *op = rl_call_name(call);
    rl_dtype compute = statistic(x);
    int64_t column[2] = {x->shape[0], 1};
    rl_tensor *max = rl_call_temp(call, compute, 2, column), *sum = rl_call_temp(call, compute, 2, column);
    rl_tensor *chosen = rl_call_temp(call, RL_I64, 2, column);
    rl_tensor *picked = rl_call_temp(call, (rl_dtype)x->dtype, 2, column);
    const rl_program *choose = rl_row_program(write_chosen, RL_KEY(target->dtype, 0, 0, 0));
    const rl_program *finish = rl_row_program(write_loss, RL_KEY(x->dtype, compute, target->dtype, 0));
    if (!max || !sum || !chosen || !picked || !choose || !finish || reduce_rows(op, x, max, sum) != RL_OK)
        return rl_error_status();
    rl_number scalar = {.i = ignored};
    rl_tensor *classes = as_vector(chosen);
    if (classes == NULL || rl_row_map(op, choose, &target, &classes, &scalar) != RL_OK ||
        rl_row_gather(op, x, 1, chosen, picked) != RL_OK)
        return rl_error_status();
    rl_tensor *inputs[] = {as_vector(picked), as_vector(max), as_vector(sum), target};
    if (inputs[0] == NULL || inputs[1] == NULL || inputs[2] == NULL)
        return rl_error_status();
    return rl_row_map(op, finish, inputs, call->results, &scalar);
}

static rl_status cross_entropy_rows_lower(rl_call *call) {
    rl_tensor *x = rl_arg_tensor(call, 0), *target = rl_arg_tensor(call, 1);
    if (x->shape[0] == 0)
        return RL_OK;
    rl_cross_entropy_args args = {.dtype = x->dtype,
                                  .index_dtype = target->dtype,
                                  .stat_dtype = statistic(x),
                                  .rows = x->shape[0],
                                  .classes = x->shape[1],
                                  .ignore_index = rl_arg_int(call, 2)};
    bool ran;
    rl_status status = rl_row_fused(rl_call_name(call), RL_ROW_CROSS_ENTROPY, &args, sizeof args,
                                    (rl_tensor *[]){x, target, call->results[0], call->results[1]}, 4, &ran);
    return status == RL_OK && !ran ? lower_forward(call, x, target, args.ignore_index) : status;
}

/* e^(x - log_sum): the probabilities. */
static rl_tensor *probabilities(rl_tensor *x, rl_tensor *log_sum) {
    return rl_exp(rl_sub(x, rl_unsqueeze(log_sum, 1)));
}

/* gx = g p - [class is target] g for the loss, p = exp(x - log_sum); h p for log_sum */
static void cross_entropy_rows_vjp(rl_vjp *v) {
    rl_tensor *g = rl_vjp_grad(v, 0), *h = rl_vjp_grad(v, 1), *x = X, *log_sum = rl_vjp_result(v, 1), *gx = NULL;
    if (g != NULL)
        gx = rl_cross_entropy_rows_backward(g, x, rl_vjp_input(v, 1), log_sum, rl_vjp_int(v, 2));
    if (h != NULL) {
        rl_tensor *more = rl_mul(probabilities(x, log_sum), rl_unsqueeze(h, 1));
        gx = gx ? rl_add(gx, more) : more;
    }
    rl_vjp_set(v, 0, gx);
}

static const rl_sample forward_samples[] = {
    {"f[4,3], i[4]<3, -100"},
    {"f[7,3]t, i[7]<3, 1"},
    {"f[0,3], i[0]<3, -100"},
    {"f[1,1], i[1]<1, -100"},
    {"f[5,7], i[5]<7, 0"},
    {"f[3,131], i[3]<131, -100"},
    {"f[2,4000], i[2]<4000, -100", .no_gradcheck = true, .why = "thousands of differences; shorter rows are alike"},
    {0}};
static const rl_bad forward_bad[] = {
    {"f[4,3], i[5]<3, -100", RL_SHAPE_MISMATCH, "logits (4, 3) must be (rows, classes) and target (5) (rows)"},
    {"i64[4,3], i[4]<3, -100", RL_DTYPE_MISMATCH, "floating"},
    {"f[4,3], f[4], -100", RL_DTYPE_MISMATCH, "target must be int64 or int32"},
    {0}};

const rl_op_def rl_op_def_cross_entropy_rows = {
    .schema = "cross_entropy_rows(Tensor logits, Tensor target, int ignore_index) -> (Tensor loss, Tensor log_sum)",
    .doc = "log_sum = log sum_j exp(logits[i, j]); loss = log_sum - logits[i, target[i]], 0 where target is "
           "ignore_index",
    .note = "logits (rows, classes), target (rows). Results are float32, or float64 for float64. cross_entropy is made "
            "of it.",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1) | RL_SAVE_OUT(1),
    .infer = cross_entropy_rows_infer,
    .lower = cross_entropy_rows_lower,
    .vjp = cross_entropy_rows_vjp,
    .samples = forward_samples,
    .bad = forward_bad,
};

/* Backward -------------------------------------------------------------------------------------------------------- */

static rl_status cross_entropy_rows_backward_infer(rl_call *call) {
    const rl_tensor *x = rl_arg_tensor(call, 1);
    rl_status status = check_rows(call, 1);
    if (status == RL_OK)
        status = rl_check_float(call, 0);
    if (status == RL_OK)
        status = rl_check_float(call, 3);
    for (int i = 0; i <= 3 && status == RL_OK; i += 3) {
        const rl_tensor *t = rl_arg_tensor(call, i);
        char text[RL_SHAPE_TEXT];
        if (t->ndim != 1 || t->shape[0] != x->shape[0])
            return rl_call_fail(call, RL_SHAPE_MISMATCH, "%s %s must have one number for each of %lld rows",
                                i ? "log_sum" : "grad_loss", rl_shape_text(t->ndim, t->shape, text),
                                (long long)x->shape[0]);
    }
    if (status != RL_OK)
        return status;
    rl_meta_set(&call->meta[0], (rl_dtype)x->dtype, x->storage->device, 2, x->shape);
    call->meta[0].has_stride = true;
    rl_dense_strides_like(2, x->shape, x->stride, call->meta[0].stride);
    return RL_OK;
}

/* g (exp(x - log_sum) - [class is target]), 0 where the target is ignored; inputs x, target, g, log_sum */
static void write_backward(rl_builder *b, uint32_t key) {
    rl_dtype compute = rl_key_compute(key);
    rl_pw x = rl_key_input(b, key), target = CAST(rl_build_input(b, rl_key_out(key)), RL_I64);
    rl_pw g = rl_build_input(b, compute), log_sum = rl_build_input(b, compute);
    rl_pw ignored = rl_build_scalar(b, RL_I64), p = EXP(SUB(x, log_sum));
    rl_pw hot = EQ(rl_build_index(b, 1), target);
    rl_pw gx = MUL(g, SELECT(hot, SUB(p, NUM(p, 1)), p));
    rl_build_output(b, SELECT(EQ(target, ignored), NUM(gx, 0), gx), rl_key_in(key));
}

static rl_tensor *as_column(rl_tensor *t) {
    return rl_over(t, 2, (const int64_t[]){t->shape[0], 1}, (const int64_t[]){t->stride[0], 1}, t->offset);
}

static rl_status cross_entropy_rows_backward_lower(rl_call *call) {
    rl_tensor *x = rl_arg_tensor(call, 1), *target = rl_arg_tensor(call, 2), *out = call->results[0];
    rl_tensor *g = rl_as_dtype(call, rl_arg_tensor(call, 0), statistic(x));
    rl_tensor *log_sum = rl_as_dtype(call, rl_arg_tensor(call, 3), statistic(x));
    if (out->numel == 0 || g == NULL || log_sum == NULL)
        return rl_error_status();
    rl_cross_entropy_backward_args args = {.dtype = x->dtype,
                                           .index_dtype = target->dtype,
                                           .stat_dtype = statistic(x),
                                           .rows = x->shape[0],
                                           .classes = x->shape[1],
                                           .ignore_index = rl_arg_int(call, 4)};
    bool ran;
    rl_status status = rl_row_fused("cross_entropy_backward", RL_ROW_CROSS_ENTROPY_BACKWARD, &args, sizeof args,
                                    (rl_tensor *[]){g, x, target, log_sum, out}, 5, &ran);
    if (status != RL_OK || ran)
        return status;
    const rl_program *program = rl_row_program(write_backward, RL_KEY(x->dtype, statistic(x), target->dtype, 0));
    rl_tensor *inputs[] = {x, as_column(target), as_column(g), as_column(log_sum)};
    if (program == NULL || inputs[1] == NULL || inputs[2] == NULL || inputs[3] == NULL)
        return rl_error_status();
    return rl_row_map("cross_entropy_backward", program, inputs, &out, &(rl_number){.i = args.ignore_index});
}

/* z = g (p - t) where the row is kept, t one at the target; with u the gradient of z:
 * gg = sum(u p) - u[target], gx = g u p, glog_sum = -sum(g u p), all 0 in ignored rows */
static void cross_entropy_rows_backward_vjp(rl_vjp *v) {
    rl_tensor *u = G, *g = rl_unsqueeze(X, 1), *target = rl_vjp_input(v, 2);
    rl_tensor *kept = rl_ne(target, rl_vjp_int(v, 4)), *kept_rows = rl_unsqueeze(kept, 1);
    rl_tensor *up = rl_mul(u, probabilities(rl_vjp_input(v, 1), rl_vjp_input(v, 3)));
    rl_tensor *gx = rl_only_where(kept_rows, rl_mul(g, up));
    if (rl_vjp_needs(v, 0)) {
        rl_tensor *chosen = rl_unsqueeze(rl_where(kept, target, 0), 1);
        rl_tensor *hot = rl_squeeze(rl_gather(u, 1, chosen), .dim = RL_DIMS(1));
        rl_vjp_set(v, 0, rl_only_where(kept, rl_sub(rl_sum(up, .dim = RL_DIMS(1)), hot)));
    }
    if (rl_vjp_needs(v, 1))
        rl_vjp_set(v, 1, gx);
    if (rl_vjp_needs(v, 3))
        rl_vjp_set(v, 3, rl_neg(rl_sum(gx, .dim = RL_DIMS(1))));
}

static const rl_sample backward_samples[] = {
    {"f[4], f[4,3], i[4]<3, p[4], -100"},    {"f[7], f[7,3]t, i[7]<3, p[7], 1"},
    {"f[5]e, f[5,7], i[5]<7, p[5], -100"},   {"f[0], f[0,3], i[0]<3, p[0], -100"},
    {"f[3]s, f[3,40], i[3]<40, p[3], -100"}, {0}};
static const rl_bad backward_bad[] = {
    {"f[3], f[4,3], i[4]<3, f[4], -100", RL_SHAPE_MISMATCH, "grad_loss (3) must have one number for each of 4 rows"},
    {"f[4], f[4,3], i[4]<3, f[3], -100", RL_SHAPE_MISMATCH, "log_sum (3) must have one number for each of 4 rows"},
    {0}};

const rl_op_def rl_op_def_cross_entropy_rows_backward = {
    .schema = "cross_entropy_rows_backward(Tensor grad_loss, Tensor logits, Tensor target, Tensor log_sum, int "
              "ignore_index) -> Tensor",
    .doc = "z[i, j] = grad_loss[i] (exp(logits[i, j] - log_sum[i]) - [j = target[i]]), 0 where target is ignore_index",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1) | RL_SAVE_IN(2) | RL_SAVE_IN(3),
    .infer = cross_entropy_rows_backward_infer,
    .lower = cross_entropy_rows_backward_lower,
    .vjp = cross_entropy_rows_backward_vjp,
    .samples = backward_samples,
    .bad = backward_bad,
};
