/* The two Avro schemas, and rows encoded in their order. */
#include "catalog/avro.h"
#include "catalog/manifest.h"

#include "base/base.h"

#include <stdio.h>

/* The macros below read as the tables of the spec. */
/* clang-format off */
#define REQUIRED_FIELD(id, name, type)                                                             \
    "{\"name\":\"" name "\",\"type\":\"" type "\",\"field-id\":" #id "}"
#define OPTIONAL_FIELD(id, name, type)                                                             \
    "{\"name\":\"" name "\",\"type\":[\"null\"," type "],\"default\":null,\"field-id\":" #id "}"
/* A map with integer keys is an array of key and value records. */
#define MAP_FIELD(id, name, key, value, type)                                                      \
    OPTIONAL_FIELD(id, name,                                                                       \
                   "{\"type\":\"array\",\"logicalType\":\"map\",\"items\":{\"type\":\"record\","   \
                   "\"name\":\"k" #key "_v" #value "\",\"fields\":["                               \
                   REQUIRED_FIELD(key, "key", "int") "," REQUIRED_FIELD(value, "value", type) "]}}")

static const char entry_schema[] =
    "{\"type\":\"record\",\"name\":\"manifest_entry\",\"fields\":["
    REQUIRED_FIELD(0, "status", "int") ","
    OPTIONAL_FIELD(1, "snapshot_id", "\"long\"") ","
    OPTIONAL_FIELD(3, "sequence_number", "\"long\"") ","
    OPTIONAL_FIELD(4, "file_sequence_number", "\"long\"") ","
    "{\"name\":\"data_file\",\"field-id\":2,"
    "\"type\":{\"type\":\"record\",\"name\":\"r2\",\"fields\":["
    REQUIRED_FIELD(134, "content", "int") ","
    REQUIRED_FIELD(100, "file_path", "string") ","
    REQUIRED_FIELD(101, "file_format", "string") ","
    "{\"name\":\"partition\",\"field-id\":102,"
    "\"type\":{\"type\":\"record\",\"name\":\"r102\",\"fields\":[]}},"
    REQUIRED_FIELD(103, "record_count", "long") ","
    REQUIRED_FIELD(104, "file_size_in_bytes", "long") ","
    MAP_FIELD(108, "column_sizes", 117, 118, "long") ","
    MAP_FIELD(109, "value_counts", 119, 120, "long") ","
    MAP_FIELD(110, "null_value_counts", 121, 122, "long") ","
    MAP_FIELD(137, "nan_value_counts", 138, 139, "long") ","
    MAP_FIELD(125, "lower_bounds", 126, 127, "bytes") ","
    MAP_FIELD(128, "upper_bounds", 129, 130, "bytes") ","
    OPTIONAL_FIELD(131, "key_metadata", "\"bytes\"") ","
    OPTIONAL_FIELD(132, "split_offsets",
                   "{\"type\":\"array\",\"items\":\"long\",\"element-id\":133}") ","
    OPTIONAL_FIELD(135, "equality_ids",
                   "{\"type\":\"array\",\"items\":\"int\",\"element-id\":136}") ","
    OPTIONAL_FIELD(140, "sort_order_id", "\"int\"")
    "]}}]}";

static const char list_schema[] =
    "{\"type\":\"record\",\"name\":\"manifest_file\",\"fields\":["
    REQUIRED_FIELD(500, "manifest_path", "string") ","
    REQUIRED_FIELD(501, "manifest_length", "long") ","
    REQUIRED_FIELD(502, "partition_spec_id", "int") ","
    REQUIRED_FIELD(517, "content", "int") ","
    REQUIRED_FIELD(515, "sequence_number", "long") ","
    REQUIRED_FIELD(516, "min_sequence_number", "long") ","
    REQUIRED_FIELD(503, "added_snapshot_id", "long") ","
    REQUIRED_FIELD(504, "added_files_count", "int") ","
    REQUIRED_FIELD(505, "existing_files_count", "int") ","
    REQUIRED_FIELD(506, "deleted_files_count", "int") ","
    REQUIRED_FIELD(512, "added_rows_count", "long") ","
    REQUIRED_FIELD(513, "existing_rows_count", "long") ","
    REQUIRED_FIELD(514, "deleted_rows_count", "long") ","
    OPTIONAL_FIELD(507, "partitions",
                   "{\"type\":\"array\",\"element-id\":508,"
                   "\"items\":{\"type\":\"record\",\"name\":\"r508\",\"fields\":["
                   REQUIRED_FIELD(509, "contains_null", "boolean") ","
                   OPTIONAL_FIELD(518, "contains_nan", "\"boolean\"") ","
                   OPTIONAL_FIELD(510, "lower_bound", "\"bytes\"") ","
                   OPTIONAL_FIELD(511, "upper_bound", "\"bytes\"") "]}}") ","
    OPTIONAL_FIELD(519, "key_metadata", "\"bytes\"")
    "]}";
/* clang-format on */

/* The maps of an entry, each from one member of its columns. */

typedef enum Count { COUNT_SIZE, COUNT_VALUES, COUNT_NULLS, COUNT_NANS, COUNT_KINDS } Count;

static int64_t count_of(const ManifestColumn *column, Count which) {
    switch (which) {
    case COUNT_SIZE:
        return column->size;
    case COUNT_VALUES:
        return column->values;
    case COUNT_NULLS:
        return column->nulls;
    default:
        return column->nans;
    }
}

static void counts_add(Text *out, const ManifestEntry *entry, Count which) {
    int64_t known = 0;
    for (size_t i = 0; i < entry->column_count; i++)
        known += count_of(&entry->columns[i], which) >= 0;
    if (known == 0) {
        avro_null(out);
        return;
    }
    avro_some(out);
    avro_long(out, known);
    for (size_t i = 0; i < entry->column_count; i++) {
        int64_t count = count_of(&entry->columns[i], which);
        if (count < 0) continue;
        avro_long(out, entry->columns[i].id);
        avro_long(out, count);
    }
    avro_long(out, 0);
}

static void bounds_add(Text *out, const ManifestEntry *entry, bool upper) {
    int64_t known = 0;
    for (size_t i = 0; i < entry->column_count; i++)
        known += upper ? entry->columns[i].has_upper : entry->columns[i].has_lower;
    if (known == 0) {
        avro_null(out);
        return;
    }
    avro_some(out);
    avro_long(out, known);
    for (size_t i = 0; i < entry->column_count; i++) {
        const ManifestColumn *column = &entry->columns[i];
        if (!(upper ? column->has_upper : column->has_lower)) continue;
        avro_long(out, column->id);
        avro_bytes(out, upper ? column->upper : column->lower);
    }
    avro_long(out, 0);
}

static void optional_long(Text *out, bool known, int64_t value) {
    if (!known) {
        avro_null(out);
        return;
    }
    avro_some(out);
    avro_long(out, value);
}

/* An added file takes its sequence numbers from its manifest, which takes them from the commit:
 * so the same manifest serves when the commit has to be tried again. */
static void entry_add(Text *out, const ManifestEntry *entry, const ManifestTarget *target) {
    bool added = entry->status == ENTRY_ADDED;
    avro_long(out, entry->status);
    optional_long(out, true, added ? target->snapshot_id : entry->snapshot_id);
    optional_long(out, !added, entry->sequence);
    optional_long(out, !added, entry->file_sequence);
    avro_long(out, 0); /* content: data */
    avro_bytes(out, entry->path);
    avro_bytes(out, STR("PARQUET"));
    avro_long(out, entry->rows);
    avro_long(out, entry->bytes);
    for (Count which = 0; which < COUNT_KINDS; which++) counts_add(out, entry, which);
    bounds_add(out, entry, false);
    bounds_add(out, entry, true);
    for (int i = 0; i < 4; i++) avro_null(out); /* key_metadata .. sort_order_id */
}

static void row_count(ManifestFile *row, const ManifestEntry *entry) {
    switch (entry->status) {
    case ENTRY_ADDED:
        row->added++;
        row->added_rows += entry->rows;
        return;
    case ENTRY_EXISTING:
        row->existing++;
        row->existing_rows += entry->rows;
        row->min_sequence = MIN(row->min_sequence, entry->sequence);
        return;
    case ENTRY_DELETED:
        row->deleted++;
        row->deleted_rows += entry->rows;
    }
}

void manifest_write(const ManifestTarget *target, const ManifestEntry *entries, size_t count,
                    Text *file, ManifestFile *row) {
    OWNED(avro_writer_close) AvroWriter writer;
    OWNED(text_close) Text schema = {0};
    char schema_id[16];
    schema_write_json(target->schema, &(JsonWriter){.out = &schema});
    snprintf(schema_id, sizeof schema_id, "%d", target->schema->id);
    AvroMeta meta[] = {
        {"schema",            text_str(&schema)  },
        {"schema-id",         str_from(schema_id)},
        {"partition-spec",    STR("[]")          },
        {"partition-spec-id", STR("0")           },
        {"format-version",    STR("2")           },
        {"content",           STR("data")        }
    };
    avro_begin(&writer, str_from(entry_schema), meta, COUNT(meta));
    *row = (ManifestFile){.snapshot_id = target->snapshot_id,
                          .sequence = target->sequence,
                          .min_sequence = target->sequence};
    for (size_t i = 0; i < count; i++) {
        entry_add(&writer.block, &entries[i], target);
        avro_row_end(&writer);
        row_count(row, &entries[i]);
    }
    avro_finish(&writer);
    row->length = (int64_t)writer.out.len;
    text_add(file, text_str(&writer.out));
}

static void list_row_add(Text *out, const ManifestFile *row) {
    avro_bytes(out, row->path);
    avro_long(out, row->length);
    avro_long(out, row->spec_id);
    avro_long(out, row->content);
    avro_long(out, row->sequence);
    avro_long(out, row->min_sequence);
    avro_long(out, row->snapshot_id);
    avro_long(out, row->added);
    avro_long(out, row->existing);
    avro_long(out, row->deleted);
    avro_long(out, row->added_rows);
    avro_long(out, row->existing_rows);
    avro_long(out, row->deleted_rows);
    avro_null(out); /* partitions: none */
    avro_null(out); /* key_metadata */
}

void manifest_list_write(int64_t snapshot_id, int64_t parent_id, int64_t sequence,
                         const ManifestFile *rows, size_t count, Text *file) {
    OWNED(avro_writer_close) AvroWriter writer;
    char own[24], parent[24] = "null", number[24];
    snprintf(own, sizeof own, "%lld", (long long)snapshot_id);
    if (parent_id >= 0) snprintf(parent, sizeof parent, "%lld", (long long)parent_id);
    snprintf(number, sizeof number, "%lld", (long long)sequence);
    AvroMeta meta[] = {
        {"snapshot-id",        str_from(own)   },
        {"parent-snapshot-id", str_from(parent)},
        {"sequence-number",    str_from(number)},
        {"format-version",     STR("2")        }
    };
    avro_begin(&writer, str_from(list_schema), meta, COUNT(meta));
    for (size_t i = 0; i < count; i++) {
        list_row_add(&writer.block, &rows[i]);
        avro_row_end(&writer);
    }
    avro_finish(&writer);
    text_add(file, text_str(&writer.out));
}
