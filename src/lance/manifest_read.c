/* Reading a manifest file (manifest.h draws it). */
#include "lance/manifest.h"
#include "lance/page.h"
#include "lance/wire.h"

#include <stdlib.h>
#include <string.h>

#define TRAILER_SIZE 16
#define ENTRY_BYTES_MIN 2 /* of a field or a fragment: bounds what they take in memory */

enum {
    M_FIELDS = 1,
    M_FRAGMENTS = 2,
    M_VERSION = 3,
    M_METADATA = 5,
    M_INDEX_SECTION = 6,
    M_TIMESTAMP = 7,
    M_READER_FLAGS = 9,
    M_WRITER_FLAGS = 10,
    M_FRAGMENT_ID_MAX = 11,
    M_TRANSACTION_FILE = 12,
    M_WRITER = 13,
    M_DATA_FORMAT = 15,
    M_BASE_PATHS = 18,
    M_BRANCH = 20,
    M_TRANSACTION_SECTION = 21,
};

static bool trailer_read(Bytes file, Bytes *message, Err *err) {
    uint64_t position;
    uint32_t length;
    uint16_t major, minor;
    if (file.size < TRAILER_SIZE || memcmp(file.data + file.size - 4, "LANC", 4) != 0)
        return err_set(err, LH_CORRUPT, "the file does not end as a manifest does");
    const uint8_t *trailer = file.data + file.size - TRAILER_SIZE;
    memcpy(&position, trailer, 8);
    memcpy(&major, trailer + 8, 2);
    memcpy(&minor, trailer + 10, 2);
    if (major != 0 || minor != 2)
        return lance_unsupported(err, "manifests of version %u.%u are not read here", major, minor);
    if (position > file.size - TRAILER_SIZE || file.size - TRAILER_SIZE - position < 4)
        return err_set(err, LH_CORRUPT, "the manifest's position is beyond its file");
    memcpy(&length, file.data + position, 4);
    if (length != file.size - TRAILER_SIZE - position - 4)
        return err_set(err, LH_CORRUPT, "the manifest's length is not that of its file");
    *message = (Bytes){file.data + position + 4, length};
    return true;
}

/* A [u32 length | message] somewhere before the manifest. */
static bool section_read(Bytes file, uint64_t position, Bytes *out, Err *err) {
    uint32_t length;
    if (position > file.size || file.size - position < 4)
        return err_set(err, LH_CORRUPT, "a section of the manifest begins beyond its file");
    memcpy(&length, file.data + position, 4);
    if (length > file.size - position - 4)
        return err_set(err, LH_CORRUPT, "a section of the manifest ends beyond its file");
    *out = (Bytes){file.data + position + 4, length};
    return true;
}

typedef struct Reading {
    Bytes file;
    Arena *arena;
    Manifest *manifest;
    Text schema_raw, schema_metadata, rest;
    bool has_indexes, has_transaction;
    uint64_t index_section, transaction_section;
} Reading;

static bool schema_field_read(Reading *reading, const WireField *field, Err *err) {
    Manifest *manifest = reading->manifest;
    LanceField *place = &manifest->schema.fields[manifest->schema.len];
    int32_t parent;
    if (!field_read(field->bytes, place, &parent, err)) return false;
    text_add(&reading->schema_raw, str_of(field->raw));
    manifest->field_id_max = MAX(manifest->field_id_max, place->id);
    if (parent < 0) manifest->schema.len++;
    return true;
}

static int64_t timestamp_ms(Bytes message) {
    WireField seconds = {0}, nanos = {0};
    wire_find(message, 1, &seconds);
    wire_find(message, 2, &nanos);
    uint64_t most = INT64_MAX / 1000 - 1;
    return (int64_t)MIN(seconds.value, most) * 1000 + (int64_t)(nanos.value % 1000000000 / 1000000);
}

static bool data_format_read(Bytes message, Manifest *out, Err *err) {
    WireField field = {0};
    wire_find(message, 2, &field);
    Str version = wire_text(&field);
    if (version.len == 0 || version.len >= sizeof out->file_version)
        return lance_unsupported(err, "data files of version '%.*s' are not known here",
                                 (int)MIN(version.len, 32), version.data);
    memcpy(out->file_version, version.data, version.len);
    out->file_version[version.len] = 0;
    return true;
}

static bool known_field_read(Reading *reading, const WireField *field, Err *err) {
    Manifest *manifest = reading->manifest;
    switch (field->number) {
    case M_FIELDS:
        return schema_field_read(reading, field, err);
    case M_FRAGMENTS:
        return fragment_read(field->bytes, reading->arena,
                             &manifest->fragments[manifest->fragment_count++], err);
    case M_VERSION:
        manifest->version = field->value;
        return true;
    case M_METADATA:
        text_add(&reading->schema_metadata, str_of(field->raw));
        return true;
    case M_INDEX_SECTION:
        reading->has_indexes = true;
        reading->index_section = field->value;
        return true;
    case M_TIMESTAMP:
        manifest->committed_ms = timestamp_ms(field->bytes);
        return true;
    case M_READER_FLAGS:
        manifest->reader_flags = field->value;
        return true;
    case M_WRITER_FLAGS:
        manifest->writer_flags = field->value;
        return true;
    case M_FRAGMENT_ID_MAX:
        manifest->has_fragment_id = true;
        manifest->fragment_id_max = (uint32_t)field->value;
        return true;
    case M_TRANSACTION_FILE:
        manifest->transaction_file = wire_text(field);
        return true;
    case M_WRITER:
        return true; /* the next writer says its own name */
    case M_DATA_FORMAT:
        return data_format_read(field->bytes, manifest, err);
    case M_TRANSACTION_SECTION:
        reading->has_transaction = true;
        reading->transaction_section = field->value;
        return true;
    case M_BASE_PATHS:
        manifest->has_base_paths = true;
        break;
    case M_BRANCH:
        manifest->branch = wire_text(field);
        break;
    default:
        break;
    }
    text_add(&reading->rest, str_of(field->raw));
    return true;
}

static bool indexes_read(Reading *reading, Err *err) {
    Manifest *manifest = reading->manifest;
    Bytes section;
    WireField field;
    size_t count = 0;
    if (!reading->has_indexes) return true;
    if (!section_read(reading->file, reading->index_section, &section, err)) return false;
    WireReader reader = wire_read(section);
    while (wire_next(&reader, &field)) count += field.number == 1;
    if (!wire_whole(&reader, "the index section", err)) return false;
    if (count > section.size / LANCE_UUID_BYTES)
        return err_set(err, LH_CORRUPT, "the index section has entries without a UUID");
    manifest->indexes = arena_array(reading->arena, LanceIndex, count);
    for (reader = wire_read(section); wire_next(&reader, &field);)
        if (field.number == 1 && !index_read(field.bytes, reading->arena,
                                             &manifest->indexes[manifest->index_count++], err))
            return false;
    return true;
}

static int by_id(const void *a, const void *b) {
    uint64_t left = ((const Fragment *)a)->id, right = ((const Fragment *)b)->id;
    return left < right ? -1 : left > right;
}

/* In order of id, whatever order they came in: that is how they are found. */
static bool fragments_sort(Manifest *manifest, Err *err) {
    Fragment *fragments = manifest->fragments;
    size_t count = manifest->fragment_count;
    if (count == 0) return true;
    qsort(fragments, count, sizeof *fragments, by_id);
    for (size_t i = 1; i < count; i++)
        if (fragments[i].id == fragments[i - 1].id)
            return err_set(err, LH_CORRUPT, "the manifest names fragment %llu twice",
                           (unsigned long long)fragments[i].id);
    uint64_t last = fragments[count - 1].id;
    manifest->fragment_id_max = MAX(manifest->fragment_id_max, (uint32_t)last);
    manifest->has_fragment_id = true;
    return true;
}

static bool message_read(Reading *reading, Bytes message, Err *err) {
    Manifest *manifest = reading->manifest;
    WireField field;
    size_t fields = 0, fragments = 0;
    WireReader reader = wire_read(message);
    while (wire_next(&reader, &field)) {
        if (field.number != M_FIELDS && field.number != M_FRAGMENTS) continue;
        if (field.bytes.size < ENTRY_BYTES_MIN)
            return err_set(err, LH_CORRUPT, "the manifest has an empty field or fragment");
        *(field.number == M_FIELDS ? &fields : &fragments) += 1;
    }
    if (!wire_whole(&reader, "the manifest", err)) return false;
    /* One more, for the field that turns out to lie below another. */
    manifest->schema.fields = arena_array(reading->arena, LanceField, fields + 1);
    manifest->fragments = arena_array(reading->arena, Fragment, fragments);
    for (reader = wire_read(message); wire_next(&reader, &field);)
        if (!known_field_read(reading, &field, err)) return false;
    if (reading->has_transaction &&
        !section_read(reading->file, reading->transaction_section, &manifest->transaction, err))
        return false;
    return indexes_read(reading, err) && fragments_sort(manifest, err);
}

static Bytes text_keep(const Text *text, Arena *arena) {
    return bytes_of(arena_copy(arena, text_str(text)));
}

bool lance_manifest_read(Bytes file, Arena *arena, Manifest *out, Err *err) {
    Manifest manifest = {.field_id_max = -1};
    Reading reading = {.arena = arena, .manifest = &manifest};
    Bytes message = {0};
    reading.file = bytes_of(arena_copy(arena, str_of(file)));
    bool ok = trailer_read(reading.file, &message, err) && message_read(&reading, message, err);
    if (ok) {
        manifest.schema_raw = text_keep(&reading.schema_raw, arena);
        manifest.schema_metadata = text_keep(&reading.schema_metadata, arena);
        manifest.rest = text_keep(&reading.rest, arena);
        *out = manifest;
    }
    text_close(&reading.schema_raw);
    text_close(&reading.schema_metadata);
    text_close(&reading.rest);
    return ok;
}
