/* SPDX-License-Identifier: Apache-2.0 */
/* From the symbol to an open device: the table, its devices, memory. */
#include <stdlib.h>
#include <string.h>

#include "conformance.h"

static bool table_is_whole(suite *self) {
    const rl_backend *api = self->api;
    bool whole = check(self, api->size >= offsetof(rl_backend, fused), "the table ends before its required functions");
    if (!whole)
        return false;
#define PRESENT(function) whole &= check(self, api->function != NULL, #function " is NULL");
    RL_REQUIRED_LIST(PRESENT)
#undef PRESENT
    return whole;
}

static void check_table(suite *self) {
    const rl_backend *api = self->api;
    const char *name = api->name ? api->name : "";
    check(self, api->abi == RL_ABI_VERSION, "abi is %u, must be %u", api->abi, RL_ABI_VERSION);
    check(self, *name && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(name),
          "name '%s' must be lower case letters, digits and '_'", name);
    check(self, api->version && *api->version, "version is missing");
    check(self, api->summary && *api->summary, "summary is missing");
}

static void check_devices(suite *self, uint32_t count) {
    struct {
        rl_device_info info;
        unsigned char after[16];
    } room;
    for (uint32_t i = 0; i < count; i++) {
        /* What a backend of an older, shorter struct does not know of stays as the host left it, zero: absent. */
        memset(&room, 0x5a, sizeof room);
        memset(&room.info, 0, sizeof room.info);
        room.info.size = sizeof room.info;
        check(self, self->api->device_info(i, &room.info) == RL_OK, "device_info of device %u failed", i);
        check(self, room.info.name[0] && memchr(room.info.name, 0, sizeof room.info.name) != NULL,
              "device %u has no name that ends", i);
        uint32_t alignment = room.info.alignment;
        check(self, alignment == 0 || (alignment >= 64 && !(alignment & (alignment - 1))),
              "alignment %u must be a power of two, at least 64, or absent", alignment);
        check(self, room.after[0] == 0x5a && room.after[15] == 0x5a, "device_info wrote beyond the struct");
        memset(&room, 0x5a, sizeof room);
        room.info.size = offsetof(rl_device_info, driver); /* an older, shorter host */
        check(self, self->api->device_info(i, &room.info) == RL_OK && room.info.driver[0] == 0x5a,
              "device_info filled more than the host's size");
    }
    room.info.size = sizeof room.info;
    check(self, self->api->device_info(count, &room.info) != RL_OK, "device_info of a device that is not there is OK");
}

/* What a function that failed left in its output is nothing. */
static bool open_device(suite *self, const char *which) {
    rl_status status = self->api->device_open(0, &self->device);
    bool opened = check(self, status == RL_OK && self->device, "device_open failed%s: %s", which, self->sentence);
    if (!opened)
        self->device = NULL;
    return opened;
}
static bool open_stream(suite *self) {
    rl_status status = self->api->stream_create(self->device, &self->stream);
    bool opened = check(self, status == RL_OK && self->stream, "stream_create failed: %s", self->sentence);
    if (!opened)
        self->stream = NULL;
    return opened;
}

void check_lifecycle(suite *self) {
    rl_device_info info = {.size = sizeof info};
    self->section = SECTION_LIFECYCLE;
    if (!table_is_whole(self))
        return;
    check_table(self);
    self->started = check(self, self->api->init() == RL_OK, "init failed: %s", self->sentence);
    if (!self->started)
        return;
    uint32_t count = self->api->device_count();
    check_devices(self, count);
    if (!check(self, count > 0, "there is no device"))
        return;
    check(self, self->api->device_count() == count, "device_count changed without a reason");
    self->api->device_info(0, &info);
    self->f64 = (info.flags & RL_DEVICE_F64) != 0;
    if (!open_device(self, ""))
        return;
    /* Closing and opening again must work: nothing of the first opening may stay. */
    self->api->device_close(self->device);
    self->device = NULL;
    self->device_worked = open_device(self, " the second time") && open_stream(self);
}

void close_suite(suite *self) {
    self->section = SECTION_LIFECYCLE;
    if (self->stream)
        self->api->stream_destroy(self->stream);
    if (self->device)
        self->api->device_close(self->device);
    if (self->started)
        self->api->shutdown();
    if (self->device_worked &&
        check(self, self->api->init() == RL_OK, "init after shutdown failed: %s", self->sentence))
        self->api->shutdown();
    self->stream = NULL;
    self->device = NULL;
    self->started = false;
}

/* Memory
 * ------------------------------------------------------------------------------------------------------------------ */

static rl_backend_buffer *take(suite *self, uint64_t bytes) {
    rl_backend_buffer *buffer = NULL;
    rl_status status = self->api->mem_alloc(self->device, RL_MEMORY_DEVICE, bytes, &buffer);
    check(self, status == RL_OK && buffer, "mem_alloc of %llu bytes failed: %s", (unsigned long long)bytes,
          self->sentence);
    return status == RL_OK ? buffer : NULL;
}

static void give(suite *self, rl_backend_buffer *buffer) {
    self->api->stream_sync(self->stream);
    self->api->mem_free(self->device, buffer);
}

static void check_copies(suite *self, uint64_t bytes) {
    rl_backend_buffer *a = take(self, bytes), *b = take(self, bytes);
    unsigned char *in = malloc(bytes), *out = calloc(1, bytes);
    if (a && b && in && out) {
        for (uint64_t i = 0; i < bytes; i++)
            in[i] = (unsigned char)(i * 7 + 1);
        uint64_t part = bytes / 3;
        bool copied = self->api->copy_in(self->stream, a, 0, in, bytes) == RL_OK;
        unsigned char first = in[0];
        in[0] = (unsigned char)~first; /* the source may change at once */
        copied &= self->api->copy(self->stream, b, part, a, 0, bytes - part) == RL_OK;
        copied &= part == 0 || self->api->copy(self->stream, b, 0, a, bytes - part, part) == RL_OK;
        copied &= self->api->copy_out(self->stream, out, b, 0, bytes) == RL_OK;
        copied &= self->api->stream_sync(self->stream) == RL_OK;
        in[0] = first;
        for (uint64_t i = 0; i < bytes && copied; i++)
            copied = out[(i + part) % bytes] == in[i];
        check(self, copied, "%llu bytes copied in, within and out came back changed: %s", (unsigned long long)bytes,
              self->sentence);
    }
    give(self, a);
    give(self, b);
    free(in);
    free(out);
}

static void check_exhaustion(suite *self) {
    rl_backend_buffer *buffer = NULL;
    self->sentence[0] = 0;
    rl_status status = self->api->mem_alloc(self->device, RL_MEMORY_DEVICE, (uint64_t)1 << 60, &buffer);
    check(self, status == RL_OUT_OF_MEMORY, "mem_alloc of 2^60 bytes gives status %d, must be out of memory",
          (int)status);
    check(self, self->sentence[0] != 0, "mem_alloc failed without a sentence");
    give(self, take(self, 64));
}

static void check_host_memory(suite *self) {
    void *address = NULL;
    rl_backend_buffer *buffer = take(self, 4096);
    if (!(self->api->flags & RL_BACKEND_HOST_MEMORY) || !buffer) {
        give(self, buffer);
        return;
    }
    bool mapped = self->api->mem_map && self->api->mem_map(self->device, buffer, &address) == RL_OK && address;
    check(self, mapped, "mem_map must work where the backend sets RL_BACKEND_HOST_MEMORY");
    check(self, (uintptr_t)address % 64 == 0, "a buffer must be aligned to 64 bytes");
    give(self, buffer);
    if (self->api->mem_wrap) {
        unsigned char foreign[256] = {1, 2, 3}, back[256] = {0};
        bool wrapped = self->api->mem_wrap(self->device, foreign, sizeof foreign, &buffer) == RL_OK;
        if (check(self, wrapped, "mem_wrap failed: %s", self->sentence)) {
            self->api->copy_out(self->stream, back, buffer, 0, sizeof back);
            give(self, buffer);
            check(self, memcmp(back, foreign, sizeof back) == 0 && foreign[1] == 2, "mem_wrap shows other memory");
        }
    }
}

void check_memory(suite *self) {
    self->section = SECTION_MEMORY;
    const uint64_t sizes[] = {1, 3, 64, 1000, 65536, 3 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        check_copies(self, sizes[i]);
    check_exhaustion(self);
    check_host_memory(self);
    self->api->mem_free(self->device, NULL);
    rl_backend_buffer *buffers[32];
    for (int i = 0; i < 32; i++)
        buffers[i] = take(self, 256);
    for (int i = 0; i < 32; i++)
        for (int k = 0; k < i; k++)
            if (buffers[i])
                check(self, buffers[i] != buffers[k], "two living buffers have one handle");
    for (int i = 0; i < 32; i++)
        give(self, buffers[i]);
}
