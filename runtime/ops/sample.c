/* SPDX-License-Identifier: Apache-2.0 */
/* Parses the lines of samples and bad inputs. Any thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "ops/sample.h"

typedef struct parser {
    const char *begin, *at;
    rl_sample_line *line;
    char *room; /* the rest of line->text */
} parser;

static rl_status fail(const parser *self, const char *expected) {
    return rl_fail(RL_INVALID_ARGUMENT, "sample \"%s\": %s expected at character %d", self->begin, expected,
                   (int)(self->at - self->begin) + 1);
}

static void skip_space(parser *self) {
    while (*self->at == ' ')
        self->at++;
}

static bool accept(parser *self, char c) {
    skip_space(self);
    if (*self->at != c)
        return false;
    self->at++;
    return true;
}

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Copies `length` characters into the line's own text; NULL where they are too many. */
static const char *copy(parser *self, const char *text, size_t length) {
    size_t left = (size_t)(self->line->text + RL_SAMPLE_TEXT - self->room);
    if (length + 1 > left)
        return NULL;
    char *made = memcpy(self->room, text, length);
    made[length] = '\0';
    self->room += length + 1;
    return made;
}

static bool parse_int(parser *self, int64_t *out) {
    skip_space(self);
    char *end;
    errno = 0;
    *out = strtoll(self->at, &end, 10);
    if (end == self->at || errno != 0)
        return false;
    self->at = end;
    return true;
}

/* Tensors -------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *word;
    rl_dtype dtype;
} fixed_dtypes[] = {{"f32", RL_F32}, {"f64", RL_F64}, {"f16", RL_F16}, {"bf16", RL_BF16}, {"i8", RL_I8},
                    {"u8", RL_U8},   {"i16", RL_I16}, {"i32", RL_I32}, {"i64", RL_I64}};

/* What stands before the bracket of a tensor. */
static bool read_tensor_word(const char *word, size_t length, rl_sample_tensor *out) {
    *out = (rl_sample_tensor){0};
    if (length == 1 && strchr("fpundib", *word)) {
        out->kind = *word;
        out->dtype = *word == 'i' ? RL_I64 : *word == 'b' ? RL_BOOL : RL_DTYPE_NONE;
        return true;
    }
    for (size_t k = 0; k < sizeof fixed_dtypes / sizeof *fixed_dtypes; k++)
        if (strlen(fixed_dtypes[k].word) == length && memcmp(fixed_dtypes[k].word, word, length) == 0) {
            out->kind = 'n';
            out->dtype = fixed_dtypes[k].dtype;
            return true;
        }
    return false;
}

/* Behind the word: "[2,3]t", "[4]<3". */
static rl_status parse_shape(parser *self, rl_sample_tensor *out) {
    if (!accept(self, '['))
        return fail(self, "[");
    while (!accept(self, ']')) {
        if (out->ndim > 0 && !accept(self, ','))
            return fail(self, ", or ]");
        if (out->ndim == RL_MAX_DIMS || !parse_int(self, &out->shape[out->ndim]) || out->shape[out->ndim] < 0)
            return fail(self, "a size");
        out->ndim++;
    }
    if (out->kind == 'i' && (!accept(self, '<') || !parse_int(self, &out->limit) || out->limit < 1))
        return fail(self, "< and a limit");
    if (*self->at != '\0' && strchr("tse", *self->at))
        out->layout = *self->at++;
    return RL_OK;
}

static rl_status add_tensor(parser *self, const rl_sample_tensor *tensor) {
    rl_sample_line *line = self->line;
    if (line->n_tensors == RL_SAMPLE_TENSORS)
        return fail(self, "an end (there are too many tensors)");
    line->tensors[line->n_tensors++] = *tensor;
    return RL_OK;
}

/* Items ---------------------------------------------------------------------------------------------------------- */

/* "[f[2], None, f[3]]", behind the first bracket. */
static rl_status parse_tensors(parser *self, rl_sample_item *item) {
    item->kind = RL_ITEM_TENSORS;
    item->first = self->line->n_tensors;
    do {
        rl_sample_tensor tensor = {0};
        skip_space(self);
        size_t length = 0;
        while (is_word(self->at[length]))
            length++;
        bool none = length == 4 && memcmp(self->at, "None", 4) == 0;
        if (!none && !read_tensor_word(self->at, length, &tensor))
            return fail(self, "a tensor");
        self->at += length;
        rl_status status = none ? RL_OK : parse_shape(self, &tensor);
        if (status == RL_OK)
            status = add_tensor(self, &tensor);
        if (status != RL_OK)
            return status;
        item->count++;
    } while (accept(self, ','));
    return accept(self, ']') ? RL_OK : fail(self, ", or ]");
}

static rl_status parse_ints(parser *self, rl_sample_item *item) {
    rl_sample_line *line = self->line;
    item->kind = RL_ITEM_INTS;
    item->first = line->n_ints;
    while (!accept(self, ']')) {
        if (item->count > 0 && !accept(self, ','))
            return fail(self, ", or ]");
        if (line->n_ints == RL_SAMPLE_INTS || !parse_int(self, &line->ints[line->n_ints]))
            return fail(self, "an integer");
        line->n_ints++;
        item->count++;
    }
    return RL_OK;
}

static rl_status parse_string(parser *self, rl_sample_item *item) {
    size_t length = strcspn(self->at, "\"");
    const char *made = self->at[length] == '"' ? copy(self, self->at, length) : NULL;
    if (made == NULL)
        return fail(self, "a shorter string with its end");
    self->at += length + 1;
    item->value = (rl_value){.kind = RL_VALUE_STRING, .as.string = made};
    return RL_OK;
}

static rl_status parse_number(parser *self, rl_sample_item *item) {
    RL_C_LOCALE();
    size_t length = 0;
    while (is_word(self->at[length]) || (self->at[length] != '\0' && strchr(".-+", self->at[length])))
        length++;
    char *end;
    errno = 0;
    if (strcspn(self->at, ".en") >= length) {
        item->value = rl_value_of_int(strtoll(self->at, &end, 10));
        if (errno != 0)
            return fail(self, "an integer of 64 bits");
    } else {
        item->value = rl_value_of_float(strtod(self->at, &end));
    }
    if (length == 0 || end != self->at + length)
        return fail(self, "a value");
    self->at = end;
    return RL_OK;
}

/* A word that is no name of an argument: a tensor, a dtype, a device, true, false, None, inf, nan. */
static rl_status parse_word(parser *self, size_t length, rl_sample_item *item) {
    static const char *const plain[] = {"None", "true", "false", "device", "host"};
    rl_sample_tensor tensor;
    if (self->at[length] == '[') {
        if (!read_tensor_word(self->at, length, &tensor))
            return fail(self, "a tensor");
        self->at += length;
        rl_status status = parse_shape(self, &tensor);
        if (status != RL_OK)
            return status;
        item->kind = RL_ITEM_TENSOR;
        item->first = self->line->n_tensors;
        item->count = 1;
        return add_tensor(self, &tensor);
    }
    for (int k = 0; k < 5; k++)
        if (strlen(plain[k]) == length && memcmp(plain[k], self->at, length) == 0) {
            self->at += length;
            if (k == 1 || k == 2)
                item->value = rl_value_of_bool(k == 1);
            else if (k > 2) {
                item->kind = RL_ITEM_DEVICE;
                item->count = k == 4;
            }
            return RL_OK;
        }
    char name[16] = {0};
    if (length < sizeof name)
        memcpy(name, self->at, length);
    rl_dtype dtype = rl_dtype_parse(name);
    if (dtype == RL_DTYPE_NONE)
        return parse_number(self, item);
    self->at += length;
    item->value = (rl_value){.kind = RL_VALUE_DTYPE, .as.dtype = dtype};
    return RL_OK;
}

static rl_status parse_item(parser *self, rl_sample_item *item) {
    skip_space(self);
    size_t length = 0;
    while (is_word(self->at[length]))
        length++;
    if (length > 0 && self->at[length] == '=') {
        item->name = copy(self, self->at, length);
        if (item->name == NULL)
            return fail(self, "a shorter line");
        self->at += length + 1;
        for (length = 0; is_word(self->at[length]);)
            length++;
    }
    char c = *self->at;
    if (c == '[') {
        self->at++;
        skip_space(self);
        bool tensors = (*self->at >= 'a' && *self->at <= 'z') || *self->at == 'N';
        return tensors ? parse_tensors(self, item) : parse_ints(self, item);
    }
    if (c == '"') {
        self->at++;
        return parse_string(self, item);
    }
    return length > 0 && !(c >= '0' && c <= '9') ? parse_word(self, length, item) : parse_number(self, item);
}

rl_status rl_sample_parse(const char *text, rl_sample_line *out_line) {
    parser self = {text, text, out_line, out_line->text};
    memset(out_line, 0, sizeof *out_line);
    skip_space(&self);
    if (*self.at == '\0')
        return RL_OK;
    do {
        if (out_line->n_items == RL_MAX_ARGS)
            return fail(&self, "an end (there are too many arguments)");
        rl_status status = parse_item(&self, &out_line->items[out_line->n_items]);
        if (status != RL_OK)
            return status;
        out_line->n_items++;
    } while (accept(&self, ','));
    return *self.at == '\0' ? RL_OK : fail(&self, ", or the end");
}

/* Dtypes --------------------------------------------------------------------------------------------------------- */

bool rl_sample_under_test(const rl_sample_tensor *tensor) {
    return tensor->kind != 0 && tensor->dtype == RL_DTYPE_NONE;
}

uint32_t rl_sample_dtypes(const rl_op_def *op, const rl_sample *sample, const rl_sample_line *line) {
    uint32_t numbers = op->sample_dtypes ? op->sample_dtypes : RL_SAMPLE_NO_BOOL | 1u << RL_BOOL, dtypes = 0;
    for (int k = 0; k < line->n_tensors; k++) {
        if (!rl_sample_under_test(&line->tensors[k]))
            continue;
        uint32_t its = strchr("nd", line->tensors[k].kind) ? numbers : RL_SAMPLE_FLOATS;
        dtypes = dtypes ? dtypes & its : its;
    }
    return dtypes == 0 ? 1u << RL_F32 : sample->dtypes ? sample->dtypes : dtypes;
}
