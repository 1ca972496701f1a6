/* SPDX-License-Identifier: Apache-2.0 */
/* The dynamic section of a shared object and its tables: strings, symbols, their hashes and versions, relocations. All
 * that the dynamic loader follows leads to where something of that kind can be; what code does there is its own. */
#include "dispatch/elf.h"

#include <string.h>

static const char damaged[] = "it is damaged: its dynamic section leads to what it cannot be";

enum { TAG_RELRSZ = 35, TAG_RELR = 36, TAG_RELRENT = 37 }; /* not in every elf.h */

/* Tags that are followed; an address has its size at the tag beside it. */
typedef struct tables {
    const rl_elf *elf;
    const Elf64_Dyn *entries;
    uint64_t value[64]; /* of small tags, by number */
    uint64_t present;   /* bit t: tag t is there */
    uint64_t versym, verneed, verneednum, verdef, verdefnum, gnu_hash, relacount;
    /* Relocations of what is called when the object is opened or closed: their number, the sum of their addresses. */
    uint64_t calls, call_places;
    bool twice; /* a tag of which there can be one */
    bool has_versym, has_verneed, has_verdef, has_gnu_hash, text_relocations;
    const char *strings;
    uint64_t n_strings;
    const Elf64_Sym *symbols;
    uint64_t n_symbols; /* as far as hashes tell */
    bool counted;
    uint32_t top_version; /* the greatest number that a version has */
} tables;

static bool has(const tables *self, unsigned tag) {
    return self->present >> tag & 1;
}
static bool is_string(const tables *self, uint64_t offset) {
    return offset < self->n_strings;
}
static uint64_t at_most(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* Reading the section ---------------------------------------------------------------------------------------------- */

static void take(tables *self, const Elf64_Dyn *entry) {
    uint64_t value = entry->d_un.d_val;
    switch (entry->d_tag) {
    case DT_VERSYM:
        self->versym = value, self->has_versym = true;
        break;
    case DT_VERNEED:
        self->verneed = value, self->has_verneed = true;
        break;
    case DT_VERNEEDNUM:
        self->verneednum = value;
        break;
    case DT_VERDEF:
        self->verdef = value, self->has_verdef = true;
        break;
    case DT_VERDEFNUM:
        self->verdefnum = value;
        break;
    case DT_GNU_HASH:
        self->gnu_hash = value, self->has_gnu_hash = true;
        break;
    case DT_RELACOUNT:
        self->relacount = value;
        break;
    default:
        if (entry->d_tag > DT_NEEDED && entry->d_tag < 64) {
            self->twice |= has(self, (unsigned)entry->d_tag);
            self->value[entry->d_tag] = value;
            self->present |= UINT64_C(1) << entry->d_tag;
        }
    }
}

/* Tables whose address, size and kind are tags of their own: all or none. */
static bool goes_together(const tables *self, unsigned a, unsigned b, unsigned c) {
    return has(self, a) == has(self, b) && has(self, a) == has(self, c);
}
static bool is_whole(const tables *self) {
    return !self->twice && goes_together(self, DT_INIT_ARRAY, DT_INIT_ARRAYSZ, DT_INIT_ARRAYSZ) &&
           goes_together(self, DT_FINI_ARRAY, DT_FINI_ARRAYSZ, DT_FINI_ARRAYSZ) &&
           goes_together(self, DT_RELA, DT_RELASZ, DT_RELAENT) &&
           goes_together(self, DT_JMPREL, DT_PLTRELSZ, DT_PLTREL) &&
           goes_together(self, TAG_RELR, TAG_RELRSZ, TAG_RELRENT) && !has(self, DT_REL) &&
           (!has(self, DT_SYMENT) || self->value[DT_SYMENT] == sizeof(Elf64_Sym)) &&
           (!has(self, DT_RELA) || self->value[DT_RELAENT] == sizeof(Elf64_Rela)) &&
           (!has(self, DT_JMPREL) || self->value[DT_PLTREL] == DT_RELA);
}

static bool read_section(tables *self, const Elf64_Dyn *entries, uint64_t count) {
    uint64_t i = 0;
    for (; i < count && entries[i].d_tag != DT_NULL; i++)
        take(self, &entries[i]);
    if (i == count || !has(self, DT_STRTAB) || !has(self, DT_STRSZ) || !has(self, DT_SYMTAB))
        return false;
    self->n_strings = self->value[DT_STRSZ];
    self->strings = rl_elf_at(self->elf, self->value[DT_STRTAB], self->n_strings, 1);
    if (self->strings == NULL || self->n_strings == 0 || self->strings[self->n_strings - 1] != '\0')
        return false;
    for (i = 0; entries[i].d_tag != DT_NULL; i++) {
        int64_t tag = entries[i].d_tag;
        bool names = tag == DT_NEEDED || tag == DT_SONAME || tag == DT_RPATH || tag == DT_RUNPATH ||
                     tag == DT_AUXILIARY || tag == DT_FILTER;
        if (names && !is_string(self, entries[i].d_un.d_val))
            return false;
    }
    self->text_relocations = has(self, DT_TEXTREL) || (has(self, DT_FLAGS) && self->value[DT_FLAGS] & DF_TEXTREL);
    return is_whole(self);
}

/* Hashes and symbols ----------------------------------------------------------------------------------------------- */

/* DT_HASH: bucket and chain numbers are symbols, and no chain runs in a circle. */
static bool check_hash(tables *self) {
    const uint32_t *head = rl_elf_at(self->elf, self->value[DT_HASH], 8, 4);
    if (head == NULL)
        return false;
    uint64_t buckets = head[0], chains = head[1], steps = 0;
    const uint32_t *table = rl_elf_at(self->elf, self->value[DT_HASH], 8 + 4 * (buckets + chains), 4);
    if (table == NULL || buckets == 0)
        return false;
    for (uint64_t i = 0; i < buckets; i++)
        for (uint32_t at = table[2 + i]; at != 0; at = table[2 + buckets + at])
            if (at >= chains || ++steps > chains)
                return false;
    self->n_symbols = chains;
    self->counted = true;
    return true;
}

/* DT_GNU_HASH: every chain ends where the one that begins last does, at the latest. */
static bool check_gnu_hash(tables *self) {
    const uint32_t *head = rl_elf_at(self->elf, self->gnu_hash, 16, 8);
    if (head == NULL)
        return false;
    uint64_t buckets = head[0], first = head[1], words = head[2], last = 0;
    const uint32_t *table = rl_elf_at(self->elf, self->gnu_hash, 16 + 8 * words + 4 * buckets, 8);
    if (table == NULL || buckets == 0 || words == 0 || (words & (words - 1)) != 0 || head[3] >= 64)
        return false;
    for (uint64_t i = 0; i < buckets; i++) {
        uint64_t begins = table[4 + 2 * words + i];
        if (begins != 0 && begins < first)
            return false;
        last = begins > last ? begins : last;
    }
    if (last == 0)
        return true; /* no symbol to be found, and no telling how many there are */
    uint64_t chain = self->gnu_hash + 16 + 8 * words + 4 * buckets;
    for (const uint32_t *link;; last++) {
        link = rl_elf_at(self->elf, chain + 4 * (last - first), 4, 4);
        if (link == NULL)
            return false;
        if (*link & 1)
            break;
    }
    if (self->counted && self->n_symbols < last + 1)
        return false;
    self->n_symbols = self->counted ? self->n_symbols : last + 1;
    self->counted = true;
    return true;
}

static bool check_symbols(tables *self) {
    if (!self->counted)
        return rl_elf_at(self->elf, self->value[DT_SYMTAB], sizeof(Elf64_Sym), 8) != NULL;
    self->symbols = rl_elf_at(self->elf, self->value[DT_SYMTAB], self->n_symbols * sizeof(Elf64_Sym), 8);
    static const Elf64_Sym none;
    if (self->symbols == NULL || self->n_symbols == 0 || memcmp(self->symbols, &none, sizeof none) != 0)
        return false;
    for (uint64_t i = 0; i < self->n_symbols; i++) {
        const Elf64_Sym *s = &self->symbols[i];
        unsigned type = ELF64_ST_TYPE(s->st_info);
        if (!is_string(self, s->st_name) ||
            (s->st_shndx == SHN_UNDEF &&
             (ELF64_ST_VISIBILITY(s->st_other) != 0 || (i > 0 && ELF64_ST_BIND(s->st_info) == STB_LOCAL))))
            return false;
        if (s->st_shndx == SHN_UNDEF || s->st_shndx == SHN_ABS || type == STT_TLS || type == STT_SECTION)
            continue;
        if (!rl_elf_mapped(self->elf, s->st_value, 0, type == STT_FUNC || type == STT_GNU_IFUNC ? PF_X : 0))
            return false;
    }
    return true;
}

/* Versions --------------------------------------------------------------------------------------------------------- */

static void note_version(tables *self, uint32_t number) {
    number &= 0x7fff;
    self->top_version = number > self->top_version ? number : self->top_version;
}

/* Versions are asked of objects that are needed. */
static bool is_needed(const tables *self, uint64_t file) {
    for (const Elf64_Dyn *entry = self->entries; entry->d_tag != DT_NULL; entry++)
        if (entry->d_tag == DT_NEEDED && strcmp(self->strings + entry->d_un.d_val, self->strings + file) == 0)
            return true;
    return false;
}

static bool check_verneed(tables *self) {
    uint64_t address = self->verneed;
    for (uint64_t i = 0; i < self->verneednum; i++) {
        const Elf64_Verneed *need = rl_elf_at(self->elf, address, sizeof *need, 4);
        if (need == NULL || need->vn_version != 1 || !is_string(self, need->vn_file) || !is_needed(self, need->vn_file))
            return false;
        uint64_t at = address + need->vn_aux;
        for (unsigned k = 0; k < need->vn_cnt; k++) {
            const Elf64_Vernaux *aux = rl_elf_at(self->elf, at, sizeof *aux, 4);
            if (aux == NULL || !is_string(self, aux->vna_name) || (aux->vna_next == 0) != (k + 1u == need->vn_cnt))
                return false;
            note_version(self, aux->vna_other);
            at += aux->vna_next;
        }
        if (need->vn_cnt == 0 || (need->vn_next == 0) != (i + 1 == self->verneednum))
            return false;
        address += need->vn_next;
    }
    return true;
}

static bool check_verdef(tables *self) {
    uint64_t address = self->verdef;
    for (uint64_t i = 0; i < self->verdefnum; i++) {
        const Elf64_Verdef *def = rl_elf_at(self->elf, address, sizeof *def, 4);
        const Elf64_Verdaux *aux = def ? rl_elf_at(self->elf, address + def->vd_aux, sizeof *aux, 4) : NULL;
        if (aux == NULL || def->vd_version != 1 || !is_string(self, aux->vda_name) ||
            (def->vd_next == 0) != (i + 1 == self->verdefnum))
            return false;
        note_version(self, def->vd_ndx);
        address += def->vd_next;
    }
    return true;
}

static bool check_versions(tables *self) {
    self->top_version = 1; /* 0: local, 1: global */
    if ((self->has_verneed && !check_verneed(self)) || (self->has_verdef && !check_verdef(self)))
        return false;
    if (!self->has_versym)
        return !self->has_verneed && !self->has_verdef;
    const uint16_t *numbers = rl_elf_at(self->elf, self->versym, 2 * self->n_symbols, 2);
    for (uint64_t i = 0; numbers && i < self->n_symbols; i++)
        if ((numbers[i] & 0x7fff) > self->top_version)
            return false;
    return numbers != NULL;
}

/* Relocations ------------------------------------------------------------------------------------------------------ */

#if defined __x86_64__
enum { RELATIVE = R_X86_64_RELATIVE };
/* Those of whole words, which position-independent objects have. */
static bool is_known(uint64_t type) {
    switch (type) {
    case R_X86_64_NONE:
    case R_X86_64_64:
    case R_X86_64_GLOB_DAT:
    case R_X86_64_JUMP_SLOT:
    case R_X86_64_RELATIVE:
    case R_X86_64_DTPMOD64:
    case R_X86_64_DTPOFF64:
    case R_X86_64_TPOFF64:
    case R_X86_64_TLSDESC:
    case R_X86_64_IRELATIVE:
        return true;
    default:
        return false;
    }
}
#elif defined __aarch64__
enum { RELATIVE = 1027 /* R_AARCH64_RELATIVE */ };
static bool is_known(uint64_t type) {
    return type == 0 || type == 257 || (type >= 1024 && type <= 1032);
}
#else
enum { RELATIVE = -1 };
static bool is_known(uint64_t type) {
    return type != UINT64_MAX;
}
#endif

static bool is_writable(const tables *self, uint64_t address) {
    return rl_elf_mapped(self->elf, address, 8, self->text_relocations ? 0 : PF_W);
}
/* Whether address is an entry of what is called when the object is opened or closed. */
static bool is_called(const tables *self, uint64_t address) {
    return (has(self, DT_INIT_ARRAY) && address - self->value[DT_INIT_ARRAY] < self->value[DT_INIT_ARRAYSZ]) ||
           (has(self, DT_FINI_ARRAY) && address - self->value[DT_FINI_ARRAY] < self->value[DT_FINI_ARRAYSZ]);
}

static void note_call(tables *self, uint64_t address) {
    self->calls++;
    self->call_places += address;
}
static bool is_code(const tables *self, uint64_t address) {
    return rl_elf_mapped(self->elf, address, 1, PF_X);
}

static bool check_rela(tables *self, uint64_t address, uint64_t bytes, uint64_t relative) {
    const Elf64_Rela *entries = rl_elf_at(self->elf, address, bytes, 8);
    uint64_t count = bytes / sizeof *entries;
    if (entries == NULL || bytes % sizeof *entries != 0 || relative > count)
        return false;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t type = ELF64_R_TYPE(entries[i].r_info), symbol = ELF64_R_SYM(entries[i].r_info);
        if (!is_writable(self, entries[i].r_offset) || !is_known(type) ||
            (self->counted && symbol >= self->n_symbols) ||
            (i < relative && RELATIVE > 0 && type != (uint64_t)RELATIVE))
            return false;
        if (!is_called(self, entries[i].r_offset))
            continue;
        note_call(self, entries[i].r_offset);
        if (type == 0 || (type == (uint64_t)RELATIVE && !is_code(self, (uint64_t)entries[i].r_addend)))
            return false;
    }
    return true;
}

/* DT_RELR: an even word is an address, an odd one says with its other bits which of the 63 words after it. */
static bool check_relr(tables *self) {
    uint64_t bytes = self->value[TAG_RELRSZ], next = 0;
    const uint64_t *words = rl_elf_at(self->elf, self->value[TAG_RELR], bytes, 8);
    if (words == NULL || bytes % 8 != 0)
        return false;
    for (uint64_t i = 0; i < bytes / 8; i++) {
        if ((words[i] & 1) == 0) {
            if (!is_writable(self, words[i]))
                return false;
            if (is_called(self, words[i]))
                note_call(self, words[i]);
            next = words[i] + 8;
            continue;
        }
        for (unsigned bit = 1; bit < 64; bit++) {
            if ((words[i] >> bit & 1) == 0)
                continue;
            if (!is_writable(self, next + 8 * (bit - 1)))
                return false;
            if (is_called(self, next + 8 * (bit - 1)))
                note_call(self, next + 8 * (bit - 1));
        }
        next += UINT64_C(63) * 8;
    }
    return true;
}

static bool check_functions(const tables *self, unsigned tag, unsigned size_tag) {
    return !has(self, tag) ||
           (self->value[size_tag] % 8 == 0 && rl_elf_at(self->elf, self->value[tag], self->value[size_tag], 8) != NULL);
}

/* Addresses of functions are known when the object is mapped, no sooner: each has a relocation. */
static bool every_call_is_relocated(const tables *self) {
    uint64_t calls = 0, places = 0;
    for (int k = 0; k < 2; k++) {
        unsigned tag = k == 0 ? DT_INIT_ARRAY : DT_FINI_ARRAY, size_tag = k == 0 ? DT_INIT_ARRAYSZ : DT_FINI_ARRAYSZ;
        for (uint64_t i = 0; has(self, tag) && i < self->value[size_tag] / 8; i++, calls++)
            places += self->value[tag] + 8 * i;
    }
    return self->calls == calls && self->call_places == places;
}

static bool check_calls_and_relocations(tables *self) {
    return (!has(self, DT_INIT) || is_code(self, self->value[DT_INIT])) &&
           (!has(self, DT_FINI) || is_code(self, self->value[DT_FINI])) &&
           check_functions(self, DT_INIT_ARRAY, DT_INIT_ARRAYSZ) &&
           check_functions(self, DT_FINI_ARRAY, DT_FINI_ARRAYSZ) &&
           (!has(self, DT_PLTGOT) || rl_elf_mapped(self->elf, self->value[DT_PLTGOT], 24, PF_W)) &&
           (!has(self, DT_RELA) ||
            check_rela(self, self->value[DT_RELA], self->value[DT_RELASZ],
                       at_most(self->relacount, self->value[DT_RELASZ] / sizeof(Elf64_Rela) + 1))) &&
           (!has(self, DT_JMPREL) || check_rela(self, self->value[DT_JMPREL], self->value[DT_PLTRELSZ], 0)) &&
           (!has(self, TAG_RELR) || check_relr(self)) && every_call_is_relocated(self);
}

const char *rl_elf_check_dynamic(const rl_elf *elf, const Elf64_Phdr *dynamic) {
    const Elf64_Dyn *entries = rl_elf_at(elf, dynamic->p_vaddr, dynamic->p_filesz, 8);
    tables self = {.elf = elf, .entries = entries};
    if (entries == NULL || dynamic->p_memsz != dynamic->p_filesz)
        return "it is damaged: its dynamic section is in no segment";
    bool well = read_section(&self, entries, dynamic->p_filesz / sizeof *entries) &&
                (!has(&self, DT_HASH) || check_hash(&self)) && (!self.has_gnu_hash || check_gnu_hash(&self)) &&
                check_symbols(&self) && check_versions(&self) && check_calls_and_relocations(&self);
    return well ? NULL : damaged;
}
