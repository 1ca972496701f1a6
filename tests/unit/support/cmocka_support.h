/* SPDX-License-Identifier: Apache-2.0 */
/* cmocka and the headers that it wants first. */
#ifndef RL_TEST_CMOCKA_SUPPORT_H
#define RL_TEST_CMOCKA_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

#endif
