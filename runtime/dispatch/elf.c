/* SPDX-License-Identifier: Apache-2.0 */
/* ELF headers and segments. The dynamic loader maps what they say without a question: reading beyond the end of a cut
 * file, or following an address out of all segments, would kill the process. */
#include "dispatch/elf.h"

#include <string.h>
#include <sys/mman.h>

enum { SEGMENTS_MOST = 256, TLS_ALIGN_MOST = 1 << 16 };
#define ADDRESS_MOST (UINT64_C(1) << 46)

static const char damaged[] = "it is damaged: an ELF segment is not where or what it can be";

/* [offset, offset + size) lies within [0, whole). */
static bool within(uint64_t offset, uint64_t size, uint64_t whole) {
    return offset <= whole && size <= whole - offset;
}

const void *rl_elf_at(const rl_elf *self, uint64_t address, uint64_t bytes, uint64_t align) {
    for (unsigned i = 0; i < self->n_parts; i++) {
        const Elf64_Phdr *part = &self->parts[i];
        if (part->p_type == PT_LOAD && address >= part->p_vaddr &&
            within(address - part->p_vaddr, bytes, part->p_filesz))
            return address % align == 0 && (part->p_offset - part->p_vaddr) % align == 0
                       ? self->file + part->p_offset + (address - part->p_vaddr)
                       : NULL;
    }
    return NULL;
}

bool rl_elf_mapped(const rl_elf *self, uint64_t address, uint64_t bytes, uint32_t flags) {
    for (unsigned i = 0; i < self->n_parts; i++) {
        const Elf64_Phdr *part = &self->parts[i];
        if (part->p_type == PT_LOAD && address >= part->p_vaddr &&
            within(address - part->p_vaddr, bytes, part->p_memsz))
            return (part->p_flags & flags) == flags;
    }
    return false;
}

static bool is_power_of_two(uint64_t n) {
    return n != 0 && (n & (n - 1)) == 0;
}

/* Segments to be loaded come in the order of their addresses and places in the file, and do not overlap in either; only
 * what can be written has memory beyond the file's bytes. */
static const char *check_load(const Elf64_Phdr *part, uint64_t *end, uint64_t *file_end) {
    bool fits = part->p_filesz <= part->p_memsz && within(part->p_vaddr, part->p_memsz, ADDRESS_MOST) &&
                (part->p_filesz == part->p_memsz || (part->p_flags & PF_W)) && part->p_vaddr >= *end &&
                (part->p_offset >= *file_end || part->p_filesz == 0) && is_power_of_two(part->p_align) &&
                (part->p_flags & PF_R) && (part->p_vaddr - part->p_offset) % part->p_align == 0;
    *end = part->p_vaddr + part->p_memsz;
    *file_end = part->p_offset + part->p_filesz;
    return fits ? NULL : damaged;
}

/* Those that name a part of what is loaded. */
static const char *check_other(const rl_elf *self, const Elf64_Phdr *part) {
    switch (part->p_type) {
    case PT_TLS:
        if (part->p_filesz > part->p_memsz || part->p_memsz > ADDRESS_MOST || part->p_align > TLS_ALIGN_MOST ||
            (part->p_align > 1 && !is_power_of_two(part->p_align)))
            return damaged;
        return part->p_filesz == 0 || rl_elf_at(self, part->p_vaddr, part->p_filesz, 1) ? NULL : damaged;
    case PT_GNU_RELRO:
        return rl_elf_mapped(self, part->p_vaddr, part->p_memsz, PF_W) ? NULL : damaged;
    case PT_PHDR:
    case PT_NOTE:
    case PT_GNU_PROPERTY:
    case PT_GNU_EH_FRAME:
        return rl_elf_at(self, part->p_vaddr, part->p_memsz, 1) ? NULL : damaged;
    default:
        return NULL;
    }
}

static const char *check_segments(const rl_elf *self) {
    const Elf64_Phdr *dynamic = NULL;
    const char *complaint = NULL;
    uint64_t end = 0, file_end = 0;
    unsigned loads = 0;
    for (unsigned i = 0; i < self->n_parts && !complaint; i++) {
        const Elf64_Phdr *part = &self->parts[i];
        if (part->p_type != PT_NULL && !within(part->p_offset, part->p_filesz, self->size))
            return "it is truncated: an ELF segment lies beyond its end";
        if (part->p_type == PT_LOAD) {
            complaint = check_load(part, &end, &file_end);
            loads++;
        } else if (part->p_type == PT_DYNAMIC) {
            if (dynamic)
                return damaged;
            dynamic = part;
        }
    }
    for (unsigned i = 0; i < self->n_parts && !complaint; i++)
        complaint = check_other(self, &self->parts[i]);
    if (complaint)
        return complaint;
    if (loads == 0 || dynamic == NULL)
        return "it is no shared object that can be loaded: it lacks segments";
    return rl_elf_check_dynamic(self, dynamic);
}

static const char *check(const unsigned char *file, uint64_t size) {
    static const unsigned char class = sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32;
    Elf64_Ehdr head;
    if (size < sizeof head || memcmp(file, ELFMAG, SELFMAG) != 0)
        return "it is no ELF file";
    memcpy(&head, file, sizeof head);
    if (head.e_ident[EI_CLASS] != class || head.e_type != ET_DYN || head.e_phentsize != sizeof(Elf64_Phdr))
        return "it is no shared object of this machine (ELF class, type or header)";
    if (!within(head.e_phoff, (uint64_t)head.e_phnum * sizeof(Elf64_Phdr), size) ||
        !within(head.e_shoff, (uint64_t)head.e_shnum * head.e_shentsize, size))
        return "it is truncated: its ELF headers lie beyond its end";
    if (head.e_phnum > SEGMENTS_MOST || head.e_phoff % _Alignof(Elf64_Phdr) != 0)
        return damaged;
    rl_elf self = {file, size, (const Elf64_Phdr *)(const void *)(file + head.e_phoff), head.e_phnum};
    return check_segments(&self);
}

const char *rl_elf_complaint(int fd, uint64_t size) {
    if (sizeof(void *) != 8 || size == 0)
        return size == 0 ? "it is no ELF file" : NULL;
    void *file = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (file == MAP_FAILED)
        return "it cannot be read";
    const char *complaint = check(file, size);
    munmap(file, size);
    return complaint;
}
