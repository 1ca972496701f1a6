/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUSHLIGHT_TESTS_SUPPORT_MISSING_H
#define RUSHLIGHT_TESTS_SUPPORT_MISSING_H
int rushlight_test_missing(void);
int rushlight_test_undefined(void); /* nowhere */
#endif
