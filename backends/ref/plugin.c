/* SPDX-License-Identifier: Apache-2.0 */
/* The reference backend as a plugin: the one symbol that every plugin exports. */
#include <stddef.h>

#include "ref.h"

int rl_backend_query(uint32_t host_abi, const rl_host *host, const rl_backend **out_backend) {
    /* What the backend calls must be there; a host of this ABI may be shorter than the header it was built with. */
    if (host_abi != RL_ABI_VERSION || host->size < offsetof(rl_host, cache_get))
        return host->fail(RL_ABI_MISMATCH, "built for version %u of the ABI, the host has version %u",
                          (unsigned)RL_ABI_VERSION, (unsigned)host_abi);
    *out_backend = rl_ref_backend(host);
    return RL_OK;
}
