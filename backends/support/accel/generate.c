/* SPDX-License-Identifier: Apache-2.0 */
#include "generate.h"

#include <math.h>

#include "rl_interp.h"

static int is_random(const rl_program *program) {
    return (program->flags & RL_PROGRAM_RANDOM) != 0;
}

int rl_generate_pseudo_count(const rl_program *program) {
    return __builtin_popcount(rl_source_indices(program)) + is_random(program);
}

void rl_generate_add_pseudo(rl_layout *layout, const rl_program *program) {
    uint32_t indices = rl_source_indices(program);
    for (int d = 0; d < RL_MAX_DIMS; d++)
        if (indices >> d & 1u)
            rl_layout_add_index(layout, d);
    if (is_random(program))
        rl_layout_add_number(layout, ~0u);
}

void rl_generate_map_layout(rl_layout *out, const rl_program *program, const rl_map_job *job) {
    rl_layout_init(out, job->ndim, job->shape);
    for (int k = 0; k < program->n_inputs; k++)
        rl_layout_add(out, job->inputs[k].stride, 0);
    for (int k = 0; k < program->n_outputs; k++)
        rl_layout_add(out, job->outputs[k].stride, 0);
    rl_generate_add_pseudo(out, program);
    rl_layout_merge(out);
}

int64_t rl_generate_identity(unsigned combiner, rl_reg reg) {
    static const double value[] = {
        [RL_COMBINE_SUM] = 0,        [RL_COMBINE_PROD] = 1,           [RL_COMBINE_MAX] = -INFINITY,
        [RL_COMBINE_MIN] = INFINITY, [RL_COMBINE_ARGMAX] = -INFINITY, [RL_COMBINE_ARGMIN] = INFINITY};
    int64_t least = reg == RL_REG_I32 ? INT32_MIN : INT64_MIN, most = reg == RL_REG_I32 ? INT32_MAX : INT64_MAX;
    if (reg == RL_REG_F32 || reg == RL_REG_F64)
        return rl_accel_bits(reg == RL_REG_F32 ? RL_F32 : RL_F64, value[combiner]);
    return combiner == RL_COMBINE_SUM ? 0 : combiner == RL_COMBINE_PROD ? 1 : value[combiner] < 0 ? least : most;
}

void rl_generate_modes(const rl_layout *layout, int is_little, int32_t *out_words) {
    for (int k = 0; k < layout->n; k++)
        out_words[k / 15] |= (int32_t)(is_little ? 2 : rl_layout_inner(layout, k)) << 2 * (k % 15);
}

static int mode_of(const rl_walk *walk, int k) {
    return (int)(walk->modes[k / 15] >> 2 * (k % 15) & 3);
}

/* "at[3] + ", or nothing. */
static void write_at(rl_text_buffer *out, const rl_walk *walk, int k) {
    if (walk->at)
        rl_text_put(out, "%s[%d] + ", walk->at, k);
}

/* The first element's place from the operand's pointer, and what rl_load and rl_store take before n. */
static void write_place(rl_text_buffer *out, const rl_walk *walk, int k) {
    write_at(out, walk, k);
    if (mode_of(walk, k) == 0)
        rl_text_put_all(out, "0");
    else if (mode_of(walk, k) == 1)
        rl_text_put(out, "%s, ", walk->column);
    else
        rl_text_put(out, "%s * %s[%d][%d], %s[%d][%d], ", walk->column, walk->stride, k, walk->dims - 1, walk->stride,
                    k, walk->dims - 1);
}

void rl_generate_loads(rl_text_buffer *out, const rl_program *program, const char *prefix, const rl_walk *walk) {
    for (int k = 0; k < program->n_inputs; k++) {
        const char *dtype = rl_source_dtype(program->input_dtype[k]);
        const char *type = rl_source_register(rl_interp_dtype_reg(program->input_dtype[k]));
        rl_text_put(out, "const %s %sx%d = ", type, prefix, k);
        if (mode_of(walk, k) == 0) {
            rl_text_put(out, "(%s)(rl_in_%s(in%d[", type, dtype, k);
            write_place(out, walk, k);
            rl_text_put_all(out, "]));\n");
        } else {
            rl_text_put(out, "rl_in_%s(rl_load(in%d + ", dtype, k);
            write_place(out, walk, k);
            rl_text_put_all(out, "n));\n");
        }
    }
}

void rl_generate_number(rl_text_buffer *out, const char *name, int k, const rl_walk *walk) {
    rl_text_put(out, "const rl_i64 %s = (rl_i64)(", name);
    write_at(out, walk, k);
    if (mode_of(walk, k) == 0)
        rl_text_put_all(out, "0);\n");
    else if (mode_of(walk, k) == 1)
        rl_text_put(out, "%s) + rl_lanes();\n", walk->column);
    else
        rl_text_put(out, "%s * %s[%d][%d]) + rl_lanes() * (rl_i64)(%s[%d][%d]);\n", walk->column, walk->stride, k,
                    walk->dims - 1, walk->stride, k, walk->dims - 1);
}

void rl_generate_pseudo(rl_text_buffer *out, const rl_program *program, int first, const rl_walk *walk) {
    uint32_t indices = rl_source_indices(program);
    for (int d = 0; d < RL_MAX_DIMS; d++)
        if (indices >> d & 1u) {
            char name[16] = "index_0";
            name[6] = (char)('0' + d / 10);
            name[7] = (char)('0' + d % 10);
            if (d < 10)
                name[6] = (char)('0' + d), name[7] = '\0';
            rl_generate_number(out, name, first++, walk);
        }
    if (is_random(program))
        rl_generate_number(out, "element", first, walk);
}

void rl_generate_stores(rl_text_buffer *out, const rl_program *program, const char *prefix, int first,
                        const rl_walk *walk) {
    for (int k = 0; k < program->n_outputs; k++) {
        rl_text_put(out, "rl_store(out%d + ", k);
        write_place(out, walk, first + k);
        if (mode_of(walk, first + k) == 0) /* one element, or a dimension of size 1 */
            rl_text_put_all(out, ", 1, ");
        else
            rl_text_put_all(out, "n, ");
        rl_text_put(out, "rl_out_%s(%sv%d));\n", rl_source_dtype(program->output_dtype[k]), prefix,
                    program->output_value[k]);
    }
}

void rl_generate_decode(rl_text_buffer *out, const char *type, const char *to, const char *from, const char *number,
                        const char *shape, const char *stride, int dims, int n) {
    rl_text_put(out, "{ %s rest = (%s)(%s);\nfor (int k = 0; k < %d; k++)\n%s[k] = ", type, type, number, n, to);
    rl_text_put(out, from ? "%s[k];\n" : "0;\n", from);
    rl_text_put(out,
                "for (int d = %d; d >= 0; d--) {\nconst %s next = d ? rest / (%s)%s[d] : 0;\n"
                "const rl_long x = (rl_long)(d ? rest - next * (%s)%s[d] : rest);\n"
                "for (int k = 0; k < %d; k++)\n%s[k] += x * %s[k][d];\nrest = next;\n} }\n",
                dims - 1, type, type, shape, type, shape, n, to, stride);
}

void rl_generate_params(rl_text_buffer *out, int by_memory) {
    rl_text_put_all(out, by_memory ? "const RL_GLOBAL char *params, rl_long params_at) {\n"
                                     "const RL_GLOBAL RL_LOCAL(params) *pp = (const RL_GLOBAL RL_LOCAL(params) *)"
                                     "(params + params_at);\n#define p (*pp)\n"
                                   : "RL_PARAMS(RL_LOCAL(params)) p) {\n");
}

void rl_generate_params_end(rl_text_buffer *out, int by_memory) {
    rl_text_put_all(out, by_memory ? "}\n#undef p\n" : "}\n");
}
