/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All of Rushlight's C API:
 *
 *     #include <rushlight/rushlight.h>
 *
 * Threads: a tensor may be used on any thread, by one at a time unless it is only read. Errors, scopes, the recording
 * of gradients and the current stream belong to the thread that uses them.
 */
#ifndef RUSHLIGHT_RUSHLIGHT_H
#define RUSHLIGHT_RUSHLIGHT_H

#include "rushlight/amp.h"
#include "rushlight/autocast.h"
#include "rushlight/autograd.h"
#include "rushlight/base.h"
#include "rushlight/data.h"
#include "rushlight/device.h"
#include "rushlight/io.h"
#include "rushlight/nn.h"
#include "rushlight/op.h"
#include "rushlight/ops.h"
#include "rushlight/optim.h"
#include "rushlight/schedule.h"
#include "rushlight/tensor.h"

#endif
