/* SPDX-License-Identifier: Apache-2.0 */
/* Automatic differentiation: a dynamic graph, recorded as ops run, walked by rl_backward on the caller's thread. */
#ifndef RUSHLIGHT_AUTOGRAD_H
#define RUSHLIGHT_AUTOGRAD_H

#include "rushlight/base.h"
#include "rushlight/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Leaves and gradients -----------------------------------------------------------------------------------------------
 */

/* Asks for gradients of a leaf of floating dtype. Returns self. */
RL_API rl_tensor *rl_requires_grad(rl_tensor *self, bool requires_grad);
RL_API bool rl_tensor_requires_grad(const rl_tensor *self);
RL_API bool rl_tensor_is_leaf(const rl_tensor *self);
/* The accumulated gradient, borrowed from self; NULL where there is none (no error). */
RL_API rl_tensor *rl_grad(const rl_tensor *self);
/* Replaces it; NULL takes it away. Same shape, dtype and device as self. */
RL_API rl_status rl_set_grad(rl_tensor *self, rl_tensor *grad);
/* Keeps the gradient of a tensor that is no leaf. */
RL_API rl_status rl_retain_grad(rl_tensor *self);
/* Shares self's storage, outside of the graph. */
RL_API rl_tensor *rl_detach(rl_tensor *self);
/* The name of the node that made self, as PyTorch prints it ("MulBackward0"); NULL for a leaf. A static string. */
RL_API const char *rl_tensor_grad_fn(const rl_tensor *self);

/* Walking the graph
 * ----------------------------------------------------------------------------------------------------- */

typedef struct rl_backward_options {
    size_t struct_size;
    rl_tensor *gradient; /* default: 1, for a tensor of one element */
    bool retain_graph;
    bool create_graph; /* records the backward too, so that it can be differentiated */
} rl_backward_options;
/* Adds d self / d leaf to the gradient of every leaf: rl_backward(loss) or rl_backward(y, .gradient = g). */
RL_API rl_status rl_backward_opt(rl_tensor *self, const rl_backward_options *options);
#define rl_backward(...)                                                                                               \
    rl_backward_opt(RL_TAKE1_(__VA_ARGS__, ),                                                                          \
                    &(rl_backward_options){.struct_size = sizeof(rl_backward_options), RL_DROP1_(__VA_ARGS__, )})

typedef struct rl_gradients_options {
    size_t struct_size;
    rl_tensors grad_outputs; /* default: ones, for outputs of one element */
    bool retain_graph;       /* implied by create_graph */
    bool create_graph;
    bool allow_unused; /* NULL for an input that is not part of the graph, instead of an error */
} rl_gradients_options;
/* Fills out_grads[i] with the gradient of the sum of outputs by inputs.data[i]; touches no leaf's gradient. */
RL_API rl_status rl_gradients_opt(rl_tensors outputs, rl_tensors inputs, rl_tensor **out_grads,
                                  const rl_gradients_options *options);
#define rl_gradients(...)                                                                                              \
    rl_gradients_opt(RL_TAKE3_(__VA_ARGS__, ),                                                                         \
                     &(rl_gradients_options){.struct_size = sizeof(rl_gradients_options), RL_DROP3_(__VA_ARGS__, )})

/* Modes, of the thread. Each sets and returns what it was; RL_NO_GRAD() lasts until the enclosing brace ends.
 * ------------ */

RL_API bool rl_set_grad_enabled(bool enabled);
RL_API bool rl_grad_enabled(void);
static inline void rl_grad_enabled_restore_(bool *was) {
    rl_set_grad_enabled(*was);
}
#define RL_NO_GRAD_NAME_(line) rl_no_grad_guard_##line
#define RL_NO_GRAD_LINE_(line) RL_NO_GRAD_NAME_(line)
#define RL_NO_GRAD()                                                                                                   \
    __attribute__((cleanup(rl_grad_enabled_restore_), unused)) bool RL_NO_GRAD_LINE_(__LINE__) =                       \
        rl_set_grad_enabled(false)
/* Anomaly mode: a backward that makes NaN is an error, and errors name the op of the forward. */
RL_API bool rl_set_detect_anomaly(bool enabled);

/* Hooks: called with the gradient of self; may return another one in its place, or NULL. Returns a handle.
 * --------------- */

typedef rl_tensor *(*rl_grad_hook)(rl_tensor *grad, void *context);
RL_API int64_t rl_register_hook(rl_tensor *self, rl_grad_hook hook, void *context);
RL_API rl_status rl_remove_hook(rl_tensor *self, int64_t handle);

/* Functions of one's own
 * -------------------------------------------------------------------------------------------------- */

typedef struct rl_function_call rl_function_call; /* one use of a function; lives as long as its node of the graph */
/* Keeps tensors for backward, and gives them back there (checked for in-place changes). */
RL_API rl_status rl_function_save(rl_function_call *call, rl_tensors tensors);
RL_API rl_tensor *rl_function_saved(rl_function_call *call, int64_t number);
RL_API bool rl_function_needs_grad(const rl_function_call *call, int64_t input);

typedef struct rl_function_class {
    size_t struct_size;
    const char *name; /* "MyFunctionBackward" is printed as grad_fn; lives as long as the graph */
    /* Runs without recording. Fills outputs[0 .. n_outputs). */
    rl_status (*forward)(rl_function_call *call, rl_tensors inputs, rl_tensor **outputs, int64_t n_outputs,
                         void *context);
    /* grad_outputs may hold NULL for zero. Fills grad_inputs[i] where needed; NULL is zero. Made of ops. */
    rl_status (*backward)(rl_function_call *call, rl_tensors grad_outputs, rl_tensor **grad_inputs, int64_t n_inputs,
                          void *context);
    void (*destroy)(void *context); /* may be NULL */
} rl_function_class;
/* An output that shares its memory with an input, another output or any other tensor, here and in rl_checkpoint, cannot
 * be changed in place while gradients are recorded. */
RL_API rl_status rl_function_apply(const rl_function_class *function, void *context, rl_tensors inputs,
                                   rl_tensor **outputs, int64_t n_outputs);

/* A function of tensors: fills outputs from inputs with ops. */
typedef rl_status (*rl_tensor_fn)(rl_tensors inputs, rl_tensor **outputs, int64_t n_outputs, void *context);
/* Runs fn without keeping its graph and runs it again in the backward: less memory for more work. Both runs draw the
 * same random numbers from the default generator. Tensors that fn uses beside its inputs get their gradients too,
 * whichever thread made them; fn itself computes on the calling thread. context must live as long as the graph. */
RL_API rl_status rl_checkpoint(rl_tensor_fn fn, void *context, rl_tensors inputs, rl_tensor **outputs,
                               int64_t n_outputs);

/* Runs fn, which is made of pointwise ops alone, as one program: memory is read and written once. Differentiable: the
 * backward runs fn op by op, as that of a checkpoint does. fn is traced at every call (which touches no elements), so
 * it may depend on anything; equal programs are compiled but once. context must live as long as the graph. */
RL_API rl_status rl_fuse(rl_tensor_fn fn, void *context, rl_tensors inputs, rl_tensor **outputs, int64_t n_outputs);

/* Checking
 * ------------------------------------------------------------------------------------------------------------------ */

typedef struct rl_gradcheck_options {
    size_t struct_size;
    double eps, atol, rtol; /* 1e-6, 1e-5, 1e-3 as PyTorch has them */
} rl_gradcheck_options;
/* Compares the gradients of fn at f64 inputs (those that require gradients) with central differences. An error says
 * which entry differs. gradgradcheck does the same to the gradients themselves. */
RL_API rl_status rl_gradcheck_opt(rl_tensor_fn fn, void *context, rl_tensors inputs, int64_t n_outputs,
                                  const rl_gradcheck_options *options);
RL_API rl_status rl_gradgradcheck_opt(rl_tensor_fn fn, void *context, rl_tensors inputs, int64_t n_outputs,
                                      const rl_gradcheck_options *options);

#ifdef __cplusplus
}
#endif
#endif
