/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device put together by hand, for the tests of the rows: a backend table that does the jobs it is given as plainly
 * as can be, keeps what it was given, and fails the test where a job breaks a rule of the ABI. Its buffers are host
 * memory that knows its size. The calls of device.c and storage.c which the rows need are here too.
 */
#ifndef RUSHLIGHT_TESTS_DISPATCH_FAKE_H
#define RUSHLIGHT_TESTS_DISPATCH_FAKE_H

#include "dispatch/device.h"

struct rl_backend_buffer {
    uint8_t *data, *before; /* before: as it should be after the call under test; NULL without fake_snapshot */
    int32_t *owner;         /* of each byte, the number of the output's element in the job at hand; 0: none */
    uint64_t bytes;
    struct rl_backend_buffer *next;
};

typedef struct fake_state {
    int calls;         /* of primitives and fused cells */
    int depth;         /* streams entered and not left */
    int entered, used; /* calls of rl_device_stream_enter, of rl_storage_used */
    rl_status answer;  /* what the next call gives */
    rl_map_args map;   /* of the last map: its first job's dimensions are in `ndim` and `shape` */
    rl_reduce_args reduce;
    rl_matmul_args matmul;
    int64_t ndim, shape[RL_MAX_DIMS]; /* of the last call */
} fake_state;
extern fake_state fake;
extern rl_device fake_device;

/* Everything as at the start; `flags` of the backend. */
void fake_reset(uint32_t flags);
/* Buffers that exist now. */
int fake_buffers(void);

/* Numbers from 0 to n - 1 of a sequence that is always the same. */
int64_t fake_random(int64_t n);

/* A tensor of random small numbers in a buffer of its own. The caller holds it. */
rl_tensor *fake_tensor(rl_dtype dtype, int64_t ndim, const int64_t *shape);
/* The same with strides and an offset of any kind, gaps and negative ones included, but no two elements in one place.
 */
rl_tensor *fake_view(rl_dtype dtype, int64_t ndim, const int64_t *shape);
/* Where the element lies when the tensor is broadcast to a shape of ndim dimensions. */
uint8_t *fake_element(const rl_tensor *self, int64_t ndim, const int64_t *index);
rl_number fake_get(const rl_tensor *self, int64_t ndim, const int64_t *index);
/* The next index of a shape, in row-major order; false after the last. */
bool fake_next(int64_t ndim, const int64_t *shape, int64_t *index);

/* Remembers every buffer; says what an element should become; fails the test where any byte is otherwise. */
void fake_snapshot(void);
void fake_expect(const rl_tensor *self, int64_t ndim, const int64_t *index, rl_number number);
void fake_compare(void);

/* The backend's primitives: fake_rows.c. */
extern const rl_backend fake_backend;

#endif
