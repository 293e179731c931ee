/* Manifests by anybody: one switch on field ids fills the entry that is being read. What we cannot
 * apply is refused by name and never ignored, for rows would come back that were deleted. */
#include "catalog/avro.h"
#include "catalog/manifest.h"

#include "base/base.h"

#include <string.h>

/* A growing array in an arena; the old copies are the arena's to free. */
static void *grown(Arena *arena, const void *items, size_t len, size_t *cap, size_t size) {
    if (len < *cap) return (void *)items;
    *cap = MAX(*cap * 2, (size_t)16);
    void *copy = arena_alloc(arena, *cap * size);
    if (len) memcpy(copy, items, len * size);
    return copy;
}

/* Manifests. */

typedef struct EntryReader {
    const ManifestFile *row;
    bool bounds;
    Arena *arena;
    ManifestEntry *entries;
    size_t len, cap;
    ManifestEntry now;
    bool has_sequence, has_file_sequence, has_path;
    size_t column_cap, column_at;
    int32_t key; /* of the map item that is being read */
} EntryReader;

static void entry_clear(EntryReader *reader) {
    reader->now = (ManifestEntry){
        .status = ENTRY_EXISTING, .snapshot_id = reader->row->snapshot_id, .rows = -1, .bytes = -1};
    reader->has_sequence = reader->has_file_sequence = reader->has_path = false;
    reader->column_cap = reader->column_at = 0;
}

/* The maps of a file name the same columns in the same order, so that the next is nearly always
 * the one behind the last. */
static ManifestColumn *column_of(EntryReader *reader, int32_t id) {
    ManifestEntry *now = &reader->now;
    for (size_t tried = 0; tried < now->column_count; tried++) {
        size_t at = (reader->column_at + tried) % now->column_count;
        if (now->columns[at].id != id) continue;
        reader->column_at = at + 1;
        return &now->columns[at];
    }
    now->columns = grown(reader->arena, now->columns, now->column_count, &reader->column_cap,
                         sizeof *now->columns);
    now->columns[now->column_count] =
        (ManifestColumn){.id = id, .size = -1, .values = -1, .nulls = -1, .nans = -1};
    reader->column_at = now->column_count + 1;
    return &now->columns[now->column_count++];
}

static void column_value(EntryReader *reader, int32_t id, const AvroValue *value) {
    ManifestColumn *column = column_of(reader, reader->key);
    switch (id) {
    case 118:
        column->size = value->integer;
        break;
    case 120:
        column->values = value->integer;
        break;
    case 122:
        column->nulls = value->integer;
        break;
    case 139:
        column->nans = value->integer;
        break;
    case 127:
        if (reader->bounds) column->lower = arena_copy(reader->arena, value->bytes);
        column->has_lower = reader->bounds;
        break;
    default:
        if (reader->bounds) column->upper = arena_copy(reader->arena, value->bytes);
        column->has_upper = reader->bounds;
    }
}

static bool refuse_what_we_cannot(int32_t id, const AvroValue *value, Err *err) {
    if (id == 134 && value->integer != 0)
        return err_code(err, LH_IMPOSSIBLE, "delete_files",
                        "the table has %s delete files, which are not applied here: compact it "
                        "with the engine that wrote them",
                        value->integer == 1 ? "position" : "equality");
    if (id == 101 && !str_equal_nocase(value->bytes, STR("PARQUET")))
        return err_code(err, LH_IMPOSSIBLE, "file_format",
                        "the table has a data file of format '%.*s'; Parquet is read",
                        (int)MIN(value->bytes.len, (size_t)40), value->bytes.data);
    if (id == 131)
        return err_code(err, LH_IMPOSSIBLE, "encrypted_file",
                        "the table has encrypted data files, which are not read here");
    return true;
}

static bool entry_value(void *context, int32_t id, const AvroValue *value, Err *err) {
    EntryReader *reader = context;
    ManifestEntry *now = &reader->now;
    if (value->null) return true;
    switch (id) {
    case 0:
        if (value->integer < ENTRY_EXISTING || value->integer > ENTRY_DELETED)
            return err_set(err, LH_CORRUPT, "a manifest entry has status %lld",
                           (long long)value->integer);
        now->status = (EntryStatus)value->integer;
        break;
    case 1:
        now->snapshot_id = value->integer;
        break;
    case 3:
        now->sequence = value->integer;
        reader->has_sequence = true;
        break;
    case 4:
        now->file_sequence = value->integer;
        reader->has_file_sequence = true;
        break;
    case 100:
        now->path = arena_copy(reader->arena, value->bytes);
        reader->has_path = now->path.len > 0;
        break;
    case 103:
        now->rows = value->integer;
        break;
    case 104:
        now->bytes = value->integer;
        break;
    case 101:
    case 131:
    case 134:
        return refuse_what_we_cannot(id, value, err);
    case 117:
    case 119:
    case 121:
    case 126:
    case 129:
    case 138:
        reader->key = (int32_t)value->integer;
        break;
    case 118:
    case 120:
    case 122:
    case 127:
    case 130:
    case 139:
        column_value(reader, id, value);
    }
    return true;
}

static bool entry_end(void *context, Err *err) {
    EntryReader *reader = context;
    ManifestEntry *now = &reader->now;
    if (!reader->has_path || now->rows < 0 || now->bytes < 0)
        return err_set(err, LH_CORRUPT, "a manifest entry lacks its path, row count or size");
    if (reader->len == MANIFEST_ENTRIES_MAX)
        return err_set(err, LH_TOO_BIG, "a manifest has more than %d entries",
                       MANIFEST_ENTRIES_MAX);
    if (!reader->has_sequence) now->sequence = reader->row->sequence;
    if (!reader->has_file_sequence) now->file_sequence = now->sequence;
    reader->entries =
        grown(reader->arena, reader->entries, reader->len, &reader->cap, sizeof *reader->entries);
    reader->entries[reader->len++] = *now;
    entry_clear(reader);
    return true;
}

bool manifest_read(Bytes file, const ManifestFile *row, bool bounds, Arena *arena,
                   ManifestEntry **entries, size_t *count, Err *err) {
    EntryReader reader = {.row = row, .bounds = bounds, .arena = arena};
    AvroVisitor visitor = {&reader, entry_value, entry_end};
    entry_clear(&reader);
    if (!avro_read(file, &visitor, err)) return false;
    *entries = reader.entries;
    *count = reader.len;
    return true;
}

/* Manifest lists. */

/* Version 1 may leave the counts out: then there may be files, and the manifest has to be read. */
static const ManifestFile unknown_row = {.added = 1, .existing = 1};

typedef struct ListReader {
    Arena *arena;
    ManifestFile *rows;
    size_t len, cap;
    ManifestFile now;
} ListReader;

static bool list_value(void *context, int32_t id, const AvroValue *value, Err *err) {
    ListReader *reader = context;
    ManifestFile *now = &reader->now;
    (void)err;
    if (value->null) return true;
    switch (id) {
    case 500:
        now->path = arena_copy(reader->arena, value->bytes);
        break;
    case 501:
        now->length = value->integer;
        break;
    case 502:
        now->spec_id = (int32_t)value->integer;
        break;
    case 503:
        now->snapshot_id = value->integer;
        break;
    case 504:
        now->added = value->integer;
        break;
    case 505:
        now->existing = value->integer;
        break;
    case 506:
        now->deleted = value->integer;
        break;
    case 512:
        now->added_rows = value->integer;
        break;
    case 513:
        now->existing_rows = value->integer;
        break;
    case 514:
        now->deleted_rows = value->integer;
        break;
    case 515:
        now->sequence = value->integer;
        break;
    case 516:
        now->min_sequence = value->integer;
        break;
    case 517:
        now->content = (int32_t)value->integer;
    }
    return true;
}

static bool list_end(void *context, Err *err) {
    ListReader *reader = context;
    if (reader->now.path.len == 0)
        return err_set(err, LH_CORRUPT, "a manifest list has a row without a path");
    if (reader->len == MANIFEST_LIST_MAX)
        return err_set(err, LH_TOO_BIG, "a manifest list has more than %d rows", MANIFEST_LIST_MAX);
    reader->rows =
        grown(reader->arena, reader->rows, reader->len, &reader->cap, sizeof *reader->rows);
    reader->rows[reader->len++] = reader->now;
    reader->now = unknown_row;
    return true;
}

bool manifest_list_read(Bytes file, Arena *arena, ManifestFile **rows, size_t *count, Err *err) {
    ListReader reader = {.arena = arena, .now = unknown_row};
    AvroVisitor visitor = {&reader, list_value, list_end};
    if (!avro_read(file, &visitor, err)) return false;
    *rows = reader.rows;
    *count = reader.len;
    return true;
}
