/* SPDX-License-Identifier: Apache-2.0 */
/* What a shared object's headers must be like before the dynamic loader, which believes them, sees the file. */
#ifndef RUSHLIGHT_RUNTIME_DISPATCH_ELF_H
#define RUSHLIGHT_RUNTIME_DISPATCH_ELF_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Why the file is not to be opened, as a sentence; NULL where all is well. Any thread. */
const char *rl_elf_complaint(int fd, uint64_t size);

/* The rest is between elf.c, which checks headers and segments, and elf_dynamic.c. */

typedef struct rl_elf {
    const unsigned char *file;
    uint64_t size;
    const Elf64_Phdr *parts;
    unsigned n_parts;
} rl_elf;

/* The bytes that are mapped from the file at [address, address + bytes), of that alignment; NULL where they are not. */
const void *rl_elf_at(const rl_elf *self, uint64_t address, uint64_t bytes, uint64_t align);
/* Whether [address, address + bytes) is in memory, in a segment with all of these flags. */
bool rl_elf_mapped(const rl_elf *self, uint64_t address, uint64_t bytes, uint32_t flags);
/* Of the table that PT_DYNAMIC leads to, and of all that it leads to. */
const char *rl_elf_check_dynamic(const rl_elf *self, const Elf64_Phdr *dynamic);

#endif
