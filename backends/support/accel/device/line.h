/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels that go along lines of an operand, put in front of their texts. Words: DTYPE, of what is stored; COLUMNS;
 * UNIT, 1 where the lanes of a vector lie next to each other; TEAM, work-items that share a line.
 *
 * COLUMNS 0: the lanes of a vector are elements of one line; a team takes a line, and what it finds is joined from
 * lanes and work-items and is then the same in every lane of each. COLUMNS 1: the lanes of a vector are elements of as
 * many lines, each of which a lane goes along alone; TEAM is 1.
 */
RL_FN V_DTYPE RL_LOCAL(load)(const RL_GLOBAL T_DTYPE *from, rl_long stride, int n) {
#if UNIT
    return I_DTYPE(rl_load(from, n));
#else
    return I_DTYPE(rl_load(from, stride, n));
#endif
}
RL_FN void RL_LOCAL(store)(RL_GLOBAL T_DTYPE *to, rl_long stride, int n, V_DTYPE value) {
#if UNIT
    rl_store(to, n, O_DTYPE(value));
#else
    rl_store(to, stride, n, O_DTYPE(value));
#endif
}

/* The lanes from n on are `other`. */
RL_FN V_DTYPE RL_LOCAL(first)(V_DTYPE value, int n, V_DTYPE other) {
    return rl_i_SELECT(rl_i_LT(rl_lanes(), (rl_i64)((long)n)), value, other);
}
/* The greater one, for numbers. */
RL_FN V_DTYPE RL_LOCAL(greater)(V_DTYPE a, V_DTYPE b) {
    return rl_i_SELECT(rl_i_GT(a, b), a, b);
}
RL_FN V_DTYPE RL_LOCAL(all)(R_DTYPE x) {
    return (V_DTYPE)(x);
}
/* e^x for x <= 0 (and NaN), where what is below the least normal number counts as 0. */
RL_FN rl_f32 RL_LOCAL(decay)(rl_f32 x) {
    const rl_i32 none = rl_i_LT(x, (rl_f32)(-87.0f));
    return rl_i_SELECT(none, (rl_f32)(0.0f), rl_exp_negative(x));
}
#if RL_HAS_F64
RL_FN rl_f64 RL_LOCAL(decay)(rl_f64 x) {
    return rl_i_EXP(x);
}
#endif

#if RL_WIDTH > 1
RL_FN R_DTYPE RL_LOCAL(lane)(V_DTYPE value) {
    R_DTYPE lanes[RL_WIDTH];
    RL_WIDE(vstore, RL_WIDTH)(value, 0, lanes);
    return lanes[0];
}
RL_FN R_DTYPE RL_LOCAL(sum)(V_DTYPE value) {
    R_DTYPE lanes[RL_WIDTH];
    RL_WIDE(vstore, RL_WIDTH)(value, 0, lanes);
    for (int s = RL_WIDTH / 2; s > 0; s /= 2)
        for (int l = 0; l < s; l++)
            lanes[l] += lanes[l + s];
    return lanes[0];
}
RL_FN R_DTYPE RL_LOCAL(greatest)(V_DTYPE value) {
    R_DTYPE lanes[RL_WIDTH];
    RL_WIDE(vstore, RL_WIDTH)(value, 0, lanes);
    for (int s = RL_WIDTH / 2; s > 0; s /= 2)
        for (int l = 0; l < s; l++)
            lanes[l] = lanes[l] > lanes[l + s] ? lanes[l] : lanes[l + s];
    return lanes[0];
}
#else
RL_FN R_DTYPE RL_LOCAL(lane)(V_DTYPE value) {
    return value;
}
RL_FN R_DTYPE RL_LOCAL(sum)(V_DTYPE value) {
    return value;
}
RL_FN R_DTYPE RL_LOCAL(greatest)(V_DTYPE value) {
    return value;
}
#endif

/* The kernel before had its own. */
#undef RL_LINE_SHARED
#undef RL_JOIN_
#undef RL_JOIN_SUM
#undef RL_JOIN_MAX
#undef RL_FOR_LINES
#undef RL_MEMBER
#undef RL_EACH_VECTOR
#undef RL_FIRST
#undef RL_NEXT

/* RL_JOIN_SUM(v), RL_JOIN_MAX(v): vector v becomes what its line has together. RL_LINE_SHARED() stands first in the
 * kernel. All work-items of a group come here. */
#if COLUMNS
#define RL_LINE_SHARED()
#define RL_JOIN_SUM(v)
#define RL_JOIN_MAX(v)
#elif TEAM > 1
#define RL_LINE_SHARED() RL_SHARED R_DTYPE rl_team_[RL_GROUP]
#define RL_JOIN_(v, lanes, one)                                                                                        \
    do {                                                                                                               \
        rl_team_[RL_ITEM] = lanes;                                                                                     \
        for (int rl_s_ = TEAM / 2; rl_s_ > 0; rl_s_ /= 2) {                                                            \
            RL_BARRIER();                                                                                              \
            if (RL_ITEM % TEAM < rl_s_) {                                                                              \
                R_DTYPE rl_a_ = rl_team_[RL_ITEM], rl_b_ = rl_team_[RL_ITEM + rl_s_];                                  \
                rl_team_[RL_ITEM] = one;                                                                               \
            }                                                                                                          \
        }                                                                                                              \
        RL_BARRIER();                                                                                                  \
        v = RL_LOCAL(all)(rl_team_[RL_ITEM / TEAM * TEAM]);                                                            \
        RL_BARRIER();                                                                                                  \
    } while (0)
#define RL_JOIN_SUM(v) RL_JOIN_(v, RL_LOCAL(sum)(v), rl_a_ + rl_b_)
#define RL_JOIN_MAX(v) RL_JOIN_(v, RL_LOCAL(greatest)(v), rl_a_ > rl_b_ ? rl_a_ : rl_b_)
#else
#define RL_LINE_SHARED()
#define RL_JOIN_SUM(v) v = RL_LOCAL(all)(RL_LOCAL(sum)(v))
#define RL_JOIN_MAX(v) v = RL_LOCAL(all)(RL_LOCAL(greatest)(v))
#endif

/* For each line (COLUMNS: vector of lines) i of `total`: by teams, so that all work-items of a group take as many
 * turns. `own` is 0 for a team that has no line any more: it is to do as the others, with no elements. */
#if !COLUMNS && RL_GROUP > 1
#define RL_FOR_LINES(i, own, total)                                                                                    \
    for (rl_long i##_first = RL_GROUP_NUMBER * (RL_GROUP / TEAM), i = 0, own = 0;                                      \
         i##_first < (total) && (i = i##_first + RL_ITEM / TEAM, own = i < (total), i = own ? i : (total)-1, 1);       \
         i##_first += RL_GROUP_COUNT * (RL_GROUP / TEAM))
#define RL_MEMBER (RL_ITEM % TEAM)
#else
#define RL_FOR_LINES(i, own, total)                                                                                    \
    const int own = 1;                                                                                                 \
    RL_FOR_ITEMS(i, total, 1)
#define RL_MEMBER 0
#endif

/* A walk from j to `to`, of vectors of n lanes: BODY, a macro's name, stands twice, so that full ones ask nothing. */
#if COLUMNS
#define RL_EACH_VECTOR(j, to, BODY)                                                                                    \
    for (; j < (to); j++) {                                                                                            \
        const int n = lanes;                                                                                           \
        BODY                                                                                                           \
    }
#else
#define RL_EACH_VECTOR(j, to, BODY)                                                                                    \
    for (; j + RL_WIDTH <= (to); j += RL_NEXT) {                                                                       \
        const int n = RL_WIDTH;                                                                                        \
        BODY                                                                                                           \
    }                                                                                                                  \
    if (j < (to)) {                                                                                                    \
        const int n = (int)((to)-j);                                                                                   \
        BODY j += RL_NEXT;                                                                                             \
    }
#endif

/* A work-item's vectors of a line begin at RL_FIRST and go on by RL_NEXT elements. */
#if COLUMNS
#define RL_FIRST 0
#define RL_NEXT 1
#else
#define RL_FIRST (RL_MEMBER * RL_WIDTH)
#define RL_NEXT (TEAM * RL_WIDTH)
#endif
