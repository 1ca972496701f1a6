/* SPDX-License-Identifier: Apache-2.0 */
/* The header of a safetensors file. Nothing in it is believed before it was checked. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "io/safetensors.h"

#define EXCERPT 64 /* characters of a name in an error */

static const struct {
    rl_dtype dtype;
    const char *name;
} dtypes[] = {
#define ROW(NAME, text) {RL_##NAME, text},
    SAFETENSORS_DTYPES(ROW)
#undef ROW
};

const char *safetensors_dtype_name(rl_dtype dtype) {
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (dtypes[i].dtype == dtype)
            return dtypes[i].name;
    }
    return NULL;
}

static rl_dtype dtype_of(const char *name) {
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (strcmp(dtypes[i].name, name) == 0)
            return dtypes[i].dtype;
    }
    return RL_DTYPE_NONE;
}

/* "safetensors_open: FILE: tensor 'NAME': SENTENCE" */
static rl_status bad(const rl_safetensors *self, rl_status status, const char *name, const char *format, ...)
    RL_PRINTF_(4, 5);
static rl_status bad(const rl_safetensors *self, rl_status status, const char *name, const char *format, ...) {
    char sentence[320];
    rl_text what = {0};
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    if (name) {
        rl_text_add(&what, "tensor '");
        rl_text_add_excerpt(&what, name, EXCERPT);
        rl_text_add(&what, "': ");
    }
    status = rl_fail(status, "safetensors_open: %s: %s%s", self->path, what.data ? what.data : "", sentence);
    rl_text_free(&what);
    return status;
}

/* What the parser lets pass though it is no JSON, or does not show: control characters and U+0000 in strings, which
 * would end a name early, control characters between them, which it takes for blanks, and within lists numbers that are
 * not written as plain whole ones. NULL where there is none. */
static const char *find_oddity(const char *header, size_t length, size_t *out_at) {
    int lists = 0;
    bool within = false; /* a string */
    for (size_t i = 0; i < length; *out_at = ++i) {
        char c = header[i];
        if (within && c == '\\') {
            if (length - i >= 6 && memcmp(header + i, "\\u0000", 6) == 0)
                return "a text in its header holds U+0000";
            i++;
        } else if (within && (unsigned char)c < 32) {
            return "a text in its header holds a control character";
        } else if ((unsigned char)c < 32 && c != '\t' && c != '\n' && c != '\r') {
            return "its header holds a control character between its texts";
        } else if (c == '"') {
            within = !within;
        } else if (!within && strchr("[]", c)) {
            lists += c == '[' ? 1 : -1;
        } else if (!within && lists > 0 && strchr("+-.0123456789", c)) {
            size_t digits = strspn(header + i, "0123456789");
            if (digits == 0 || (digits > 1 && c == '0') || strchr("+-.eE", header[i + digits]))
                return "a size or offset in its header is not written as a whole number";
            i += digits - 1;
        }
    }
    return NULL;
}

/* A whole number that a double holds exactly; false for anything else. */
static bool whole(const cJSON *item, uint64_t *out) {
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0.0 && item->valuedouble <= 0x1p53))
        return false;
    *out = (uint64_t)item->valuedouble;
    return (double)*out == item->valuedouble;
}

static rl_status parse_shape(const rl_safetensors *self, const cJSON *list, file_entry *entry, uint64_t *out_bytes) {
    const cJSON *item;
    uint64_t bytes = rl_dtype_size(entry->dtype), size;
    bool empty = false, overflow = false;
    if (!cJSON_IsArray(list))
        return bad(self, RL_BAD_FORMAT, entry->name, "shape must be a list of sizes");
    cJSON_ArrayForEach(item, list) {
        if (entry->ndim == RL_MAX_DIMS)
            return bad(self, RL_UNSUPPORTED, entry->name, "more than %d dimensions", RL_MAX_DIMS);
        if (!whole(item, &size))
            return bad(self, RL_BAD_FORMAT, entry->name, "size %lld of shape is no whole number from 0 to 2^53",
                       (long long)entry->ndim);
        entry->shape[entry->ndim++] = (int64_t)size;
        empty |= size == 0;
        overflow |= size > 0 && __builtin_mul_overflow(bytes, size, &bytes);
    }
    if (!empty && (overflow || bytes > (uint64_t)1 << 62))
        return bad(self, RL_BAD_FORMAT, entry->name, "the product of its sizes overflows");
    *out_bytes = empty ? 0 : bytes;
    return RL_OK;
}

static rl_status parse_offsets(const rl_safetensors *self, const cJSON *pair, file_entry *entry, uint64_t bytes) {
    if (!cJSON_IsArray(pair) || cJSON_GetArraySize(pair) != 2 || !whole(cJSON_GetArrayItem(pair, 0), &entry->begin) ||
        !whole(cJSON_GetArrayItem(pair, 1), &entry->end))
        return bad(self, RL_BAD_FORMAT, entry->name, "data_offsets must be two whole numbers");
    if (entry->begin > entry->end || entry->end > self->data_bytes)
        return bad(
            self, RL_BAD_FORMAT, entry->name, "data_offsets [%llu, %llu] lie outside of the file's %llu bytes of data",
            (unsigned long long)entry->begin, (unsigned long long)entry->end, (unsigned long long)self->data_bytes);
    if (entry->end - entry->begin != bytes)
        return bad(self, RL_BAD_FORMAT, entry->name, "data_offsets hold %llu bytes, its shape and dtype need %llu",
                   (unsigned long long)(entry->end - entry->begin), (unsigned long long)bytes);
    return RL_OK;
}

/* Of two values under one key it would depend on the reader which counts. */
static const char *find_doubled(const cJSON *object) {
    static const char *const keys[] = {"dtype", "shape", "data_offsets"};
    int seen[3] = {0};
    const cJSON *item;
    cJSON_ArrayForEach(item, object) {
        for (int k = 0; k < 3; k++)
            if (item->string && strcmp(item->string, keys[k]) == 0 && seen[k]++ > 0)
                return keys[k];
    }
    return NULL;
}

static rl_status parse_tensor(rl_safetensors *self, const cJSON *item) {
    file_entry *entry = &self->entries[self->n_entries];
    const cJSON *dtype = cJSON_GetObjectItemCaseSensitive(item, "dtype");
    const char *doubled = find_doubled(item);
    uint64_t bytes = 0;
    if (!rl_text_is_utf8(item->string))
        return bad(self, RL_BAD_FORMAT, item->string, "the name is not UTF-8");
    entry->name = rl_strdup(item->string, "name of a tensor");
    if (entry->name == NULL)
        return rl_error_status();
    self->by_name[self->n_entries++] = entry;
    if (!cJSON_IsObject(item))
        return bad(self, RL_BAD_FORMAT, entry->name, "must be an object with dtype, shape and data_offsets");
    if (doubled)
        return bad(self, RL_BAD_FORMAT, entry->name, "%s is there twice", doubled);
    if (!cJSON_IsString(dtype))
        return bad(self, RL_BAD_FORMAT, entry->name, "dtype must be a string");
    entry->dtype = dtype_of(dtype->valuestring);
    if (entry->dtype == RL_DTYPE_NONE)
        return bad(self, RL_UNSUPPORTED, entry->name, "dtype %.16s is not known here", dtype->valuestring);
    rl_status status = parse_shape(self, cJSON_GetObjectItemCaseSensitive(item, "shape"), entry, &bytes);
    if (status == RL_OK)
        status = parse_offsets(self, cJSON_GetObjectItemCaseSensitive(item, "data_offsets"), entry, bytes);
    return status;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Keys of the metadata are unique. */
static rl_status check_keys(const rl_safetensors *self) {
    size_t count = (size_t)self->n_metadata;
    const char **keys = rl_alloc_zero(count + 1, sizeof *keys, "metadata");
    if (keys == NULL)
        return rl_error_status();
    for (size_t i = 0; i < count; i++)
        keys[i] = self->metadata[i].key;
    qsort((void *)keys, count, sizeof *keys, by_text);
    rl_status status = RL_OK;
    for (size_t i = 1; i < count && status == RL_OK; i++)
        if (strcmp(keys[i - 1], keys[i]) == 0)
            status = bad(self, RL_BAD_FORMAT, NULL, "__metadata__ has '%.64s' twice", keys[i]);
    rl_free((void *)keys);
    return status;
}

static rl_status parse_metadata(rl_safetensors *self, const cJSON *object) {
    const cJSON *item;
    if (!cJSON_IsObject(object) || self->metadata)
        return bad(self, RL_BAD_FORMAT, NULL, "__metadata__ must be one object of strings");
    self->metadata = rl_alloc_zero((size_t)cJSON_GetArraySize(object) + 1, sizeof *self->metadata, "metadata");
    if (self->metadata == NULL)
        return rl_error_status();
    cJSON_ArrayForEach(item, object) {
        if (!cJSON_IsString(item))
            return bad(self, RL_BAD_FORMAT, NULL, "__metadata__ must be an object of strings");
        file_metadata *line = &self->metadata[self->n_metadata++];
        line->key = rl_strdup(item->string, "metadata");
        line->value = rl_strdup(item->valuestring, "metadata");
        if (line->key == NULL || line->value == NULL)
            return rl_error_status();
    }
    return check_keys(self);
}

static int by_begin(const void *a, const void *b) {
    const file_entry *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end; /* an empty one before what begins at the same byte */
}

static int by_name(const void *a, const void *b) {
    const file_entry *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* Together the tensors cover all data, and no byte twice; names are unique. */
static rl_status check_together(rl_safetensors *self) {
    uint64_t at = 0;
    qsort(self->entries, (size_t)self->n_entries, sizeof *self->entries, by_begin);
    for (int64_t i = 0; i < self->n_entries; i++) {
        file_entry *entry = &self->entries[i];
        self->by_name[i] = entry;
        if (entry->begin < at)
            return bad(self, RL_BAD_FORMAT, entry->name, "its data overlap those of '%.64s'", entry[-1].name);
        if (entry->begin > at)
            return bad(self, RL_BAD_FORMAT, entry->name, "%llu bytes of data before it belong to no tensor",
                       (unsigned long long)(entry->begin - at));
        at = entry->end;
    }
    if (at != self->data_bytes)
        return bad(self, RL_BAD_FORMAT, NULL, "%llu bytes at its end belong to no tensor",
                   (unsigned long long)(self->data_bytes - at));
    qsort(self->by_name, (size_t)self->n_entries, sizeof(file_entry *), by_name);
    for (int64_t i = 1; i < self->n_entries; i++) {
        if (strcmp(self->by_name[i - 1]->name, self->by_name[i]->name) == 0)
            return bad(self, RL_BAD_FORMAT, self->by_name[i]->name, "is there twice");
    }
    return RL_OK;
}

static rl_status parse_root(rl_safetensors *self, const cJSON *root) {
    const cJSON *item;
    size_t count = (size_t)cJSON_GetArraySize(root);
    rl_status status = RL_OK;
    self->entries = rl_alloc_zero(count + 1, sizeof *self->entries, "header of a file");
    self->by_name = rl_alloc_zero(count + 1, sizeof *self->by_name, "header of a file");
    if (self->entries == NULL || self->by_name == NULL)
        return rl_error_status();
    cJSON_ArrayForEach(item, root) {
        status = strcmp(item->string, "__metadata__") == 0 ? parse_metadata(self, item) : parse_tensor(self, item);
        if (status != RL_OK)
            return status;
    }
    return check_together(self);
}

rl_status safetensors_parse(rl_safetensors *self, const char *header, size_t length) {
    const char *end = NULL;
    cJSON *root = cJSON_ParseWithLengthOpts(header, length, &end, 0);
    rl_status status;
    if (root == NULL)
        return bad(self, RL_BAD_FORMAT, NULL, "its header is no JSON (near byte %zu)",
                   (size_t)(end ? end - header : 0));
    while (end < header + length && strchr(" \t\r\n", *end) && *end)
        end++;
    if (end < header + length)
        status =
            bad(self, RL_BAD_FORMAT, NULL, "its header goes on after the JSON (at byte %zu)", (size_t)(end - header));
    else if (!cJSON_IsObject(root))
        status = bad(self, RL_BAD_FORMAT, NULL, "its header must be a JSON object");
    else
        status = parse_root(self, root);
    cJSON_Delete(root);
    size_t at = 0;
    const char *oddity = status == RL_OK ? find_oddity(header, length, &at) : NULL;
    return oddity ? bad(self, RL_BAD_FORMAT, NULL, "%s (at byte %zu)", oddity, at) : status;
}
