/* Fragments and index segments: lance.table.DataFragment, DataFile, DeletionFile, IndexMetadata.
 * Each is kept as the bytes it came as; a change replaces the one field that changes and leaves the
 * others as they stand, known or not. */
#include "lance/manifest.h"
#include "lance/wire.h"

#include <string.h>

enum { FRAGMENT_ID = 1, FRAGMENT_FILES = 2, FRAGMENT_DELETION = 3, FRAGMENT_ROWS = 4 };
enum { FRAGMENT_ROW_IDS = 5, FRAGMENT_ROW_IDS_OUTSIDE = 6, FRAGMENT_OVERLAYS = 11 };
enum { INDEX_BITMAP = 5 };

static bool numbers_to_ids(const WireNumbers *numbers, Arena *arena, int32_t **out, Err *err) {
    int32_t *ids = arena_array(arena, int32_t, numbers->len);
    for (size_t i = 0; i < numbers->len; i++) {
        int64_t id = (int64_t)numbers->items[i];
        if (id > INT32_MAX || id < INT32_MIN)
            return err_set(err, LH_CORRUPT, "a field id %lld is out of range", (long long)id);
        ids[i] = (int32_t)id;
    }
    *out = ids;
    return true;
}

static bool file_name_check(Str name, Err *err) {
    size_t at;
    if (name.len > 0 && name.len <= 255 && str_is_utf8(name) && name.data[0] != '/' &&
        !str_find(name, STR(".."), &at))
        return true;
    return err_set(err, LH_CORRUPT, "a data file is named '%.*s'", (int)MIN(name.len, 255),
                   name.data);
}

static bool data_file_read(Bytes message, Arena *arena, LanceDataFile *out, const char **why,
                           Err *err) {
    WireField field;
    WireNumbers fields = {0}, columns = {0};
    WireReader reader = wire_read(message);
    while (wire_next(&reader, &field)) {
        if (field.number == 1) out->path = wire_text(&field);
        if (field.number == 2 && !wire_numbers(&field, arena, &fields, err)) return false;
        if (field.number == 3 && !wire_numbers(&field, arena, &columns, err)) return false;
        if (field.number == 4) out->major = (uint32_t)field.value;
        if (field.number == 5) out->minor = (uint32_t)field.value;
        if (field.number == 6) out->size = field.value;
        if (field.number == 7) *why = "its files lie below another base path";
    }
    if (!wire_whole(&reader, "a data file's entry", err) || !file_name_check(out->path, err))
        return false;
    if (out->major != 2) *why = "its files are of a version before 2.0";
    if (out->major == 2 && fields.len != columns.len)
        return err_set(err, LH_CORRUPT, "a data file has %zu fields in %zu columns", fields.len,
                       columns.len);
    while (columns.len < fields.len) columns = fields; /* of an old file, which is not read */
    out->field_count = fields.len;
    return numbers_to_ids(&fields, arena, &out->fields, err) &&
           numbers_to_ids(&columns, arena, &out->columns, err);
}

static bool deletion_read(Bytes message, DeletionFile *out, const char **why, Err *err) {
    WireField field;
    uint64_t kind = 0;
    WireReader reader = wire_read(message);
    while (wire_next(&reader, &field)) {
        if (field.number == 1) kind = field.value;
        if (field.number == 2) out->read_version = field.value;
        if (field.number == 3) out->id = field.value;
        if (field.number == 4) out->rows = field.value;
        if (field.number == 7) *why = "its deletion file lies below another base path";
    }
    if (kind > DELETION_BITMAP) *why = "its deletion file is of an unknown kind";
    out->present = true;
    out->kind = (DeletionKind)kind;
    return wire_whole(&reader, "a deletion file's entry", err);
}

static bool fragment_check(const Fragment *fragment, Err *err) {
    if (fragment->physical_rows == 0)
        return err_set(err, LH_CORRUPT, "fragment %llu does not say how many rows it has",
                       (unsigned long long)fragment->id);
    if (fragment->id > UINT32_MAX || fragment->physical_rows > LANCE_FRAGMENT_ROWS_MAX)
        return err_set(err, LH_CORRUPT, "fragment %llu has %llu rows, at most %u are read",
                       (unsigned long long)fragment->id,
                       (unsigned long long)fragment->physical_rows, LANCE_FRAGMENT_ROWS_MAX);
    if (fragment->deletion.rows > fragment->physical_rows)
        return err_set(err, LH_CORRUPT, "fragment %llu has %llu rows, of which %llu are deleted",
                       (unsigned long long)fragment->id,
                       (unsigned long long)fragment->physical_rows,
                       (unsigned long long)fragment->deletion.rows);
    return true;
}

bool fragment_read(Bytes message, Arena *arena, Fragment *out, Err *err) {
    Fragment read = {.raw = message};
    WireField field;
    size_t files = 0;
    WireReader reader = wire_read(message);
    while (wire_next(&reader, &field)) files += field.number == FRAGMENT_FILES;
    if (!wire_whole(&reader, "a fragment", err)) return false;
    read.files = arena_array(arena, LanceDataFile, files);
    for (reader = wire_read(message); wire_next(&reader, &field);) {
        if (field.number == FRAGMENT_ID) read.id = field.value;
        if (field.number == FRAGMENT_FILES &&
            !data_file_read(field.bytes, arena, &read.files[read.file_count++], &read.unsupported,
                            err))
            return false;
        if (field.number == FRAGMENT_DELETION &&
            !deletion_read(field.bytes, &read.deletion, &read.unsupported, err))
            return false;
        if (field.number == FRAGMENT_ROWS) read.physical_rows = field.value;
        if (field.number == FRAGMENT_OVERLAYS) read.unsupported = "it has overlays";
    }
    if (!fragment_check(&read, err)) return false;
    *out = read;
    return true;
}

static void ids_encode(Text *out, uint32_t number, const int32_t *ids, size_t count, Arena *arena) {
    uint64_t *numbers = arena_array(arena, uint64_t, count);
    for (size_t i = 0; i < count; i++) numbers[i] = (uint64_t)(int64_t)ids[i];
    wire_put_packed(out, number, numbers, count);
}

static void data_file_encode(Text *out, const LanceDataFile *file, Arena *arena) {
    size_t begun = wire_begin(out, FRAGMENT_FILES);
    wire_put_text(out, 1, file->path);
    ids_encode(out, 2, file->fields, file->field_count, arena);
    ids_encode(out, 3, file->columns, file->field_count, arena);
    wire_put_nonzero(out, 4, file->major);
    wire_put_nonzero(out, 5, file->minor);
    wire_put_nonzero(out, 6, file->size);
    wire_end(out, begun);
}

static void deletion_encode(Text *out, const DeletionFile *deletion) {
    size_t begun = wire_begin(out, FRAGMENT_DELETION);
    wire_put_nonzero(out, 1, deletion->kind);
    wire_put_nonzero(out, 2, deletion->read_version);
    wire_put_nonzero(out, 3, deletion->id);
    wire_put_nonzero(out, 4, deletion->rows);
    wire_end(out, begun);
}

static Bytes text_keep(const Text *text, Arena *arena) {
    return bytes_of(arena_copy(arena, text_str(text)));
}

void fragment_encode(Fragment *fragment, Arena *arena) {
    OWNED(text_close) Text out = {0};
    wire_put_nonzero(&out, FRAGMENT_ID, fragment->id);
    for (size_t i = 0; i < fragment->file_count; i++)
        data_file_encode(&out, &fragment->files[i], arena);
    if (fragment->deletion.present) deletion_encode(&out, &fragment->deletion);
    wire_put_nonzero(&out, FRAGMENT_ROWS, fragment->physical_rows);
    fragment->raw = text_keep(&out, arena);
}

/* Every field of the message but one, in their order. */
static void copy_without(Text *out, Bytes message, uint32_t number) {
    WireField field;
    for (WireReader reader = wire_read(message); wire_next(&reader, &field);)
        if (field.number != number) text_add(out, str_of(field.raw));
}

void fragment_renumber(Fragment *fragment, uint64_t id, Arena *arena) {
    OWNED(text_close) Text out = {0};
    fragment->id = id;
    wire_put_nonzero(&out, FRAGMENT_ID, id);
    copy_without(&out, fragment->raw, FRAGMENT_ID);
    fragment->raw = text_keep(&out, arena);
}

void fragment_set_deletion(Fragment *fragment, const DeletionFile *deletion, Arena *arena) {
    OWNED(text_close) Text out = {0};
    fragment->deletion = *deletion;
    copy_without(&out, fragment->raw, FRAGMENT_DELETION);
    deletion_encode(&out, deletion);
    fragment->raw = text_keep(&out, arena);
}

bool fragment_same_files(const Fragment *a, const Fragment *b) {
    OWNED(text_close) Text left = {0};
    OWNED(text_close) Text right = {0};
    copy_without(&left, a->raw, FRAGMENT_DELETION);
    copy_without(&right, b->raw, FRAGMENT_DELETION);
    return str_equal(text_str(&left), text_str(&right));
}

/* Index segments. */

static void files_entry_read(Bytes message, IndexFileEntry *out) {
    WireField field;
    for (WireReader reader = wire_read(message); wire_next(&reader, &field);) {
        if (field.number == 1) out->path = wire_text(&field);
        if (field.number == 2) out->size = field.value;
    }
}

static bool index_uuid_read(Bytes message, LanceIndex *out, Err *err) {
    WireField uuid, bytes;
    if (!wire_find(message, 1, &uuid) || !wire_find(uuid.bytes, 1, &bytes) ||
        bytes.bytes.size != LANCE_UUID_BYTES)
        return err_set(err, LH_CORRUPT, "an index has no UUID of 16 bytes");
    memcpy(out->uuid, bytes.bytes.data, LANCE_UUID_BYTES);
    return true;
}

static bool index_field_read(const WireField *field, Arena *arena, LanceIndex *out,
                             WireNumbers *fields, Err *err) {
    WireField part;
    switch (field->number) {
    case 2:
        return wire_numbers(field, arena, fields, err);
    case 3:
        out->name = wire_text(field);
        return true;
    case 4:
        out->dataset_version = field->value;
        return true;
    case INDEX_BITMAP:
        out->fragment_bitmap = field->bytes;
        return true;
    case 6:
        if (wire_find(field->bytes, 1, &part)) out->details_url = wire_text(&part);
        if (wire_find(field->bytes, 2, &part)) out->details = part.bytes;
        return true;
    case 7:
        out->version = (int32_t)field->value;
        return true;
    case 8:
        out->created_ms = field->value;
        return true;
    case 10:
        files_entry_read(field->bytes, &out->files[out->file_count++]);
        return true;
    default:
        return true;
    }
}

bool index_read(Bytes message, Arena *arena, LanceIndex *out, Err *err) {
    LanceIndex read = {.raw = message};
    WireField field;
    WireNumbers fields = {0};
    size_t files = 0;
    WireReader reader = wire_read(message);
    while (wire_next(&reader, &field)) files += field.number == 10;
    if (!wire_whole(&reader, "an index's entry", err) || !index_uuid_read(message, &read, err))
        return false;
    read.files = arena_array(arena, IndexFileEntry, files);
    for (reader = wire_read(message); wire_next(&reader, &field);)
        if (!index_field_read(&field, arena, &read, &fields, err)) return false;
    read.field_count = fields.len;
    if (!numbers_to_ids(&fields, arena, &read.fields, err)) return false;
    *out = read;
    return true;
}

void index_encode(LanceIndex *index, Arena *arena) {
    OWNED(text_close) Text out = {0};
    size_t begun = wire_begin(&out, 1);
    wire_put_bytes(&out, 1, (Bytes){index->uuid, LANCE_UUID_BYTES});
    wire_end(&out, begun);
    ids_encode(&out, 2, index->fields, index->field_count, arena);
    wire_put_text(&out, 3, index->name);
    wire_put_nonzero(&out, 4, index->dataset_version);
    wire_put_bytes(&out, INDEX_BITMAP, index->fragment_bitmap);
    wire_put_any(&out, 6, index->details_url, index->details);
    wire_put(&out, 7, (uint64_t)(int64_t)index->version);
    wire_put(&out, 8, index->created_ms);
    for (size_t i = 0; i < index->file_count; i++) {
        size_t file = wire_begin(&out, 10);
        wire_put_text(&out, 1, index->files[i].path);
        wire_put_nonzero(&out, 2, index->files[i].size);
        wire_end(&out, file);
    }
    index->raw = text_keep(&out, arena);
}

void index_set_bitmap(LanceIndex *index, Bytes ids, Arena *arena) {
    OWNED(text_close) Text out = {0};
    copy_without(&out, index->raw, INDEX_BITMAP);
    wire_put_bytes(&out, INDEX_BITMAP, ids);
    index->fragment_bitmap = ids;
    index->raw = text_keep(&out, arena);
}
