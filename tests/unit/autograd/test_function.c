/* SPDX-License-Identifier: Apache-2.0 */
/* Functions of one's own, checkpoints, fused functions. */
#include "support.h"

static int destroyed;
static void count_destroyed(void *context) {
    (void)context;
    destroyed++;
}

/* y = a b, z = a + 1; saves both inputs and y */
static rl_status product_forward(rl_function_call *call, rl_tensors in, rl_tensor **out, int64_t n_out, void *context) {
    (void)n_out;
    (void)context;
    assert_false(rl_grad_enabled());
    out[0] = rl_mul(in.data[0], in.data[1]);
    out[1] = rl_add(in.data[0], 1);
    return rl_function_save(call, RL_TENSORS(in.data[0], in.data[1], out[0]));
}

static rl_status product_backward(rl_function_call *call, rl_tensors grads, rl_tensor **out, int64_t n_in,
                                  void *context) {
    (void)context;
    assert_int_equal(n_in, 2);
    rl_tensor *gy = grads.data[0], *gz = grads.data[1];
    if (rl_function_needs_grad(call, 0)) {
        rl_tensor *through = gy ? rl_mul(gy, rl_function_saved(call, 1)) : NULL;
        out[0] = through && gz ? rl_add(through, gz) : through ? through : gz;
    }
    if (gy && rl_function_needs_grad(call, 1)) /* a = y / b */
        out[1] = rl_mul(gy, rl_div(rl_function_saved(call, 2), rl_function_saved(call, 1)));
    return rl_error_status();
}

static const rl_function_class product = {sizeof product, "ProductBackward", product_forward, product_backward,
                                          count_destroyed};

static rl_status product_fn(rl_tensors in, rl_tensor **out, int64_t n_out, void *context) {
    return rl_function_apply(&product, context, in, out, n_out);
}

static void test_function(void **state) {
    (void)state;
    destroyed = 0;
    rl_scope scope = rl_scope_begin();
    rl_tensor *a = LEAF(1, 2), *b = LEAF(3, 4), *y[2], *g[2];
    assert_int_equal(rl_function_apply(&product, &destroyed, RL_TENSORS(a, b), y, 2), RL_OK);
    assert_string_equal(rl_tensor_grad_fn(y[0]), "ProductBackward");
    rl_backward(rl_sum(rl_mul(y[0], y[0])), .retain_graph = true);
    HAS(rl_grad(a), 18, 64);
    HAS(rl_grad(b), 6, 32);
    rl_gradients(RL_TENSORS(rl_sum(y[1])), RL_TENSORS(a, b), g, .allow_unused = true, .retain_graph = true);
    HAS(g[0], 1, 1);
    assert_null(g[1]);
    rl_add_(y[0], 1);
    rl_backward(rl_sum(y[1]));
    NO_ERROR(); /* not released so far, and what was changed is not asked for */
    rl_backward(rl_sum(y[1]));
    FAILED_WITH(RL_AUTOGRAD, "ProductBackward was walked before");
    assert_int_equal(destroyed, 0);
    rl_scope_end(scope);
    assert_int_equal(destroyed, 1);
    RL_SCOPE();
    rl_tensor *c = LEAF(0.5, 2), *d = LEAF(3, -4);
    assert_int_equal(rl_gradcheck_opt(product_fn, NULL, RL_TENSORS(c, d), 2, NULL), RL_OK);
    assert_int_equal(rl_gradgradcheck_opt(product_fn, NULL, RL_TENSORS(c, d), 2, NULL), RL_OK);
    NO_ERROR();
}

static rl_status identity_forward(rl_function_call *call, rl_tensors in, rl_tensor **out, int64_t n_out,
                                  void *context) {
    (void)call;
    (void)context;
    for (int64_t i = 0; i < n_out; i++)
        out[i] = in.data[0];
    return RL_OK;
}
static rl_status identity_backward(rl_function_call *call, rl_tensors grads, rl_tensor **out, int64_t n_in,
                                   void *context) {
    (void)call;
    (void)n_in;
    (void)context;
    out[0] = grads.data[0];
    return RL_OK;
}
static rl_status nothing_forward(rl_function_call *call, rl_tensors in, rl_tensor **out, int64_t n_out, void *context) {
    (void)call, (void)in, (void)out, (void)n_out;
    return context ? RL_UNSUPPORTED : RL_OK;
}
static rl_status wrong_backward(rl_function_call *call, rl_tensors grads, rl_tensor **out, int64_t n_in,
                                void *context) {
    (void)call, (void)grads, (void)n_in, (void)context;
    out[0] = rl_ones(RL_DIMS(5), .dtype = RL_F64);
    return RL_OK;
}
static rl_status no_backward(rl_function_call *call, rl_tensors grads, rl_tensor **out, int64_t n_in, void *context) {
    (void)grads, (void)out, (void)n_in, (void)context;
    rl_function_saved(call, 3);
    return RL_UNSUPPORTED;
}

static void test_function_errors(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = LEAF(1, 2), *y[2];
    rl_function_class kind = {sizeof kind, "OwnBackward", identity_forward, identity_backward, count_destroyed};
    destroyed = 0;
    rl_function_apply(&kind, NULL, RL_TENSORS(x), y, 2); /* an input that comes back is a tensor of its own */
    assert_true(y[0] != x && y[1] != x && y[0] != y[1] && rl_tensor_is_leaf(x));
    rl_backward(rl_sum(y[0]));
    HAS(rl_grad(x), 1, 1);
    kind.backward = wrong_backward;
    rl_function_apply(&kind, NULL, RL_TENSORS(x), y, 1);
    rl_backward(rl_sum(y[0]));
    FAILED_WITH(RL_SHAPE_MISMATCH, "OwnBackward gave a gradient of shape (5) for a tensor of shape (2)");
    kind.backward = no_backward;
    rl_function_apply(&kind, NULL, RL_TENSORS(x), y, 1);
    rl_backward(rl_sum(y[0]));
    FAILED_WITH(RL_INDEX_OUT_OF_RANGE, "function_saved: number 3; 0 tensors were saved");
    kind.forward = nothing_forward;
    rl_function_apply(&kind, NULL, RL_TENSORS(x), y, 1);
    FAILED_WITH(RL_INVALID_ARGUMENT, "OwnBackward: forward gave no output 0");
    assert_null(y[0]);
    rl_function_apply(&kind, &kind, RL_TENSORS(x), y, 1);
    FAILED_WITH(RL_UNSUPPORTED, "OwnBackward: forward failed");
    assert_int_equal(destroyed, 2);
    rl_function_apply(&kind, NULL, RL_TENSORS(x, NULL), y, 1);
    FAILED_WITH(RL_INVALID_ARGUMENT, "input 1 is NULL");
    rl_function_apply(NULL, NULL, RL_TENSORS(x), y, 1);
    FAILED_WITH(RL_INVALID_ARGUMENT, "lacks struct_size, name");
    rl_function_save(NULL, RL_TENSORS(x));
    FAILED_WITH(RL_INVALID_ARGUMENT, "by forward");
    assert_false(rl_function_needs_grad(NULL, 0));
}

/* Runs of checkpointed functions ---------------------------------------------------------------------------------- */

typedef struct layer {
    rl_tensor *w; /* used beside the inputs */
    int runs;
} layer;

static rl_status layer_fn(rl_tensors in, rl_tensor **out, int64_t n_out, void *context) {
    layer *self = context;
    (void)n_out;
    self->runs++;
    out[0] = rl_tanh(rl_mul(rl_mul(in.data[0], self->w), in.data[1]));
    return rl_error_status();
}

static void test_checkpoint(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = LEAF(0.5, -1), *s = LEAF(2), *w = LEAF(0.25, 3), *plain[3], *g[3], *y[1];
    rl_tensor *way = rl_mul(w, 2); /* used beside the inputs, and no leaf */
    layer self = {way, 0};
    rl_tensor *in = rl_mul(x, 3);
    layer_fn(RL_TENSORS(in, s), y, 1, &self);
    rl_gradients(RL_TENSORS(rl_sum(y[0])), RL_TENSORS(x, s, w), plain, .retain_graph = true);
    rl_checkpoint(layer_fn, &self, RL_TENSORS(in, s), y, 1);
    assert_int_equal(self.runs, 2);
    assert_string_equal(rl_tensor_grad_fn(y[0]), "CheckpointFunctionBackward");
    rl_gradients(RL_TENSORS(rl_sum(y[0])), RL_TENSORS(x, s, w), g, .retain_graph = true);
    assert_int_equal(self.runs, 3);
    for (int i = 0; i < 3; i++)
        assert_true(rl_allclose(g[i], plain[i]));
    rl_backward(rl_sum(y[0]), .retain_graph = true);
    assert_true(rl_allclose(rl_grad(w), plain[2]) && rl_allclose(rl_grad(x), plain[0]));
    rl_backward(rl_sum(y[0]));
    NO_ERROR();
    rl_backward(rl_sum(y[0]));
    FAILED_WITH(RL_AUTOGRAD, "CheckpointFunctionBackward was walked before");
    {
        RL_NO_GRAD();
        rl_checkpoint(layer_fn, &self, RL_TENSORS(in, s), y, 1);
        assert_false(rl_tensor_requires_grad(y[0]));
    }
    rl_checkpoint(NULL, NULL, RL_TENSORS(in), y, 1);
    FAILED_WITH(RL_INVALID_ARGUMENT, "checkpoint: fn is NULL");
    rl_checkpoint(layer_fn, &self, RL_TENSORS(in, NULL), y, 1);
    FAILED_WITH(RL_INVALID_ARGUMENT, "input 1 is NULL");
    rl_checkpoint(layer_fn, &self, ((rl_tensors){NULL, 2}), y, 1);
    FAILED_WITH(RL_INVALID_ARGUMENT, "checkpoint: got 2 inputs at NULL");
    rl_checkpoint(layer_fn, &self, RL_TENSORS(in), NULL, 1);
    FAILED_WITH(RL_INVALID_ARGUMENT, "checkpoint: outputs is NULL");
    rl_checkpoint(layer_fn, &self, RL_TENSORS(in), y, 0);
    FAILED_WITH(RL_INVALID_ARGUMENT, "checkpoint: n_outputs must lie within 1 and 65535, got 0");
    rl_gradients_opt((rl_tensors){NULL, 1}, RL_TENSORS(in), y, NULL);
    FAILED_WITH(RL_INVALID_ARGUMENT, "gradients: got 1 outputs at NULL");
    rl_gradients_opt(RL_TENSORS(in), (rl_tensors){NULL, 1}, y, NULL);
    FAILED_WITH(RL_INVALID_ARGUMENT, "gradients: got 1 inputs at NULL");
    rl_gradients_opt(RL_TENSORS(in), RL_TENSORS(in), NULL, NULL);
    FAILED_WITH(RL_INVALID_ARGUMENT, "gradients: out_grads is NULL");
}

/* What the second run of a checkpoint finds at its context must live: here it is a global. */
static layer global_layer;
static rl_status global_checkpoint(rl_tensors in, rl_tensor **out, int64_t n_out, void *context) {
    (void)context;
    global_layer.w = in.data[2];
    return rl_checkpoint(layer_fn, &global_layer, (rl_tensors){in.data, 2}, out, n_out);
}

static rl_status noise_fn(rl_tensors in, rl_tensor **out, int64_t n_out, void *context) {
    (void)n_out, (void)context;
    out[0] = rl_mul(in.data[0], rl_rand(RL_DIMS(4), .dtype = RL_F64));
    return rl_error_status();
}

static void test_checkpoint_twice(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = LEAF(0.5, -1), *s = LEAF(2), *w = LEAF(0.25, 0.5);
    assert_int_equal(rl_gradcheck_opt(global_checkpoint, NULL, RL_TENSORS(x, s, w), 1, NULL), RL_OK);
    assert_int_equal(rl_gradgradcheck_opt(global_checkpoint, NULL, RL_TENSORS(x, s, w), 1, NULL), RL_OK);
    NO_ERROR();
    rl_manual_seed(5); /* the second run draws what the first one drew, and disturbs nobody */
    rl_tensor *n = LEAF(1, 1, 1, 1), *y[1], *g;
    rl_checkpoint(noise_fn, NULL, RL_TENSORS(n), y, 1);
    rl_tensor *after = rl_rand(RL_DIMS(2));
    rl_gradients(RL_TENSORS(rl_sum(y[0])), RL_TENSORS(n), &g);
    assert_true(rl_equal(g, rl_detach(y[0])));
    rl_tensor *later = rl_rand(RL_DIMS(2));
    rl_manual_seed(5);
    rl_rand(RL_DIMS(4), .dtype = RL_F64);
    assert_true(rl_equal(after, rl_rand(RL_DIMS(2))));
    assert_true(rl_equal(later, rl_rand(RL_DIMS(2))));
}

/* A checkpoint within a checkpoint, both of which draw; and a function that seeds, whose second run seeds nothing. */
static rl_status nested_noise_fn(rl_tensors in, rl_tensor **out, int64_t n_out, void *context) {
    rl_tensor *own = rl_rand(RL_DIMS(4), .dtype = RL_F64), *inner;
    rl_status status = rl_checkpoint(noise_fn, context, in, &inner, n_out);
    out[0] = status == RL_OK ? rl_mul(rl_mul(inner, own), rl_rand(RL_DIMS(4), .dtype = RL_F64)) : NULL;
    return rl_error_status();
}
static rl_status seeding_fn(rl_tensors in, rl_tensor **out, int64_t n_out, void *context) {
    rl_manual_seed(11);
    return noise_fn(in, out, n_out, context);
}

static void test_draws(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = LEAF(1, 1, 1, 1), *y, *g;
    rl_manual_seed(5);
    rl_checkpoint(nested_noise_fn, NULL, RL_TENSORS(x), &y, 1);
    for (int i = 0; i < 2; i++) {
        rl_gradients(RL_TENSORS(rl_sum(y)), RL_TENSORS(x), &g, .retain_graph = true);
        assert_true(rl_equal(g, rl_detach(y)));
    }
    uint64_t seed, offset;
    rl_generator_get_state(NULL, &seed, &offset);
    assert_int_equal(offset, 3);
    rl_checkpoint(seeding_fn, NULL, RL_TENSORS(x), &y, 1);
    rl_manual_seed(6);
    rl_gradients(RL_TENSORS(rl_sum(y)), RL_TENSORS(x), &g);
    assert_true(rl_equal(g, rl_detach(y)));
    rl_generator_get_state(NULL, &seed, &offset);
    assert_int_equal(seed, 6);
    assert_int_equal(offset, 0);
}

/* Outputs over memory that others have too ------------------------------------------------------------------------ */

static rl_status same_fn(rl_tensors in, rl_tensor **out, int64_t n_out, void *context) {
    (void)context;
    for (int64_t i = 0; i < n_out; i++)
        out[i] = in.data[0];
    return RL_OK;
}
static rl_status row_fn(rl_tensors in, rl_tensor **out, int64_t n_out, void *context) {
    (void)n_out, (void)context;
    out[0] = rl_view(in.data[0], RL_DIMS(1, 2));
    return rl_error_status();
}
static rl_status fresh_view_fn(rl_tensors in, rl_tensor **out, int64_t n_out, void *context) {
    (void)n_out, (void)context;
    out[0] = rl_view(rl_mul(in.data[0], 2), RL_DIMS(1, 2));
    return rl_error_status();
}
static rl_status halves_fn(rl_tensors in, rl_tensor **out, int64_t n_out, void *context) {
    (void)n_out, (void)context;
    rl_tensor *made = rl_mul(in.data[0], 2);
    out[0] = rl_select(made, 0, 0);
    out[1] = rl_select(made, 0, 1);
    return rl_error_status();
}
static rl_status context_fn(rl_tensors in, rl_tensor **out, int64_t n_out, void *context) {
    (void)n_out, (void)in;
    out[0] = rl_view(context, RL_DIMS(1, 2));
    return rl_error_status();
}

/* An in-place change of such an output would change another tensor, whose history does not say so. */
static void refused(rl_tensor *output, rl_tensor *by) {
    assert_null(rl_mul_(output, by));
    FAILED_WITH(RL_AUTOGRAD, "mul_: self is an output of a checkpoint, or of a function of one's own, that shares");
    assert_null(rl_mul_(rl_slice(output, 0, .end = 1), by)); /* nor by way of a view */
    FAILED_WITH(RL_AUTOGRAD, "mul_: self is an output of a checkpoint, or of a function of one's own, that shares");
}

static void test_shared_outputs(void **state) {
    (void)state;
    RL_SCOPE();
    const rl_function_class same = {sizeof same, "SameBackward", identity_forward, identity_backward, NULL};
    rl_tensor *x = LEAF(1, 2), *by = CONSTANT(5), *y[2], *z = rl_mul(x, 1);
    rl_function_apply(&same, NULL, RL_TENSORS(z), y, 2);
    refused(y[0], by);
    refused(y[1], by);
    rl_function_apply(&same, NULL, RL_TENSORS(x), y, 1);
    refused(y[0], by);
    rl_checkpoint(same_fn, NULL, RL_TENSORS(z), y, 1);
    refused(y[0], by);
    rl_checkpoint(row_fn, NULL, RL_TENSORS(z), y, 1);
    refused(y[0], by);
    rl_checkpoint(context_fn, z, RL_TENSORS(x), y, 1);
    refused(y[0], by);
    rl_checkpoint(halves_fn, NULL, RL_TENSORS(x), y, 2);
    assert_null(rl_mul_(y[0], 5));
    FAILED_WITH(RL_AUTOGRAD, "shares its memory");
    HAS(z, 1, 2);
    {
        RL_NO_GRAD();
        rl_mul_(y[0], 3);
    }
    HAS(y[0], 6);
    rl_checkpoint(fresh_view_fn, NULL, RL_TENSORS(x), y, 1); /* a view of what nobody else has */
    rl_mul_(y[0], by);
    rl_backward(rl_sum(y[0]));
    HAS(rl_grad(x), 10, 10);
}

/* Fused functions ------------------------------------------------------------------------------------------------- */

static rl_tensor *captured;
static rl_status gelu_fn(rl_tensors in, rl_tensor **out, int64_t n_out, void *context) {
    rl_tensor *x = in.data[0], *inner = rl_add(x, rl_mul(rl_pow(x, 3), 0.044715));
    out[0] = rl_mul(rl_mul(x, 0.5), rl_add(rl_tanh(rl_mul(inner, 0.79788456)), in.data[1]));
    if (captured)
        out[0] = rl_mul(out[0], captured);
    if (n_out > 1)
        out[1] = rl_sub(out[0], *(const double *)context);
    return rl_error_status();
}
static rl_status fused_gelu(rl_tensors in, rl_tensor **out, int64_t n_out, void *context) {
    return rl_fuse(gelu_fn, context, in, out, n_out);
}
static rl_status fused_captured(rl_tensors in, rl_tensor **out, int64_t n_out, void *context) {
    captured = in.data[2];
    rl_status status = rl_fuse(gelu_fn, context, (rl_tensors){in.data, 2}, out, n_out);
    return status;
}
static rl_status sum_fn(rl_tensors in, rl_tensor **out, int64_t n_out, void *context) {
    (void)n_out, (void)context;
    out[0] = rl_sum(in.data[0]);
    return rl_error_status();
}
static rl_status item_fn(rl_tensors in, rl_tensor **out, int64_t n_out, void *context) {
    (void)n_out, (void)context;
    out[0] = rl_mul(in.data[0], rl_item(in.data[1]));
    return rl_error_status();
}
static rl_status inplace_fn(rl_tensors in, rl_tensor **out, int64_t n_out, void *context) {
    (void)n_out, (void)context;
    out[0] = rl_mul_(in.data[0], 2);
    return rl_error_status();
}
static rl_status outside_fn(rl_tensors in, rl_tensor **out, int64_t n_out, void *context) {
    (void)in, (void)n_out;
    out[0] = context;
    return rl_error_status();
}
static rl_status shapes_fn(rl_tensors in, rl_tensor **out, int64_t n_out, void *context) {
    (void)n_out, (void)context;
    out[0] = rl_mul(in.data[0], 2);
    out[1] = rl_mul(in.data[1], 2);
    return rl_error_status();
}

static void test_fuse(void **state) {
    (void)state;
    RL_SCOPE();
    captured = NULL;
    double offset = 0.25;
    rl_tensor *x = rl_view(CONSTANT(0.5, -1, 2, 0, 1, 3), RL_DIMS(2, 3)), *one = CONSTANT(1), *y[2], *z[2];
    rl_fuse(gelu_fn, &offset, RL_TENSORS(x, one), y, 2);
    gelu_fn(RL_TENSORS(x, one), z, 2, &offset);
    NO_ERROR();
    assert_true(rl_allclose(y[0], z[0]) && rl_allclose(y[1], z[1]));
    assert_false(rl_tensor_requires_grad(y[0]));
    assert_true(rl_tensor_requires_grad(rl_mul(x, LEAF(1)))); /* tracing is over */
    rl_tensor *a = rl_requires_grad(rl_clone(x), true), *b = LEAF(1.5);
    rl_fuse(gelu_fn, &offset, RL_TENSORS(a, b), y, 2);
    assert_string_equal(rl_tensor_grad_fn(y[1]), "FusedBackward");
    assert_int_equal(rl_gradcheck_opt(fused_gelu, &offset, RL_TENSORS(a, b), 2, NULL), RL_OK);
    assert_int_equal(rl_gradgradcheck_opt(fused_gelu, &offset, RL_TENSORS(a, b), 2, NULL), RL_OK);
    NO_ERROR();
    rl_tensor *c = LEAF(2, 3, 4);
    assert_int_equal(rl_gradcheck_opt(fused_captured, &offset, RL_TENSORS(a, b, c), 2, NULL), RL_OK);
    assert_int_equal(rl_gradgradcheck_opt(fused_captured, &offset, RL_TENSORS(a, b, c), 2, NULL), RL_OK);
    NO_ERROR();
    captured = NULL;
}

static void test_fuse_errors(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = CONSTANT(1, 2), *one = CONSTANT(1), *y[2];
    rl_fuse(sum_fn, NULL, RL_TENSORS(x), y, 1);
    FAILED_WITH(RL_UNSUPPORTED, "fuse: sum is not pointwise");
    rl_fuse(item_fn, NULL, RL_TENSORS(x, one), y, 1);
    FAILED_WITH(RL_UNSUPPORTED, "self has no elements while its function is being fused");
    rl_fuse(inplace_fn, NULL, RL_TENSORS(x), y, 1);
    FAILED_WITH(RL_UNSUPPORTED, "fuse: mul_ is in place");
    rl_fuse(outside_fn, x, RL_TENSORS(x), y, 1);
    FAILED_WITH(RL_UNSUPPORTED, "output 0 does not come from the inputs");
    rl_fuse(outside_fn, NULL, RL_TENSORS(x), y, 1);
    FAILED_WITH(RL_INVALID_ARGUMENT, "the function gave no output 0");
    rl_fuse(shapes_fn, NULL, RL_TENSORS(x, one), y, 2);
    FAILED_WITH(RL_SHAPE_MISMATCH, "output 0 has (2) and output 1 (1)");
    rl_fuse(noise_fn, NULL, RL_TENSORS(rl_ones(RL_DIMS(4), .dtype = RL_F64)), y, 1);
    NO_ERROR(); /* random numbers that do not depend on what is traced are drawn as ever */
    rl_fuse(NULL, NULL, RL_TENSORS(x), y, 1);
    FAILED_WITH(RL_INVALID_ARGUMENT, "fn is NULL");
    rl_fuse(sum_fn, NULL, RL_TENSORS(NULL), y, 1);
    FAILED_WITH(RL_INVALID_ARGUMENT, "input 0 is NULL");
    HAS(x, 1, 2);
}

/* A hook of what a function uses beside its inputs runs once, although the function is walked within the walk. */
static rl_tensor *doubled_and_counted(rl_tensor *grad, void *count) {
    ++*(int *)count;
    return rl_mul(grad, 2);
}

static rl_status times_fn(rl_tensors in, rl_tensor **out, int64_t n_out, void *factor) {
    (void)n_out;
    out[0] = rl_mul(in.data[0], (rl_tensor *)factor);
    return rl_error_status();
}

static void test_hooks_run_once(void **state) {
    (void)state;
    rl_status (*const ways[])(rl_tensor_fn, void *, rl_tensors, rl_tensor **, int64_t) = {rl_checkpoint, rl_fuse};
    for (int i = 0; i < 4; i++) {
        RL_SCOPE();
        int on_w = 0, on_x = 0;
        rl_tensor *x = LEAF(3), *leaf = LEAF(2), *w = i % 2 ? rl_mul(leaf, 1) : leaf, *y;
        rl_register_hook(w, doubled_and_counted, &on_w);
        rl_register_hook(x, doubled_and_counted, &on_x);
        assert_int_equal(ways[i / 2](times_fn, w, RL_TENSORS(x), &y, 1), RL_OK);
        rl_backward(y);
        HAS(rl_grad(leaf), 6);
        HAS(rl_grad(x), 4);
        assert_int_equal(on_w, 1);
        assert_int_equal(on_x, 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_function),       TEST(test_function_errors), TEST(test_checkpoint), TEST(test_checkpoint_twice),
        TEST(test_draws),          TEST(test_shared_outputs),  TEST(test_fuse),       TEST(test_fuse_errors),
        TEST(test_hooks_run_once),
    };
    return finish(cmocka_run_group_tests(tests, NULL, NULL));
}
