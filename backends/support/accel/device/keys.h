/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys of positions for an order by where they go: the index, plus the number of the other coordinates of the target.
 * Positions that go nowhere get the key `none`, greater than all others: bad indices, told to the flags as FLAG's, and
 * `skip`, in silence.
 */
RL_KERNEL(const RL_GLOBAL T_INDEX_DTYPE *index, RL_GLOBAL T_KEY_DTYPE *keys, RL_GLOBAL rl_flags *flags,
          RL_PARAMS(rl_keys_params) p) {
    RL_FOR_ITEMS(i, p.total, 1) {
        rl_long index_at = p.index_offset, key = 0;
        RL_OFFSET(index_at, i, DIMS, p.shape, p.index_stride);
        RL_OFFSET(key, i, DIMS, p.shape, p.key_stride);
        const rl_long at = (rl_long)index[index_at];
        const int good = at >= 0 && at < p.dim_size, skipped = good && at == p.skip;
        if (!good)
            rl_flag(flags, FLAG, at, p.dim_size);
        keys[p.keys_at + i] = (T_KEY_DTYPE)(good && !skipped ? key + at : p.none);
    }
}
