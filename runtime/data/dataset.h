/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUSHLIGHT_RUNTIME_DATA_DATASET_H
#define RUSHLIGHT_RUNTIME_DATA_DATASET_H

#include "base/object.h"
#include "rushlight/data.h"

struct rl_dataset {
    rl_object object;
    rl_dataset_class klass; /* a copy: what its maker did not know of is NULL */
    void *context;
    int64_t size;
    int64_t n_fields;
    rl_dataset_field fields[RL_DATASET_FIELDS];
    size_t sample_bytes[RL_DATASET_FIELDS]; /* of one sample of each field */
};

#endif
