/* SPDX-License-Identifier: Apache-2.0 */
#include "library.h"

#include <oneapi/dnnl/dnnl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct od_gemm {
    od_prepared base;
    od_gemm_shape shape; /* the key */
    dnnl_primitive_desc_t description;
    dnnl_primitive_t primitive; /* NULL: the library has only a slow way */
    const_dnnl_memory_desc_t scratch;
    od_launcher launcher;
};

static rl_status make(od_prepared *entry);
static void drop(od_prepared *entry);
od_prepared_table od_gemms = OD_PREPARED_TABLE(od_gemm, od_gemm_shape, 1024, 0, make, drop, NULL);

static dnnl_engine_t engine;
static pthread_mutex_t engine_lock = PTHREAD_MUTEX_INITIALIZER;

dnnl_engine_t od_engine(void) {
    pthread_mutex_lock(&engine_lock);
    if (engine == NULL && dnnl_engine_create(&engine, dnnl_cpu, 0) != dnnl_success)
        engine = NULL;
    dnnl_engine_t found = engine;
    pthread_mutex_unlock(&engine_lock);
    return found;
}

struct od_launch {
    dnnl_stream_t stream;
    dnnl_exec_arg_t args[OD_LAUNCH_ARGS];
};

void od_launcher_add(od_launcher *self, int name, const_dnnl_memory_desc_t desc) {
    self->names[self->count] = name;
    self->descs[self->count++] = desc;
}

static void launch_free(od_launch *self) {
    for (int i = 0; self != NULL && i < OD_LAUNCH_ARGS; i++)
        (void)dnnl_memory_destroy(self->args[i].memory);
    if (self != NULL)
        (void)dnnl_stream_destroy(self->stream);
    free(self);
}

static od_launch *launch_make(const od_launcher *of) {
    od_launch *self = calloc(1, sizeof *self);
    const dnnl_engine_t on = od_engine();
    int good =
        self != NULL && on != NULL && dnnl_stream_create(&self->stream, on, dnnl_stream_default_flags) == dnnl_success;
    for (int i = 0; i < of->count && good; i++) {
        self->args[i].arg = of->names[i];
        good = dnnl_memory_create(&self->args[i].memory, of->descs[i], on, DNNL_MEMORY_NONE) == dnnl_success;
    }
    if (!good)
        launch_free(self);
    return good ? self : NULL;
}

rl_status od_launcher_run(od_launcher *self, void *const *at) {
    od_launch *launch = atomic_exchange_explicit(&self->spare, NULL, memory_order_acquire);
    if (launch == NULL && (launch = launch_make(self)) == NULL)
        return RL_OUT_OF_MEMORY;
    int good = 1;
    for (int i = 0; i < self->count && good; i++)
        good = dnnl_memory_set_data_handle(launch->args[i].memory, at[i]) == dnnl_success;
    const od_library_state saved = od_library_begin();
    good = good && dnnl_primitive_execute(self->primitive, launch->stream, self->count, launch->args) == dnnl_success &&
           dnnl_stream_wait(launch->stream) == dnnl_success;
    od_library_end(&saved);
    od_launch *none = NULL;
    if (!atomic_compare_exchange_strong_explicit(&self->spare, &none, launch, memory_order_release,
                                                 memory_order_relaxed))
        launch_free(launch); /* another thread has left one */
    return good ? RL_OK : RL_INTERNAL;
}

void od_launcher_clear(od_launcher *self) {
    launch_free(atomic_exchange(&self->spare, NULL));
}

int od_gemm_takes(rl_dtype dtype) {
    const unsigned isa = (unsigned)dnnl_get_effective_cpu_isa();
    const unsigned wanted = dtype == RL_BF16  ? (unsigned)dnnl_cpu_isa_avx512_core_bf16
                            : dtype == RL_F16 ? (unsigned)dnnl_cpu_isa_avx512_core_fp16
                                              : 0;
    return wanted != 0 && (isa & wanted) == wanted;
}

int od_sgemm_copies(void) {
    const unsigned wanted = (unsigned)dnnl_cpu_isa_avx512_core;
    return ((unsigned)dnnl_get_effective_cpu_isa() & wanted) == wanted;
}

static dnnl_memory_desc_t describe(int32_t dtype, int64_t rows, int64_t cols, int64_t row, int64_t col) {
    const dnnl_dims_t dims = {rows, cols}, strides = {row, col};
    const dnnl_data_type_t type = dtype == RL_BF16 ? dnnl_bf16 : dtype == RL_F16 ? dnnl_f16 : dnnl_f32;
    dnnl_memory_desc_t desc = NULL;
    return dnnl_memory_desc_create_with_strides(&desc, 2, dims, type, strides) == dnnl_success ? desc : NULL;
}

/* The slow way that the library has for everything is as good as none. */
static dnnl_status_t make_primitive(od_gemm *self, const_dnnl_memory_desc_t a, const_dnnl_memory_desc_t b,
                                    const_dnnl_memory_desc_t c, const_dnnl_primitive_attr_t attr) {
    const char *name = "ref";
    dnnl_status_t status = dnnl_matmul_primitive_desc_create(&self->description, od_engine(), a, b, NULL, c, attr);
    if (status == dnnl_success)
        status = dnnl_primitive_desc_query(self->description, dnnl_query_impl_info_str, 0, (void *)&name);
    if (status != dnnl_success || strncmp(name, "ref", 3) == 0)
        return status;
    status = dnnl_primitive_create(&self->primitive, self->description);
    if (status != dnnl_success)
        return status;
    self->scratch = dnnl_primitive_desc_query_md(self->description, dnnl_query_scratchpad_md, 0);
    self->launcher.primitive = self->primitive;
    od_launcher_add(&self->launcher, DNNL_ARG_SRC,
                    dnnl_primitive_desc_query_md(self->description, dnnl_query_src_md, 0));
    od_launcher_add(&self->launcher, DNNL_ARG_WEIGHTS,
                    dnnl_primitive_desc_query_md(self->description, dnnl_query_weights_md, 0));
    od_launcher_add(&self->launcher, DNNL_ARG_DST,
                    dnnl_primitive_desc_query_md(self->description, dnnl_query_dst_md, 0));
    od_launcher_add(&self->launcher, DNNL_ARG_SCRATCHPAD, self->scratch);
    return dnnl_success;
}

/* That there is no fast way is kept like a product; that there was no memory is not. */
static rl_status make(od_prepared *entry) {
    od_gemm *self = (od_gemm *)(void *)entry;
    const od_gemm_shape *s = &self->shape;
    dnnl_memory_desc_t a = describe(s->dtype, s->m, s->k, s->a_row, s->a_col);
    dnnl_memory_desc_t b = describe(s->dtype, s->k, s->n, s->b_row, s->b_col);
    dnnl_memory_desc_t c = describe(s->wide ? RL_F32 : s->dtype, s->m, s->n, s->c_row, 1);
    dnnl_primitive_attr_t attr = NULL;
    const od_library_state saved = od_library_begin(); /* it is going to run on one thread */
    dnnl_status_t status = dnnl_out_of_memory;
    if (a != NULL && b != NULL && c != NULL && od_engine() != NULL)
        status = dnnl_primitive_attr_create(&attr);
    if (status == dnnl_success) /* scratch of our own: the library's belongs to the thread that made the primitive */
        status = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (status == dnnl_success)
        status = make_primitive(self, a, b, c, attr);
    if (status != dnnl_success)
        self->primitive = NULL;
    od_library_end(&saved);
    (void)dnnl_primitive_attr_destroy(attr);
    (void)dnnl_memory_desc_destroy(a);
    (void)dnnl_memory_desc_destroy(b);
    (void)dnnl_memory_desc_destroy(c);
    return status == dnnl_out_of_memory ? RL_OUT_OF_MEMORY : RL_OK;
}

static void drop(od_prepared *entry) {
    od_gemm *self = (od_gemm *)(void *)entry;
    od_launcher_clear(&self->launcher);
    (void)dnnl_primitive_destroy(self->primitive);
    (void)dnnl_primitive_desc_destroy(self->description);
}

od_gemm *od_gemm_take(const od_gemm_shape *shape) {
    od_prepared *entry;
    (void)od_prepared_take(&od_gemms, shape, &entry); /* without memory for it there is another way */
    od_gemm *found = (od_gemm *)(void *)entry;
    if (found == NULL || found->primitive != NULL)
        return found;
    od_prepared_give(&od_gemms, &found->base);
    return NULL;
}

void od_gemm_give(od_gemm *self) {
    od_prepared_give(&od_gemms, self ? &self->base : NULL);
}

size_t od_gemm_scratch(const od_gemm *self) {
    return dnnl_memory_desc_get_size(self->scratch);
}

rl_status od_gemm_run(od_gemm *self, void *a, void *b, void *c, void *scratch) {
    return od_launcher_run(&self->launcher, (void *const[]){a, b, c, scratch});
}

void od_library_forked(void) {
    engine_lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
}

void od_library_shutdown(void) {
    (void)dnnl_engine_destroy(engine);
    engine = NULL;
}
