/* SPDX-License-Identifier: Apache-2.0 */
/* Operands with guard zones, the same on the device under test and on ref, and their comparison. */
#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "conformance.h"
#include "rl_convert.h"

#define GUARD 192 /* bytes before and after the elements; a multiple of every element size */

const shape_case shape_cases[] = {{1, {7}},
                                  {2, {5, 3}},
                                  {0, {0}},
                                  {1, {0}},
                                  {3, {3, 0, 2}},
                                  {1, {1}},
                                  {1, {1000}},
                                  {2, {64, 33}},
                                  {3, {2, 3, 4}},
                                  {4, {1, 17, 1, 3}},
                                  {2, {1, 257}},
                                  {2, {300, 2}},
                                  {5, {2, 3, 1, 2, 5}},
                                  {12, {2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 3}}};
const int n_shape_cases = (int)(sizeof shape_cases / sizeof shape_cases[0]);

/* Numbers
 * ------------------------------------------------------------------------------------------------------------------ */

size_t dtype_bytes(rl_dtype dtype) {
    switch (dtype) {
#define CASE(NAME, code, bytes, reg, text)                                                                             \
    case RL_##NAME:                                                                                                    \
        return bytes;
        RL_DTYPE_LIST(CASE)
#undef CASE
    default:
        return 0;
    }
}
const char *dtype_text(rl_dtype dtype) {
    switch (dtype) {
#define CASE(NAME, code, bytes, reg, text)                                                                             \
    case RL_##NAME:                                                                                                    \
        return text;
        RL_DTYPE_LIST(CASE)
#undef CASE
    default:
        return "-";
    }
}
rl_reg dtype_register(rl_dtype dtype) {
    switch (dtype) {
#define CASE(NAME, code, bytes, reg, text)                                                                             \
    case RL_##NAME:                                                                                                    \
        return RL_REG_##reg;
        RL_DTYPE_LIST(CASE)
#undef CASE
    default:
        return RL_REG_F32;
    }
}
bool dtype_floating(rl_dtype dtype) {
    return dtype == RL_F32 || dtype == RL_F64 || dtype == RL_F16 || dtype == RL_BF16;
}
double dtype_rtol(rl_dtype dtype) {
    switch (dtype) {
    case RL_F32:
        return 2e-6;
    case RL_F64:
        return 1e-14;
    case RL_F16:
        return 1.1e-3;
    case RL_BF16:
        return 8e-3;
    default:
        return 0.0;
    }
}

int64_t pick(suite *self, int64_t n) {
    uint64_t z = self->random += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return n > 0 ? (int64_t)(z % (uint64_t)n) : 0;
}

static void store(unsigned char *at, rl_dtype dtype, double real, int64_t whole) {
    float f = (float)real;
    uint16_t half;
    switch (dtype) {
    case RL_F32:
        memcpy(at, &f, 4);
        break;
    case RL_F64:
        memcpy(at, &real, 8);
        break;
    case RL_F16:
        half = rl_f16_from_f32(f), memcpy(at, &half, 2);
        break;
    case RL_BF16:
        half = rl_bf16_from_f32(f), memcpy(at, &half, 2);
        break;
    default: /* little-endian integers, cut to their width */
        memcpy(at, &whole, dtype_bytes(dtype));
    }
}
static double load(const unsigned char *at, rl_dtype dtype) {
    float f;
    double d;
    uint16_t half;
    int8_t i8;
    int16_t i16;
    int32_t i32;
    int64_t i64;
    switch (dtype) {
    case RL_F32:
        memcpy(&f, at, 4);
        return f;
    case RL_F64:
        memcpy(&d, at, 8);
        return d;
    case RL_F16:
        memcpy(&half, at, 2);
        return rl_f32_from_f16(half);
    case RL_BF16:
        memcpy(&half, at, 2);
        return rl_f32_from_bf16(half);
    case RL_I8:
        memcpy(&i8, at, 1);
        return i8;
    case RL_I16:
        memcpy(&i16, at, 2);
        return i16;
    case RL_I32:
        memcpy(&i32, at, 4);
        return i32;
    case RL_I64:
        memcpy(&i64, at, 8);
        return (double)i64;
    default:
        return *at;
    }
}

/* A NaN whose bits below the quiet one vary; of those that signal some have their set bits low down alone, where a
 * narrower format has none. */
static void store_nan(suite *self, unsigned char *at, rl_dtype dtype) {
    static const struct {
        int fraction; /* bits of it */
        uint64_t exponent;
    } formats[RL_DTYPE_COUNT] = {
        [RL_F32] = {23, 0xff}, [RL_F64] = {52, 0x7ff}, [RL_F16] = {10, 0x1f}, [RL_BF16] = {7, 0xff}};
    int fraction = formats[dtype].fraction;
    uint64_t quiet = (uint64_t)1 << (fraction - 1), bits;
    switch (pick(self, 4)) {
    case 0:
        bits = quiet;
        break;
    case 1:
        bits = 1;
        break;
    case 2:
        bits = (uint64_t)1 << pick(self, fraction);
        break;
    default:
        bits = quiet | (uint64_t)pick(self, (int64_t)quiet);
    }
    bits |= formats[dtype].exponent << fraction;
    bits |= (uint64_t)pick(self, 2) << (8 * dtype_bytes(dtype) - 1);
    memcpy(at, &bits, dtype_bytes(dtype)); /* little-endian */
}

static const double specials[] = {0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3e38, -3e38, 1e-40, 65504.0, 1e-7};

static void fill_element(suite *self, unsigned char *at, rl_dtype dtype, int content, int64_t limit, int64_t number) {
    double real = (double)(pick(self, 4001) - 2000) / 500.0;
    int64_t whole = pick(self, 200) - 100;
    int64_t special = pick(self, 15);
    if (content == CONTENT_NAN && dtype_floating(dtype)) {
        store_nan(self, at, dtype);
        return;
    }
    switch (content) {
    case CONTENT_POSITIVE:
        real = 0.25 + (double)pick(self, 4000) / 1000.0, whole = 1 + pick(self, 90);
        break;
    case CONTENT_SMALL:
        real = (double)(pick(self, 9) - 4) / 4.0, whole = pick(self, 5) - 2;
        break;
    case CONTENT_DISTINCT:
        real = (double)((number * 37) % 1009) - 500.0;
        whole = (number * 37) % 113 - 56;
        break;
    case CONTENT_INDEX:
        whole = pick(self, limit), real = (double)whole;
        break;
    case CONTENT_SPECIAL:
        if (special < 11)
            real = specials[special];
        else if (special < 14)
            real = special == 11 ? (double)NAN : special == 12 ? (double)INFINITY : -(double)INFINITY;
        break;
    default:
        break;
    }
    if (dtype == RL_BOOL)
        whole &= 1;
    if (dtype == RL_U8 && whole < 0)
        whole = -whole;
    store(at, dtype, real, whole);
}

/* Cases
 * --------------------------------------------------------------------------------------------------------------------
 */

void case_begin(test_case *self, suite *owner, const char *format, ...) {
    va_list args;
    self->suite = owner;
    self->count = 0;
    self->broken = false;
    va_start(args, format);
    vsnprintf(self->name, sizeof self->name, format, args);
    va_end(args);
}

/* Strides of a layout, in elements, and the lowest and highest element touched. */
static void lay_out(field *f, int layout, int64_t *out_low, int64_t *out_high) {
    int64_t at = 1;
    *out_low = *out_high = 0;
    for (int64_t i = 0; i < f->ndim; i++) {
        int64_t d = layout == LAYOUT_REVERSED ? i : f->ndim - 1 - i;
        f->stride[d] = at * (layout == LAYOUT_GAPPED ? 2 : 1);
        at = f->stride[d] * (f->shape[d] > 0 ? f->shape[d] : 1);
        if (layout == LAYOUT_NEGATIVE && d % 2 == 0)
            f->stride[d] = -f->stride[d];
        if (layout == LAYOUT_BROADCAST && d % 2 == 0)
            f->stride[d] = 0, at = at > 0 ? at / (f->shape[d] > 0 ? f->shape[d] : 1) : 1;
        if (f->shape[d] > 1) {
            int64_t reach = f->stride[d] * (f->shape[d] - 1);
            *(reach < 0 ? out_low : out_high) += reach;
        }
    }
}

static int add_field(test_case *self, field made, int layout, int content, int64_t limit) {
    int64_t low, high;
    size_t size = dtype_bytes(made.dtype);
    field *f = &self->fields[self->count];
    suite *s = self->suite;
    lay_out(&made, layout, &low, &high);
    made.bytes = (uint64_t)(high - low + 1) * size + 2 * GUARD;
    made.offset = GUARD + (uint64_t)-low * size;
    *f = made;
    f->image = malloc(f->bytes);
    if (!f->image) {
        self->broken = true;
        return self->count++;
    }
    for (uint64_t i = 0; i < f->bytes; i++)
        f->image[i] = (unsigned char)(0xA5 + 31 * i);
    for (int64_t i = 0; i <= high - low; i++)
        fill_element(s, f->image + GUARD + (size_t)i * size, f->dtype, content, limit, i);
    if (s->api->mem_alloc(s->device, RL_MEMORY_DEVICE, f->bytes, &f->buffer) != RL_OK ||
        s->ref->mem_alloc(s->ref_device, RL_MEMORY_DEVICE, f->bytes, &f->ref_buffer) != RL_OK ||
        s->api->copy_in(s->stream, f->buffer, 0, f->image, f->bytes) != RL_OK ||
        s->ref->copy_in(s->ref_stream, f->ref_buffer, 0, f->image, f->bytes) != RL_OK)
        self->broken = true;
    return self->count++;
}

int case_input(test_case *self, rl_dtype dtype, int64_t ndim, const int64_t *shape, int layout, int content,
               int64_t limit) {
    field f = {.dtype = dtype, .ndim = ndim};
    memcpy(f.shape, shape, (size_t)ndim * sizeof *shape);
    return add_field(self, f, layout, content, limit);
}
int case_inout(test_case *self, rl_dtype dtype, int64_t ndim, const int64_t *shape, int layout, int content,
               double rtol, double atol) {
    field f = {.dtype = dtype, .ndim = ndim, .output = true, .rtol = rtol, .atol = atol};
    memcpy(f.shape, shape, (size_t)ndim * sizeof *shape);
    return add_field(self, f, layout, content, 0);
}
int case_output(test_case *self, rl_dtype dtype, int64_t ndim, const int64_t *shape, int layout, double rtol,
                double atol) {
    return case_inout(self, dtype, ndim, shape, layout, CONTENT_NAN, rtol, atol);
}

rl_operand case_operand(const test_case *self, int number, bool on_ref) {
    const field *f = &self->fields[number];
    rl_operand operand;
    memset(&operand, 0, sizeof operand);
    operand.buffer = on_ref ? f->ref_buffer : f->buffer;
    operand.offset = f->offset;
    memcpy(operand.stride, f->stride, sizeof operand.stride);
    return operand;
}

void case_end(test_case *self) {
    suite *s = self->suite;
    for (int i = 0; i < self->count; i++) {
        if (self->fields[i].buffer)
            s->api->mem_free(s->device, self->fields[i].buffer);
        if (self->fields[i].ref_buffer)
            s->ref->mem_free(s->ref_device, self->fields[i].ref_buffer);
        free(self->fields[i].image);
    }
    self->count = 0;
}

/* Comparison
 * --------------------------------------------------------------------------------------------------------------- */

/* Where results need not be exact, what is below the smallest normal number may have been rounded in another order. */
static double underflow(rl_dtype dtype) {
    return dtype == RL_F64 ? DBL_MIN : dtype == RL_F32 || dtype == RL_BF16 ? (double)FLT_MIN : 0.0;
}

static bool near_enough(const field *f, const unsigned char *a, const unsigned char *b) {
    double x, y;
    if (!memcmp(a, b, dtype_bytes(f->dtype)))
        return true;
    if (f->rtol == 0.0 && f->atol == 0.0)
        return dtype_floating(f->dtype) && isnan(load(a, f->dtype)) && isnan(load(b, f->dtype));
    x = load(a, f->dtype);
    y = load(b, f->dtype);
    if (isnan(x) || isnan(y))
        return isnan(x) && isnan(y);
    if (isinf(x) || isinf(y))
        return x == y;
    return fabs(x - y) <= f->atol + f->rtol * fabs(y) + underflow(f->dtype);
}

/* The index of element `number` in row-major order as a byte offset. */
static uint64_t element_offset(const field *f, int64_t number) {
    int64_t at = 0;
    for (int64_t d = f->ndim - 1; d >= 0; d--) {
        at += number % f->shape[d] * f->stride[d];
        number /= f->shape[d];
    }
    return (uint64_t)((int64_t)f->offset + at * (int64_t)dtype_bytes(f->dtype));
}
static int64_t element_count(const field *f) {
    int64_t n = 1;
    for (int64_t d = 0; d < f->ndim; d++)
        n *= f->shape[d];
    return n;
}

static bool compare_field(test_case *self, int number, const unsigned char *got, const unsigned char *want) {
    const field *f = &self->fields[number];
    size_t size = dtype_bytes(f->dtype);
    unsigned char *element = calloc(1, f->bytes); /* 1 where an element lies */
    int64_t n = f->output ? element_count(f) : 0;
    bool good = element != NULL;
    for (int64_t i = 0; i < n && good; i++) {
        uint64_t at = element_offset(f, i);
        memset(element + at, 1, size);
        good = near_enough(f, got + at, want + at);
        if (!good)
            check(self->suite, false, "%s: operand %d, element %lld is %.9g, must be %.9g", self->name, number,
                  (long long)i, load(got + at, f->dtype), load(want + at, f->dtype));
    }
    for (uint64_t i = 0; i < f->bytes && good; i++)
        if (!element[i] && got[i] != f->image[i])
            good = check(self->suite, false, "%s: operand %d (%s), byte %lld, which is no element, was overwritten",
                         self->name, number, f->output ? "output" : "input", (long long)i - (long long)f->offset);
    free(element);
    return good;
}

static bool compare_all(test_case *self) {
    suite *s = self->suite;
    bool good = true;
    for (int i = 0; i < self->count && good; i++) {
        field *f = &self->fields[i];
        unsigned char *got = calloc(1, f->bytes), *want = calloc(1, f->bytes);
        if (!got || !want || s->api->copy_out(s->stream, got, f->buffer, 0, f->bytes) != RL_OK ||
            s->api->stream_sync(s->stream) != RL_OK ||
            s->ref->copy_out(s->ref_stream, want, f->ref_buffer, 0, f->bytes) != RL_OK)
            good = check(s, false, "%s: operand %d could not be read back: %s", self->name, i, s->sentence);
        else
            good = compare_field(self, i, got, want);
        free(got);
        free(want);
    }
    return good;
}

void case_run_status(test_case *self, case_issue issue, void *context, rl_status expected) {
    suite *s = self->suite;
    rl_status status, later, wanted;
    if (self->broken) {
        check(s, false, "%s: operands could not be made: %s", self->name, s->sentence);
        return;
    }
    wanted = issue(self, s->ref, s->ref_stream, true, context);
    s->ref->stream_sync(s->ref_stream);
    if (wanted != expected) {
        check(s, false, "%s: the reference gives status %d, must give %d: %s", self->name, (int)wanted, (int)expected,
              s->sentence);
        return;
    }
    s->sentence[0] = 0;
    status = issue(self, s->api, s->stream, false, context);
    later = s->api->stream_sync(s->stream);
    if (!status)
        status = later;
    if (status != expected)
        check(s, false, "%s: status %d, must be %d: %s", self->name, (int)status, (int)expected, s->sentence);
    else if (expected && !s->sentence[0])
        check(s, false, "%s: failed as it must, but without a sentence", self->name);
    else if (compare_all(self))
        check(s, true, "%s", self->name);
}
void case_run(test_case *self, case_issue issue, void *context) {
    case_run_status(self, issue, context, RL_OK);
}
