/* SPDX-License-Identifier: Apache-2.0 */
/* A network that learns to write: lstm FILE [STEPS] reads a text character by character, then goes on by itself. */
#include <rushlight/rushlight.h>
#include <stdio.h>
#include <stdlib.h>

enum { BATCH = 32, LENGTH = 32, CHARACTERS = 128, HIDDEN = 128 };

/* Characters as vectors with a one at their number. */
static rl_tensor *vectors(rl_tensor *characters) {
    return rl_to(rl_one_hot(characters, CHARACTERS), .dtype = RL_F32);
}

int main(int argc, char **argv) {
    static int64_t text[1 << 20], x[BATCH][LENGTH], y[BATCH][LENGTH];
    int64_t count = 0, steps = argc > 2 ? atoll(argv[2]) : 500;
    FILE *file = argc > 1 ? fopen(argv[1], "rb") : NULL;
    for (int c; file && count < 1 << 20 && (c = fgetc(file)) != EOF;)
        text[count++] = c % CHARACTERS;
    if (count <= LENGTH + 1)
        return fprintf(stderr, "usage: lstm FILE [STEPS]: a text of more than %d characters\n", LENGTH + 1), 1;
    fclose(file);

    rl_manual_seed(0);
    rl_module *lstm = rl_nn_lstm(CHARACTERS, HIDDEN, .batch_first = true), *head = rl_nn_linear(HIDDEN, CHARACTERS);
    rl_optimizer *adam = rl_optimizer_adam(rl_nn_sequential(lstm, head), .lr = 0.003);
    for (int64_t step = 1; step <= steps && !rl_failed(); step++) {
        RL_SCOPE();
        for (int i = 0; i < BATCH; i++)
            for (int64_t at = rand() % (count - LENGTH), t = 0; t < LENGTH; t++)
                x[i][t] = text[at + t], y[i][t] = text[at + t + 1];
        rl_tensor *input = rl_tensor_from_data(x, RL_DIMS(BATCH, LENGTH), RL_I64, NULL);
        rl_tensor *target = rl_tensor_from_data(y, RL_DIMS(BATCH * LENGTH), RL_I64, NULL);
        rl_tensor *guess = rl_module_forward(head, rl_module_forward(lstm, vectors(input)));
        rl_tensor *loss = rl_cross_entropy(rl_reshape(guess, RL_DIMS(BATCH * LENGTH, CHARACTERS)), target);
        rl_optimizer_zero_grad(adam);
        rl_backward(loss);
        rl_optimizer_step(adam);
        if (step % 50 == 0)
            printf("step %4d  loss %.4f\n", (int)step, rl_item(loss));
    }

    RL_NO_GRAD();
    rl_tensor *state[3] = {vectors(rl_full(RL_DIMS(1, 1), text[0], .dtype = RL_I64)), rl_zeros(RL_DIMS(1, 1, HIDDEN)),
                           rl_zeros(RL_DIMS(1, 1, HIDDEN))};
    for (int i = 0; i < 200 && !rl_failed(); i++) { /* Gumbel's noise turns the greatest into a draw */
        rl_tensor *noise = rl_neg(rl_log(rl_neg(rl_log(rl_rand(RL_DIMS(1, 1, CHARACTERS))))));
        rl_module_forward_many(lstm, RL_TENSORS_AT(state, 3), state, 3);
        rl_tensor *next = rl_argmax(rl_add(rl_module_forward(head, state[0]), noise), .dim = 2);
        const int c = (int)rl_item(next);
        putchar(c >= ' ' || c == '\n' ? c : ' ');
        state[0] = vectors(next);
    }
    putchar('\n');
    if (rl_failed())
        return fprintf(stderr, "%s\n", rl_error_text()), 1;
    rl_shutdown();
    return 0;
}
