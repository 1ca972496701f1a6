/* SPDX-License-Identifier: Apache-2.0 */
/* Losses as modules: each an op of input and target, called by forward_many. */
#include "base/error.h"
#include "base/sized.h"
#include "nn/layer.h"

typedef struct loss_class loss_class;
typedef struct loss {
    const loss_class *klass;
    rl_nn_loss_options o; /* weight and pos_weight are borrowed from the entries, reduction is `word` */
    char word[16];
} loss;

/* Of the inputs x, by options whose zeros mean what they mean in the ops' own. */
#define OF(name, expression)                                                                                           \
    static rl_tensor *name##_of(const rl_nn_loss_options *o, rl_tensor *const *x) {                                    \
        return expression;                                                                                             \
    }
OF(mse_loss, rl_mse_loss(x[0], x[1], .reduction = o->reduction))
OF(l1_loss, rl_l1_loss(x[0], x[1], .reduction = o->reduction))
OF(smooth_l1_loss, rl_smooth_l1_loss(x[0], x[1], .reduction = o->reduction, .beta = o->beta))
OF(huber_loss, rl_huber_loss(x[0], x[1], .reduction = o->reduction, .delta = o->delta))
OF(bce_loss, rl_binary_cross_entropy(x[0], x[1], .weight = o->weight, .reduction = o->reduction))
OF(bce_with_logits_loss, rl_binary_cross_entropy_with_logits(x[0], x[1], .weight = o->weight,
                                                             .pos_weight = o->pos_weight, .reduction = o->reduction))
OF(nll_loss, rl_nll_loss(x[0], x[1], .weight = o->weight, .ignore_index = o->ignore_index, .reduction = o->reduction))
OF(cross_entropy_loss, rl_cross_entropy(x[0], x[1], .weight = o->weight, .ignore_index = o->ignore_index,
                                        .reduction = o->reduction, .label_smoothing = o->label_smoothing))
OF(kl_div_loss, rl_kl_div(x[0], x[1], .reduction = o->reduction, .log_target = o->log_target))
OF(cosine_embedding_loss, rl_cosine_embedding_loss(x[0], x[1], x[2], .margin = o->margin, .reduction = o->reduction))
OF(triplet_margin_loss, rl_triplet_margin_loss(x[0], x[1], x[2], .margin = o->margin, .p = o->p, .eps = o->eps,
                                               .swap = o->swap, .reduction = o->reduction))
OF(margin_ranking_loss, rl_margin_ranking_loss(x[0], x[1], x[2], .margin = o->margin, .reduction = o->reduction))
OF(hinge_embedding_loss, rl_hinge_embedding_loss(x[0], x[1], .margin = o->margin, .reduction = o->reduction))
OF(soft_margin_loss, rl_soft_margin_loss(x[0], x[1], .reduction = o->reduction))
OF(multi_margin_loss,
   rl_multi_margin_loss(x[0], x[1], .p = o->p, .margin = o->margin, .weight = o->weight, .reduction = o->reduction))
OF(multilabel_margin_loss, rl_multilabel_margin_loss(x[0], x[1], .reduction = o->reduction))
OF(multilabel_soft_margin_loss,
   rl_multilabel_soft_margin_loss(x[0], x[1], .weight = o->weight, .reduction = o->reduction))
OF(poisson_nll_loss, rl_poisson_nll_loss(x[0], x[1], .log_input = o->log_input, .full = o->full, .eps = o->eps,
                                         .reduction = o->reduction))
OF(gaussian_nll_loss, rl_gaussian_nll_loss(x[0], x[1], x[2], .full = o->full, .eps = o->eps, .reduction = o->reduction))
OF(cosine_similarity, rl_cosine_similarity(x[0], x[1], .dim = o->dim, .eps = o->eps))
OF(pairwise_distance, rl_pairwise_distance(x[0], x[1], .p = o->p, .eps = o->eps, .keepdim = o->keepdim))

/* The class of a loss, and what it does. */
struct loss_class {
    rl_module_class module;
    int inputs;
    rl_tensor *(*of)(const rl_nn_loss_options *o, rl_tensor *const *x);
};

static const loss_class *class_of(const rl_module *self) {
    return ((const loss *)rl_module_data(self))->klass;
}

static rl_status fail_inputs(const rl_module *self, int64_t count) {
    return rl_fail(RL_INVALID_ARGUMENT, "%s takes %d inputs, got %lld: rl_module_call(loss, input, %s)",
                   self->klass->name, class_of(self)->inputs, (long long)count,
                   class_of(self)->inputs == 2 ? "target" : "target, ...");
}

static rl_status loss_forward_many(rl_module *self, rl_tensors inputs, rl_tensor **outputs, int64_t n_outputs) {
    const loss *l = rl_module_data(self);
    if (inputs.count != class_of(self)->inputs)
        return fail_inputs(self, inputs.count);
    if (n_outputs != 1)
        return rl_fail(RL_INVALID_ARGUMENT, "%s gives one output, not %lld", self->klass->name, (long long)n_outputs);
    outputs[0] = class_of(self)->of(&l->o, inputs.data);
    return rl_error_status();
}
static rl_tensor *loss_forward(rl_module *self, rl_tensor *input) {
    (void)input;
    fail_inputs(self, 1);
    return NULL;
}

static rl_status check_reduction(const char *name, const char *word) {
    if (!strcmp(word, "mean") || !strcmp(word, "sum") || !strcmp(word, "none") ||
        (!strcmp(word, "batchmean") && !strcmp(name, "KLDivLoss")))
        return RL_OK;
    return rl_fail(RL_INVALID_ARGUMENT, "%s: reduction must be 'none', 'mean' or 'sum', got '%.40s'", name, word);
}

static rl_module *loss_new(const loss_class *klass, const rl_nn_loss_options *given) {
    rl_nn_loss_options options = {0};
    const char *name = klass->module.name;
    if (rl_failed() || rl_sized_take(name, &options, sizeof options, given) != RL_OK)
        return NULL;
    const char *word = options.reduction ? options.reduction : "mean";
    if (check_reduction(name, word) != RL_OK)
        return NULL;
    rl_module *self = rl_module_new(&klass->module);
    if (self == NULL)
        return NULL;
    loss *l = rl_module_data(self);
    l->klass = klass;
    l->o = options;
    memcpy(l->word, word, strlen(word) + 1);
    l->o.reduction = l->word;
    if (options.weight)
        rl_module_add_buffer(self, "weight", options.weight);
    if (options.pos_weight)
        rl_module_add_buffer(self, "pos_weight", options.pos_weight);
    return rl_failed() ? NULL : self;
}

#define DEFINE(loss_name, text, n)                                                                                     \
    static const loss_class loss_name##_class = {.module = {.struct_size = sizeof(rl_module_class),                    \
                                                            .name = text,                                              \
                                                            .data_bytes = sizeof(loss),                                \
                                                            .forward = loss_forward,                                   \
                                                            .forward_many = loss_forward_many},                        \
                                                 .inputs = (n),                                                        \
                                                 .of = loss_name##_of};                                                \
    rl_module *rl_nn_##loss_name##_opt(const rl_nn_loss_options *options) {                                            \
        return loss_new(&loss_name##_class, options);                                                                  \
    }
RL_NN_LOSS_LIST(DEFINE)
