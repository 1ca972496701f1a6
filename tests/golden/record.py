# SPDX-License-Identifier: Apache-2.0
"""Records what PyTorch answers to the calls below, for test_golden.c:  python3 record.py > answers.txt

A line of CALLS is an op and, parted by "|", its arguments in the notation of the op declarations (runtime/ops/op.h):
f[2,3] floats, p[..] in [0.5, 2], u[..] in [0.05, 0.95], n[..] small numbers, d[..] all different, i[4]<3 indices, b[3]
truths, i64[..] f64[..] f16[..] .. of this dtype; a trailing t, s or e: transposed, every second element, expanded.
Each float is drawn from the generator seeded with the line's text. The gradients are those of sum(cos(1), cos(2), ..
times the result).

The answers are lines of words: `case NAME`; for each argument `NAME=` where it goes by keyword, then `t DTYPE SHAPE
LAYOUT VALUES`, `i 1`, `f 0.5`, `b 1`, `l COUNT INTS`, `s WORD`, `d DTYPE`, `n` for None, or `tl COUNT` with that many
tensors after it; `out DTYPE SHAPE VALUES` for each result; `grad SHAPE VALUES` for each floating argument. SHAPE is
"2,3", or "-" without dimensions.
"""
import re
import sys
import warnings
import zlib

import torch
import torch.nn.functional as F

CALLS = """
add n[2,3], n[3] | n[2,1], n[3], alpha=2 | i64[3], i64[3] | f[3]s, 0.5 | i64[3], f[3] | b[3], b[3]
sub n[2,3], n[3] | f[2,3]t, f[2,3], alpha=-0.5 | i64[3], 2
rsub f[3], 2 | f[3], f[3]
mul n[2,3], n[3] | i64[3], 2.5 | f64[3], f[2,3] | b[3], i64[3]
div f[3], p[3] | i64[3], i64[1] | f[5], p[5], rounding_mode="floor" | f[5], p[5], rounding_mode="trunc"
floor_divide i64[5], i64[1] | i64[5], 3
remainder f[5], p[5] | i64[5], 3 | i64[5], -3
fmod f[5], p[5] | i64[5], 3
pow p[3], f[3] | p[3], 2 | p[3], -0.5 | i64[3], 2 | f[3], 3
neg f[3] | i64[3]
abs f[2,3]t | i64[3]
sign f[3] | i64[5]
reciprocal p[3] | i64[3]
square f[3] | i64[3]
sqrt p[3] | p[2,3]t
rsqrt p[3]
exp f[3] | i64[3]
exp2 f[3]
expm1 f[3]
log p[3]
log2 p[3]
log10 p[3]
log1p p[3]
sin f[3] | i64[3]
cos f[3]
tan u[3]
asin u[3]
acos u[3]
atan f[3]
atan2 f[3], p[3]
sinh f[3]
cosh f[3]
tanh f[3] | f[2,2]t
asinh f[3]
atanh u[3]
erf f[3]
erfc f[3]
erfinv u[3]
sigmoid f[3] | i64[3]
logit u[3]
floor f[3]
ceil f[3]
trunc f[3]
round f[5]
frac f[5]
relu f[5] | f[2,3]t
relu6 f[5]
leaky_relu f[5] | f[5], 0.2
elu f[5] | f[5], 0.5
selu f[5]
celu f[5]
gelu f[5] | f[5], approximate="tanh"
silu f[5]
mish f[5]
softplus f[5] | f[5], 2, 1
softsign f[5]
hardtanh f[5]
hardswish f[5]
hardsigmoid f[5]
maximum f[3], f[3] | i64[3], i64[3]
minimum f[3], f[3]
clamp f[5], -0.5, 0.5 | f[5], min=0 | i64[5], -1, 2
lerp f[3], f[3], 0.25
addcmul f[3], f[3], f[3], value=2
addcdiv f[3], f[3], p[3]
hypot f[3], f[3]
logaddexp f[3], f[3]
xlogy p[3], p[3]
eq i64[5], i64[5] | f[3], f[1]
ne i64[5], 2
lt f[3], f[3]
le i64[5], 1
gt f[3], 0
ge f[3], f[1]
logical_and b[4], b[4]
logical_or b[4], b[4]
logical_xor b[4], b[4]
logical_not b[4] | i64[4]
bitwise_and i64[4], i64[4] | b[4], b[4]
bitwise_or i64[4], 3
bitwise_xor i64[4], i64[4]
bitwise_not i64[4] | b[4]
isnan f[3]
isinf f[3]
where b[2,3], f[2,3], f[3] | b[3], f[3], 0.5
masked_fill f[2,3], b[3], 0.5
tril f[3,4] | f[3,4], -1
triu f[3,4], 1
conv1d f[2,3,7], f[4,3,3], f[4] | f[3,7], f[4,3,3], f[4], 2, 1 | f[2,4,9], f[6,2,3], f[6], 1, 2, 2, 2
conv2d f[2,3,5,4], f[4,3,3,2], f[4] | f[1,4,6,5], f[6,2,3,3], f[6], [2,1], 1, [1,2], 2 | f[2,3,4], f[2,2,1,1]
conv3d f[1,2,3,4,3], f[2,2,2,3,2], f[2], 1, 1
conv_transpose1d f[2,3,5], f[3,4,3], f[4], 2, 1, 1 | f[1,2,6], f[2,1,2], None, 1, 0, 1, 1, 2 | f[2,8,9], f[8,8,4], None, 1, 0, 1, 1, 2
conv_transpose2d f[1,4,2,3], f[4,3,3,3], f[6], [1,2], [0,1], [0,1], 2, [2,1]
conv_transpose3d f[1,2,2,2,2], f[2,3,2,2,2], f[3], 2
mse_loss f[2,3], f[2,3] | f[2,3], f[2,3], reduction="sum" | f[2,3], f[2,3], reduction="none"
l1_loss f[2,3], f[2,3]
smooth_l1_loss f[2,3], f[2,3]
huber_loss f[2,3], f[2,3]
nll_loss f[4,3], i[4]<3 | f[4,3], i[4]<3, reduction="sum"
cross_entropy f[4,3], i[4]<3 | f[4,3], i[4]<3, reduction="none"
cross_entropy f[5,3], i[5]<3, ignore_index=1 | f[2,3,4], i[2,4]<3, reduction="sum" | f[3], i[]<3 | f[5,3]t, i[5]<3
scaled_dot_product_attention f[3,4], f[5,4], f[5,2] | f[1,2,3,4], f[1,2,5,4], f[1,2,5,2], b[3,5] | f[2,3,4], f[2,3,4], f[2,3,4], is_causal=true
scaled_dot_product_attention f[2,3,4]t, f[1,5,4], f[1,5,4], f[3,5], scale=0.7 | f[1,4,3,2], f[1,2,3,2], f[1,2,3,2], enable_gqa=true
kl_div f[2,3], u[2,3]
binary_cross_entropy u[4], u[4]
binary_cross_entropy_with_logits f[4], u[4]
view f[2,6], [3,-1] | i64[4], [2,2]
reshape f[2,3]t, [6] | f[6]s, [2,-1]
flatten f[2,3,2], 1 | f[] | f[2,3,2], 0, 1
unflatten f[6,2], 0, [2,3]
transpose f[2,3], 0, 1 | f[2,3,2], -1, 0
t f[2,3] | f[3]
permute f[2,3,2], [2,0,1]
movedim f[2,3,2], 0, 2
squeeze f[1,3,1] | f[1,3,1], 0
unsqueeze f[3], 0 | f[2,3]t, -1
expand f[3,1], [2,3,2] | f[], [2]
slice f[7], 0, 1, 6, 2 | f[3,4]t, 1, -2
narrow f[3,4], 1, 1, 2
select f[3,4], 0, -1 | f[3]s, 0, 1
diagonal f[3,4], 1 | f[3,4], -1 | f[2,3,3], 0, 1, 2
unfold f[7], 0, 3, 2 | f[2,5], 1, 3, 1
as_strided f[12], [3,2], [4,1], 1
split f[5,2], 2 | f[5,2], 3, 0
split_with_sizes f[5], [2,0,3]
chunk f[5], 2
unbind f[2,3], 1
cat [f[2,3], f[1,3]] | [f[2,1], f[2,2]], 1 | [i64[2], f[2]] | [f[0], f[2,2]]
stack [f[3], f[3]] | [f[2]s, f[2]], 1
repeat f[2,3], [2,1,2] | f[], [2]
tile f[2], [2,2]
repeat_interleave f[2,2], 2 | f[2,2], 2, 0
flip f[2,3], [0,1] | f[3]s, [0]
roll f[2,3], 1 | f[2,3], [1,-1], [0,1]
gather f[3,4], 1, i[3,2]<4 | f[3,4]t, 0, i[2,4]<3
take_along_dim f[3,4], i[3,2]<4, 1
index_select f[3,4], 0, i[5]<3 | f[3,4]t, 1, i[2]<4
embedding f[5,2], i[2,3]<5 | f[5,2], i[3]<5, 1
one_hot i[4]<3, 5
masked_select f[3,4], b[3,4] | f[4], b[2,4]
nonzero b[3,4] | i64[5]
scatter f[3,4], 1, i[3,1]<4, f[3,1] | f[3,4], 0, i[1,4]<3, 2.5
scatter_add f[3,4], 1, i[3,6]<4, f[3,6] | f[3], 0, i[5]<3, f[5]
scatter_reduce p[3], 0, i[5]<3, p[5], "prod" | f[3], 0, i[5]<3, f[5], "mean" | d[3], 0, i[5]<3, f[5], "amax"
index_add f[3,2], 0, i[4]<3, f[4,2] | f[3,2], 0, i[2]<3, f[2,2], alpha=2
index_copy f[3,2], 0, i[1]<3, f[1,2]
index_fill f[3,2], 0, i[1]<3, 2.5
sum f[2,3] | f[2,3], 1 | f[2,3,2], [0,2], true | i64[3] | b[5] | f[2,3]t, 0 | f16[7]
nansum f[2,3]
mean f[2,3] | f[2,3], 0, true | i64[4], dtype=float32
prod p[2,3] | p[2,3], 1 | i64[4]
any b[2,3] | b[2,3], 1 | n[2,3], []
all b[2,3] | f[2,3], 1 | n[2,3], []
count_nonzero i64[2,3] | i64[2,3], 1
max d[2,3]
min d[2,3]t
max_dim d[2,3], 1 | d[2,3], 0, true
min_dim d[2,3], 1
amax d[2,3] | d[2,3,2], [0,2] | n[4]e
amin d[2,3], 1, true
aminmax d[2,3]
argmax d[2,3] | d[2,3], 1 | i64[9]
argmin d[2,3], 0, true
var f[2,3] | f[2,3], 1, correction=0 | f[4,3]t, 0, keepdim=true
std f[2,3] | f[2,3], 1
var_mean f[2,3], 1
norm f[2,3] | f[2,3], 1 | p[2,3], 3, 1 | d[2,3], inf, 1
logsumexp f[2,3], 1 | f[2,3,2], [0,2], true
cumsum f[2,3], 1 | i64[5], 0
cumprod p[2,3], 1
cummax d[2,3], 1
cummin d[5], 0
logcumsumexp f[2,3], 1
sort d[2,3] | d[5], 0, true | i64[9]
argsort d[2,3], 0
topk d[2,4], 2 | d[5], 2, 0, false
kthvalue d[2,4], 2
median d[7] | d[2,4]
median_dim d[3,4], 1
softmax f[2,3], 1 | f[2,3], 0 | f[3,2,2], 1 | i64[3], 0, dtype=float32 | f64[3], 0
log_softmax f[2,3], 1 | f[2,3]t, 0 | f[3], -1
matmul f[2,3], f[3,2] | f[3], f[3] | f[3], f[3,2] | f[2,3], f[3] | f[2,2,3], f[3,2] | f[2,1,2,3], f[2,3,2] | i64[2,3], i64[3,2]
mm f[2,3], f[3,2]t | f64[2,3], f64[3,2]
bmm f[2,2,3], f[2,3,2]
mv f[2,3], f[3]
dot f[5], f[5]
outer f[2], f[3]
addmm f[2], f[2,3], f[3,2] | f[2,2], f[2,3], f[3,2], beta=0.5, alpha=2
baddbmm f[2,2,2], f[2,2,3], f[2,3,2]
addmv f[2], f[2,3], f[3]
linear f[4,3], f[2,3], f[2] | f[4,3], f[2,3] | f[2,2,3], f[2,3], f[2] | f[3], f[2,3], f[2]
layer_norm f[2,3], [3], p[3], f[3] | f[2,2,3], [2,3], p[2,3], f[2,3], 0.1 | f[2,3], [3] | f[2,3]t, [3], p[3]
rms_norm f[2,3], [3], p[3] | f[2,2,3], [2,3], p[2,3], 0.1 | f[2,3], [3] | f16[2,3], [3] | f64[2,3], [3]
group_norm f[2,4,3], 2, p[4], f[4] | f[2,4], 2, p[4], f[4], 0.1 | f[2,3,2,2]t, 3
batch_norm f[4,3], None, None, p[3], f[3], true, 0.1, 0.01 | f[4,3], f[3], p[3], p[3], f[3], true | f[2,3,2,2]t, None, None, p[3], None, true | f[4,3], f[3], p[3], p[3], f[3] | f[2,3,2], f[3], p[3], eps=0.1
instance_norm f[2,3,4], None, None, p[3], f[3] | f[2,2,2,2] | f[2,3,4], f[3], p[3], p[3], f[3], false
local_response_norm f[2,3,4], 2 | f[2,4,2,2], 3, 0.5, 0.5, 2.0
zeros [2,3]
ones [2]
full [2], 2.5
arange 5 | 1, 2, 0.25
eye 3
linspace 0, 1, 5
lstm f[3,2,2], [f[1,2,3], f[1,2,3]], [f[12,2], f[12,3], f[12], f[12]], true, 1, 0.0, true, false, false | f[2,4,2], [f[2,2,1], f[2,2,1]], [f[4,2], f[4,1], f[4], f[4], f[4,1], f[4,1], f[4], f[4]], true, 2, 0.0, true, false, true | f[3,2,2], [f[2,2,2], f[2,2,2]], [f[8,2], f[8,2], f[8,2], f[8,2]], false, 1, 0.0, false, true, false
gru f[3,2,2], f[1,2,3], [f[9,2], f[9,3], f[9], f[9]], true, 1, 0.0, true, false, false | f[2,4,2], f[2,2,1], [f[3,2], f[3,1], f[3], f[3], f[3,1], f[3,1], f[3], f[3]], true, 2, 0.0, true, false, true | f[3,2,2], f[2,2,2], [f[6,2], f[6,2], f[6,2], f[6,2]], false, 1, 0.0, false, true, false
rnn_tanh f[3,2,2], f[1,2,3], [f[3,2], f[3,3], f[3], f[3]], true, 1, 0.0, true, false, false | f[2,4,2], f[4,2,1], [f[1,2], f[1,1], f[1,2], f[1,1], f[1,2], f[1,1], f[1,2], f[1,1]], false, 2, 0.0, true, true, true
rnn_relu f[3,2,2], f[1,2,3], [f[3,2], f[3,3], f[3], f[3]], true, 1, 0.0, true, false, false | f[2,4,2], f[4,2,1], [f[1,2], f[1,1], f[1,2], f[1,1], f[1,2], f[1,1], f[1,2], f[1,1]], false, 2, 0.0, true, true, true
lstm_cell f[2,2], [f[2,3], f[2,3]], f[12,2], f[12,3], f[12], f[12] | f[2,2], [f[2,3], f[2,3]], f[12,2], f[12,3]
gru_cell f[2,2], f[2,3], f[9,2], f[9,3], f[9], f[9] | f[2,2], f[2,3], f[9,2], f[9,3]
rnn_tanh_cell f[2,2], f[2,3], f[3,2], f[3,3], f[3], f[3]
rnn_relu_cell f[2,2], f[2,3], f[3,2], f[3,3], f[3], f[3]
max_pool1d d[2,3,8], 2 | d[3,9], 3, 2, 1 | d[1,2,10], 3, 3, 1, 1, true
max_pool2d d[2,3,6,8], 2 | d[1,2,7,9], [3,3], [2,2], [1,1] | d[3,5,5], [2,3], [1,2], [0,1] | d[1,2,8,9], 3, 2, 1, [1,2], true | d[2,5,4,3]t, 2
max_pool3d d[1,2,4,4,4], 2 | d[2,3,4,5], [2,1,3], [1,2,2], [1,0,1]
max_pool1d_with_indices d[2,3,8], 2
max_pool2d_with_indices d[2,3,6,8], 2 | d[1,2,7,9], [3,3], [2,2], [1,1] | d[1,1,6,7], 2, 3, 0, 1, true
max_pool3d_with_indices d[1,2,4,4,4], 2, 1
avg_pool1d f[2,3,8], 2 | f[3,9], 3, 2, 1 | f[1,2,10], 3, 3, 1, true, false
avg_pool2d f[2,3,6,8], 2 | f[1,2,7,9], [3,3], [2,2], [1,1] | f[1,2,7,9], [3,3], [2,2], [1,1], true, false | f[3,5,5], 3, 2, 1, true | f[1,1,5,5], 2, 2, 0, false, true, 3
avg_pool3d f[1,2,4,4,4], 2 | f[2,3,4,5], [2,1,3], [1,2,2], [1,0,1]
adaptive_avg_pool1d f[2,3,8], 4 | f[2,7], 3 | f[1,2], 5 | f[1,1,3], 11
adaptive_avg_pool2d f[2,3,8,6], [4,3] | f[1,2,7,5], 3 | f[1,3,5,4], 1
adaptive_avg_pool3d f[1,2,4,3,2], [2,2,1]
adaptive_max_pool1d d[2,3,8], 4 | d[2,7], 3 | d[1,2], 5 | d[1,1,3], 11
adaptive_max_pool2d d[1,3,8,6], [4,3] | d[1,2,7,5], 3
adaptive_max_pool2d_with_indices d[1,2,7,5], 3
constant_pad_nd f[3,4], [1,2], 0.5 | f[2,3,4], [0,1,-1,2] | i64[3], [1,1], 2
pad f[2,3,4], [1,2], "reflect" | f[2,3,4], [5,1], "replicate" | f[2,3,4], [3,4], "circular" | f[1,2,3,4], [1,2,2,0], "reflect" | f[1,2,3,4], [-1,2,2,1], "replicate" | f[2,3], [1,1] | f[1,5], [-1,2], "circular" | f[1,5], [3,-2], "circular"
interpolate f[1,2,3,4], [6,8] | f[2,1,5], [3] | f[1,2,3,4], scale_factor=2.5 | f[1,2,3,4], [5,3], mode="nearest-exact" | f[2,2,5], [9], mode="linear" | f[2,2,5], scale_factor=1.7, mode="linear" | f[1,2,3,4], [6,7], mode="bilinear" | f[1,2,3,4], [2,7], mode="bilinear", align_corners=true | f[1,2,5,5], scale_factor=0.7, mode="bilinear", align_corners=false, recompute_scale_factor=true | f[1,1,2,3,2], [3,4,5], mode="trilinear" | f[1,2,3,4], [7,6], mode="bicubic" | f[1,1,4,4], [3,9], mode="bicubic", align_corners=true | f[1,2,5,4], [2,3], mode="area" | f64[1,1,5], [7], mode="linear" | f[1,2,4], scale_factor=1.2, mode="linear" | f[1,1,3,3], scale_factor=1.2 | f[1,1,2,3], scale_factor=2.3 | f[1,1,3,3], scale_factor=1.2, mode="bilinear"
pixel_shuffle f[1,8,2,3], 2
pixel_unshuffle f[1,2,4,6], 2
channel_shuffle f[1,6,2,2], 3
im2col f[1,2,4,5], 2 | f[1,2,5,6], [2,3], 2, [1,0], [2,1]
col2im f[1,8,12], [4,5], 2 | f[1,8,20], [5,6], 2, 2, [1,0], 1
cosine_similarity f[3,4], f[3,4] | f[2,3,4], f[3,4], -1
pairwise_distance f[3,4], f[3,4] | f[3,4], f[4], 1
normalize f[3,4] | f[3,4], 1, 0
cdist f[3,4], f[2,4] | f[2,3,2], f[2,4,2], 1.0
cosine_embedding_loss f[12,3], f[12,3], i64[12] | f[12,3], f[12,3], i64[12], 0.5, reduction="sum"
triplet_margin_loss f[3,4], f[3,4], f[3,4] | f[3,4], f[3,4], f[3,4], 2.0, 1.0, 0.125, true, reduction="none"
margin_ranking_loss f[5], f[5], f[5] | f[5], f[5], f[5], 0.5, reduction="sum"
hinge_embedding_loss f[12], i64[12] | f[12], i64[12], 0.5, reduction="none"
soft_margin_loss f[5], i64[5]
multi_margin_loss f[4,3], i[4]<3 | f[4,3], i[4]<3, 2, 0.5, reduction="sum" | f[5], i[]<5
multilabel_margin_loss f[4,3], i[4,3]<3
multilabel_soft_margin_loss f[4,3], u[4,3] | f[4,3], u[4,3], p[3], reduction="none"
poisson_nll_loss f[4], p[4] | p[4], p[4], log_input=false, full=true, reduction="sum"
gaussian_nll_loss f[2,3], f[2,3], p[2,3] | f[2,3], f[2,3], p[2], true, reduction="sum"
glu f[2,4] | f[4,3], 0
softmin f[2,3], 1
"""


def constant(x):
    return None if x is None else x.detach().clone()


OPS = {
    "max_dim": lambda x, d, k=False: torch.max(x, d, keepdim=k),
    "min_dim": lambda x, d, k=False: torch.min(x, d, keepdim=k),
    "median_dim": lambda x, d: torch.median(x, d),
    "slice": lambda x, *a: torch.ops.aten.slice(x, *a),
    "view": lambda x, s: x.view(s),
    "expand": lambda x, s: x.expand(s),
    "repeat": lambda x, s: x.repeat(s),
    "unfold": lambda x, *a: x.unfold(*a),
    "split_with_sizes": torch.split,
    "one_hot": F.one_hot,
    "norm": torch.linalg.vector_norm,
    "embedding": lambda w, i, p=None: F.embedding(i, w, padding_idx=p),
    "sort": lambda x, d=-1, r=False: torch.sort(x, dim=d, descending=r, stable=True),
    "unflatten": lambda x, d, s: x.unflatten(d, s),
    "amin": lambda x, d, k: torch.amin(x, d, keepdim=k),
    "sum": lambda x, *a: x.sum(*a),
    "clamp": torch.clamp,
    "var_mean": lambda x, d: torch.var_mean(x, dim=d),
    "relu6": F.relu6,
    "batch_norm": lambda x, m, v, *a, **k: F.batch_norm(x, constant(m), constant(v), *a, **k),
    "instance_norm": lambda x, m=None, v=None, *a: F.instance_norm(x, constant(m), constant(v), *a),
    "layer_norm": F.layer_norm,
    "group_norm": F.group_norm,
    "im2col": F.unfold,
    "col2im": F.fold,
}
FUNCTIONAL = ("nll_loss", "cross_entropy", "kl_div", "binary_cross_entropy_with_logits", "cosine_embedding_loss",
              "triplet_margin_loss", "margin_ranking_loss", "hinge_embedding_loss", "soft_margin_loss", "poisson_nll_loss",
              "adaptive_max_pool1d")  # torch.NAME takes or gives something else
DTYPES = {"f32": torch.float32, "f64": torch.float64, "f16": torch.float16, "bf16": torch.bfloat16, "i64": torch.int64,
          "i32": torch.int32, "i16": torch.int16, "i8": torch.int8, "u8": torch.uint8, "b": torch.bool}
WORDS = {dtype: word for word, dtype in DTYPES.items()}
TENSOR = re.compile(r"(f32|f64|f16|bf16|i8|u8|i16|i32|i64|[fpundib])\[([\d,]*)\]([tse]?)(?:<(\d+))?")


def draw(kind, shape, dtype, below):
    """Numbers with few digits, so that the file is small."""
    size = int(torch.tensor(shape).prod()) if shape else 1
    if kind == "b":
        x = torch.rand(size) > 0.5
    elif kind == "i":
        x = torch.randint(below, (size,))
    elif kind == "d":
        x = (torch.randperm(size) - size // 2) * 0.5 + 0.125
    elif not dtype.is_floating_point:
        x = torch.randint(0 if dtype == torch.uint8 else -4, 7, (size,))
    elif kind == "p":
        x = torch.randint(32, 128, (size,)) / 64
    elif kind == "u":
        x = torch.randint(4, 61, (size,)) / 64
    else:
        x = torch.randint(-128, 128, (size,)) / 64 + 1 / 256
    return x.to(torch.bool if kind == "b" else torch.int64 if kind == "i" else dtype).reshape(shape)


def make(match):
    kind, sizes, layout, below = match.groups()
    shape = [int(s) for s in sizes.split(",") if s]
    dtype = DTYPES[kind] if kind in DTYPES and kind != "b" else torch.float32
    if layout == "t":
        x = draw(kind, shape[::-1], dtype, int(below or 0)).permute(*reversed(range(len(shape))))
    elif layout == "s":
        x = draw(kind, shape[:-1] + [2 * shape[-1]], dtype, int(below or 0))[..., ::2]
    elif layout == "e":
        x = draw(kind, [1] * len(shape), dtype, int(below or 0)).expand(shape)
    else:
        x = draw(kind, shape, dtype, int(below or 0))
    x.layout_word = layout or "c"
    return x.requires_grad_(dtype.is_floating_point and x.dtype.is_floating_point)


class Line:
    def __init__(self, text):
        self.text, self.at = text, 0

    def value(self):
        rest = self.text[self.at:]
        match = TENSOR.match(rest)
        if match:
            self.at += match.end()
            return make(match)
        if rest[0] == "[":
            self.at += 1
            out = []
            while self.text[self.at] != "]":
                if self.text[self.at] in ", ":
                    self.at += 1
                else:
                    out.append(self.value())
            self.at += 1
            return out
        match = re.match(r'"[^"]*"|[-\w.]+', rest)
        self.at += match.end()
        word = match.group(0)
        if word[0] == '"':
            return word[1:-1]
        known = {"true": True, "false": False, "None": None, "inf": float("inf")}
        if word in known:
            return known[word]
        if isinstance(getattr(torch, word, None), torch.dtype):
            return getattr(torch, word)
        return float(word) if "." in word else int(word)

    def arguments(self):
        positional, named = [], {}
        while self.at < len(self.text):
            if self.text[self.at] in ", ":
                self.at += 1
                continue
            match = re.match(r"([a-z_]\w*)=", self.text[self.at:])
            if match:
                self.at += match.end()
                named[match.group(1)] = self.value()
            else:
                positional.append(self.value())
        return positional, named


def shape_word(x):
    return ",".join(map(str, x.shape)) or "-"


def values(x):
    digits = 17 if x.dtype == torch.float64 else 9
    plain = x.detach().to(torch.float64 if x.dtype.is_floating_point else torch.int64).reshape(-1).tolist()
    return " ".join("%.*g" % (digits, v) if isinstance(v, float) else str(v) for v in plain)


def write_value(v, name=""):
    prefix = name + "= " if name else ""
    if isinstance(v, torch.Tensor):
        print("%st %s %s %s %s" % (prefix, WORDS[v.dtype], shape_word(v), v.layout_word, values(v)))
    elif v is None:
        print(prefix + "n")
    elif isinstance(v, bool):
        print("%sb %d" % (prefix, v))
    elif isinstance(v, (int, float)):
        print("%s%s %s" % (prefix, "i" if isinstance(v, int) else "f", v))
    elif isinstance(v, str):
        print("%ss %s" % (prefix, v))
    elif isinstance(v, torch.dtype):
        print("%sd %s" % (prefix, WORDS[v]))
    elif v and isinstance(v[0], torch.Tensor):
        print("%stl %d" % (prefix, len(v)))
        for x in v:
            write_value(x)
    else:
        print("%sl %d %s" % (prefix, len(v), " ".join(map(str, v))))


def floats(v):
    if isinstance(v, torch.Tensor):
        return [v] if v.requires_grad else []
    return [x for y in v for x in floats(y)] if isinstance(v, list) else []


def cotangent(y):
    return torch.cos(torch.arange(1, y.numel() + 1, dtype=torch.float64)).to(y.dtype).reshape(y.shape)


def record(name, text):
    torch.manual_seed(zlib.crc32((name + text).encode()))
    positional, named = Line(text).arguments()
    function = OPS.get(name) or getattr(F if name in FUNCTIONAL else torch, name, None) or getattr(F, name)
    result = function(*positional, **named)
    results = list(result) if isinstance(result, (tuple, list)) else [result]
    print("case", name)
    for v in positional:
        write_value(v)
    for key, v in named.items():
        write_value(v, key)
    for y in results:
        print("out %s %s %s" % (WORDS[y.dtype], shape_word(y), values(y)))
    leaves = [x for v in positional + list(named.values()) for x in floats(v)]
    outputs = [y for y in results if y.requires_grad]
    if leaves and outputs:
        for x, g in zip(leaves, torch.autograd.grad(outputs, leaves, [cotangent(y) for y in outputs],
                                                    allow_unused=True)):
            print("grad %s %s" % (shape_word(x), values(torch.zeros_like(x) if g is None else g)))


def main():
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print("# PyTorch %s, recorded by record.py" % torch.__version__.split("+")[0])
    for line in CALLS.strip().splitlines():
        name, arguments = line.split(" ", 1)
        for text in arguments.split("|"):
            try:
                record(name, text.strip())
            except Exception as e:
                sys.exit("%s %s: %s" % (name, text.strip(), e))


if __name__ == "__main__":
    main()
