/* SPDX-License-Identifier: Apache-2.0 */
/* The typed calls, as a C program makes them, give the same bits as the calls by name. */
#include <string.h>

#include "driver.h"
#include "typed.h"

#define ROOM 32
#define SEED 7

/* The arguments in the order of the schema, None where a default stands. */
static void order_arguments(const trial *self, const rl_test_call *call, rl_value *out) {
    const rl_schema *schema = &rl_schema_table[self->op];
    int64_t count;
    const rl_argument *arguments = rl_test_arguments(call, &count);
    memset(out, 0, RL_MAX_ARGS * sizeof *out);
    for (int64_t k = 0; k < count; k++)
        for (int i = 0; i < schema->n_params; i++)
            if (arguments[k].name ? strcmp(schema->params[i].name, arguments[k].name) == 0 : i == k)
                out[i] = arguments[k].value;
}

static bool compare(const trial *self, rl_tensor *const *typed, int64_t count, rl_tensor *const *boxed,
                    int64_t boxed_count) {
    char why[512];
    if (rl_failed() || count != boxed_count)
        return check(self, CHECK_TYPED, false, "%lld results, by name %lld: %s", (long long)count,
                     (long long)boxed_count, rl_error_text());
    for (int64_t i = 0; i < count; i++)
        if (!rl_test_close(typed[i], boxed[i], 0, 0, why, sizeof why))
            return check(self, CHECK_TYPED, false, "result %lld: %s", (long long)i, why);
    return check(self, CHECK_TYPED, true, "agrees");
}

void check_typed(trial *self, bool inplace) {
    RL_SCOPE();
    rl_tensor *typed[ROOM], *boxed[ROOM];
    rl_value values[RL_MAX_ARGS];
    int64_t count, n_arguments;
    const rl_schema *schema = &rl_schema_table[self->op];
    rl_test_call *a = rl_test_sample_call(self->op, self->number, self->dtype, self->device, self->layout);
    rl_test_call *b = rl_test_sample_call(self->op, self->number, self->dtype, self->device, self->layout);
    if (a == NULL || b == NULL) {
        check(self, CHECK_TYPED, false, "%s", rl_error_text());
        return;
    }
    order_arguments(self, a, values);
    rl_manual_seed(SEED);
    int64_t made = typed_call((int)self->op, inplace, values, typed, ROOM);
    const rl_argument *arguments = rl_test_arguments(b, &n_arguments);
    rl_manual_seed(SEED);
    rl_op_call(inplace ? schema->inplace_name : schema->name, arguments, n_arguments, boxed, ROOM, &count);
    compare(self, typed, made, boxed, count);
}
