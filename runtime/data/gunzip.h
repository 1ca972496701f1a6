/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a file that may be gzipped, to its very end: zlib's own gzread takes what follows the compressed data, if it
 * is no gzip, for nothing. */
#ifndef RUSHLIGHT_RUNTIME_DATA_GUNZIP_H
#define RUSHLIGHT_RUNTIME_DATA_GUNZIP_H

#include <stdbool.h>
#include <stddef.h>

typedef struct rl_gunzip rl_gunzip;

/* Takes the file, at its beginning, and closes it at the end. NULL and errno where memory or reading failed. */
rl_gunzip *rl_gunzip_new(int fd);
void rl_gunzip_free(rl_gunzip *self);
/* Reads so many bytes, fewer where the file ends or is damaged. */
size_t rl_gunzip_read(rl_gunzip *self, void *data, size_t bytes);
/* Why the last read stopped short: what is damaged, or NULL where the file ends. *out_cut: within compressed data. */
const char *rl_gunzip_damage(const rl_gunzip *self, bool *out_cut);

#endif
