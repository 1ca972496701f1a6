/* SPDX-License-Identifier: Apache-2.0 */
/* The reference backend as it is linked into the runtime: there is always one device. */
#ifndef RL_REF_H
#define RL_REF_H

#include "rushlight/backend.h"

/* The backend's table. The host must outlive its use; a later call takes the later host. */
const rl_backend *rl_ref_backend(const rl_host *host);

#endif
