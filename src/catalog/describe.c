/* What the catalog answers over HTTP (API.md, "Catalog"). PII verdicts, tags and descriptions are
 * JSON in table properties; another engine may have edited them, so that what does not parse is
 * left out. */
#include "catalog/catalog.h"

#include "base/base.h"
#include "catalog/entry.h"

static const Json *property_json(const Table *table, const char *name, JsonKind kind,
                                 Arena *arena) {
    const Json *json;
    Err ignored = {0};
    Str text = table_property(table, name);
    if (text.len == 0 || !json_read(text, arena, &json, &ignored)) return NULL;
    return json->kind == kind ? json : NULL;
}

typedef struct Notes { /* of a table's columns */
    const Json *found, *set, *docs;
} Notes;

static Notes notes_read(const Table *table, Arena *arena) {
    return (Notes){property_json(table, PROPERTY_PII, JSON_OBJECT, arena),
                   property_json(table, PROPERTY_PII_SET, JSON_OBJECT, arena),
                   property_json(table, PROPERTY_COLUMN_DOCS, JSON_OBJECT, arena)};
}

static const Json *member(const Json *object, Str name) {
    for (size_t i = 0; object && i < object->len; i++)
        if (str_equal(object->items[i].name, name)) return &object->items[i];
    return NULL;
}

/* A person's word wins over detection, also when it says that there is none. */
static const Json *pii_of(const Notes *notes, Str column) {
    const Json *verdict = member(notes->set, column);
    if (!verdict) verdict = member(notes->found, column);
    Str kind = json_get_text(verdict, "kind", (Str){0});
    return kind.len == 0 || str_is(kind, "none") ? NULL : verdict;
}

Str table_column_pii(const Table *table, Str column, Arena *arena) {
    Notes notes = notes_read(table, arena);
    return json_get_text(pii_of(&notes, column), "kind", (Str){0});
}

static bool is_sensitive(const Notes *notes, const Schema *schema) {
    for (size_t i = 0; i < schema->len; i++)
        if (pii_of(notes, schema->fields[i].name)) return true;
    return false;
}

static void owner_write(const Table *table, JsonWriter *w) {
    Str owner = table_property(table, PROPERTY_OWNER);
    jw_name(w, "owner");
    if (owner.len)
        jw_text(w, owner);
    else
        jw_null(w);
}

static void tags_write(const Table *table, Arena *arena, JsonWriter *w) {
    const Json *tags = property_json(table, PROPERTY_TAGS, JSON_ARRAY, arena);
    jw_name(w, "tags"), jw_array(w);
    for (size_t i = 0; tags && i < tags->len; i++)
        if (tags->items[i].kind == JSON_TEXT) jw_text(w, tags->items[i].text);
    jw_end(w);
}

/* The members that the list and the single answer share. */
static void head_write(const Table *table, const Notes *notes, Arena *arena, JsonWriter *w) {
    const Metadata *metadata = &table->document->metadata;
    int64_t created_ms =
        metadata->snapshot_log_len ? metadata->snapshot_log[0].at_ms : metadata->last_updated_ms;
    jw_member_text(w, "name", table_name(table));
    jw_member_text(w, "bucket", table_bucket(table));
    jw_member_int(w, "version", table_version(table));
    jw_member_int(w, "rows", table_rows(table));
    jw_member_int(w, "bytes", table_bytes(table));
    jw_member_int(w, "files", MAX(snapshot_total(table->snapshot, "total-data-files"), 0));
    jw_member_int(w, "columns", (int64_t)table_schema(table)->len);
    jw_member_time(w, "created_at", created_ms);
    jw_member_time(w, "updated_at", metadata->last_updated_ms);
    owner_write(table, w);
    jw_member_text(w, "description", table_property(table, PROPERTY_DESCRIPTION));
    tags_write(table, arena, w);
    jw_member_flag(w, "sensitive", is_sensitive(notes, table_schema(table)));
}

bool catalog_write_list(Catalog *catalog, JsonWriter *w, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    Str *names;
    size_t count;
    if (!catalog_names(catalog, &arena, &names, &count, err)) return false;
    jw_array(w);
    for (size_t i = 0; i < count; i++) {
        OWNED(table_release) Table *table = NULL;
        Err why = {0};
        if (!catalog_load(catalog, names[i], 0, &table, &why)) {
            if (why.kind == LH_MISSING) continue; /* dropped since */
            jw_object(w);
            jw_member_text(w, "name", names[i]);
            jw_member_text(w, "error", str_from(why.message));
            jw_end(w);
            continue;
        }
        Notes notes = notes_read(table, &arena);
        jw_object(w);
        head_write(table, &notes, &arena, w);
        jw_end(w);
    }
    jw_end(w);
    return true;
}

/* One dataset. */

static void pii_write(const Json *verdict, JsonWriter *w) {
    if (!verdict) {
        jw_null(w);
        return;
    }
    const Json *confidence = json_get(verdict, "confidence");
    jw_object(w);
    jw_member_text(w, "kind", json_get_text(verdict, "kind", (Str){0}));
    jw_name(w, "confidence");
    if (confidence)
        jw_json(w, confidence);
    else
        jw_real(w, 1); /* a person said so */
    jw_end(w);
}

static void column_write(const Field *field, const Notes *notes, Arena *arena, JsonWriter *w) {
    const Json *doc = member(notes->docs, field->name);
    Str text = doc && doc->kind == JSON_TEXT ? doc->text : field->doc;
    jw_object(w);
    jw_member_text(w, "name", field->name);
    jw_member_text(w, "type", type_sql(&field->type, arena));
    jw_member_flag(w, "nullable", !field->required);
    jw_name(w, "pii"), pii_write(pii_of(notes, field->name), w);
    jw_name(w, "description");
    if (text.len)
        jw_text(w, text);
    else
        jw_null(w);
    jw_end(w);
}

/* The snapshot of a version, or NULL when it has expired; *again says that an earlier version is
 * the same one: this is a rollback. */
static const Snapshot *version_snapshot(const Metadata *metadata, size_t version, bool *again) {
    int64_t id = metadata->snapshot_log[version - 1].snapshot_id;
    *again = false;
    for (size_t i = 0; i + 1 < version && !*again; i++)
        *again = metadata->snapshot_log[i].snapshot_id == id;
    return metadata_snapshot(metadata, id);
}

static const Json *lineage_of(const Snapshot *snapshot, Arena *arena) {
    const Json *json;
    Err ignored = {0};
    if (!snapshot) return NULL;
    Str text = properties_get(snapshot->summary, snapshot->summary_count, SUMMARY_LINEAGE);
    return text.len && json_read(text, arena, &json, &ignored) ? json : NULL;
}

static Str operation_shown(const Snapshot *snapshot) {
    Str note = properties_get(snapshot->summary, snapshot->summary_count, SUMMARY_NOTE);
    if (note.len) return note;
    return properties_get(snapshot->summary, snapshot->summary_count, "operation");
}

static void history_write_one(const Table *table, size_t version, Arena *arena, JsonWriter *w) {
    const Metadata *metadata = &table->document->metadata;
    bool again;
    const Snapshot *snapshot = version_snapshot(metadata, version, &again);
    const Json *lineage = lineage_of(snapshot, arena);
    jw_object(w);
    jw_member_int(w, "version", (int64_t)version);
    jw_member_time(w, "at", metadata->snapshot_log[version - 1].at_ms);
    jw_member_text(w, "operation",
                   again      ? STR("rollback")
                   : snapshot ? operation_shown(snapshot)
                              : STR("expired"));
    jw_member_int(w, "rows_added", again ? 0 : MAX(snapshot_total(snapshot, "added-records"), 0));
    jw_member_int(w, "rows_removed",
                  again ? 0 : MAX(snapshot_total(snapshot, "deleted-records"), 0));
    jw_name(w, "source");
    if (lineage)
        jw_text(w, json_get_text(lineage, "source", (Str){0}));
    else
        jw_null(w);
    jw_end(w);
}

static void lineage_list_write(const Table *table, Arena *arena, JsonWriter *w) {
    const Metadata *metadata = &table->document->metadata;
    jw_array(w);
    for (size_t version = 1; version <= metadata->snapshot_log_len; version++) {
        bool again;
        const Json *lineage = lineage_of(version_snapshot(metadata, version, &again), arena);
        if (lineage && !again) jw_json(w, lineage);
    }
    jw_end(w);
}

bool catalog_write_dataset(Catalog *catalog, Str name, int64_t version, JsonWriter *w, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(table_release) Table *table = NULL;
    if (!catalog_load(catalog, name, version, &table, err)) return false;
    Notes notes = notes_read(table, &arena);
    const Schema *schema = table_schema(table);
    jw_object(w);
    head_write(table, &notes, &arena, w);
    jw_name(w, "schema"), jw_array(w);
    for (size_t i = 0; i < schema->len; i++) column_write(&schema->fields[i], &notes, &arena, w);
    jw_end(w);
    jw_name(w, "lineage"), lineage_list_write(table, &arena, w);
    jw_name(w, "history"), jw_array(w);
    for (size_t i = 1; i <= table->document->metadata.snapshot_log_len; i++)
        history_write_one(table, i, &arena, w);
    jw_end(w);
    jw_end(w);
    return true;
}

/* Lineage. */

void lineage_write(const Lineage *lineage, int64_t version, JsonWriter *w) {
    jw_name(w, "source_system"), jw_cstr(w, lineage->source_system);
    jw_member_text(w, "source", lineage->source);
    jw_name(w, "query");
    if (lineage->query.len)
        jw_text(w, lineage->query);
    else
        jw_null(w);
    jw_member_int(w, "rows", lineage->rows);
    jw_member_int(w, "bytes", lineage->bytes);
    jw_member_time(w, "at", lineage->at_ms);
    if (lineage->duration_ms) jw_member_int(w, "duration_ms", lineage->duration_ms);
    jw_member_int(w, "version", version);
}

static Str source_id(const Json *lineage, Arena *arena) {
    Str system = json_get_text(lineage, "source_system", STR("unknown"));
    Str source = json_get_text(lineage, "source", (Str){0});
    return arena_print(arena, "%.*s:%.*s", SHOW(system), SHOW(source));
}

static void source_node(const Json *lineage, Str id, JsonWriter *w) {
    jw_object(w);
    jw_member_text(w, "id", id);
    jw_member_text(w, "kind", STR("source"));
    jw_member_text(w, "source_system", json_get_text(lineage, "source_system", (Str){0}));
    jw_member_text(w, "name", json_get_text(lineage, "source", (Str){0}));
    jw_end(w);
}

typedef struct Upstream { /* one lineage entry and the id of its source */
    const Json *lineage;
    Str id;
} Upstream;

/* Every source once, in the order of its first use. */
static void upstream_nodes(const Upstream *entries, size_t count, JsonWriter *w) {
    for (size_t i = 0; i < count; i++) {
        bool seen = false;
        for (size_t j = 0; j < i && !seen; j++) seen = str_equal(entries[j].id, entries[i].id);
        if (!seen) source_node(entries[i].lineage, entries[i].id, w);
    }
}

static void upstream_edges(const Upstream *entries, size_t count, Str self, JsonWriter *w) {
    for (size_t i = 0; i < count; i++) {
        jw_object(w);
        jw_member_text(w, "from", entries[i].id);
        jw_member_text(w, "to", self);
        jw_member_int(w, "version", json_get_int(entries[i].lineage, "version", 0));
        jw_member_int(w, "rows", json_get_int(entries[i].lineage, "rows", 0));
        jw_end(w);
    }
}

static void named_node(Str id, const char *kind, Str name, JsonWriter *w) {
    jw_object(w);
    jw_member_text(w, "id", id);
    jw_member_text(w, "kind", str_from(kind));
    jw_member_text(w, "name", name);
    jw_end(w);
}

static void downstream_edge(Str self, Str id, JsonWriter *w) {
    jw_object(w);
    jw_member_text(w, "from", self);
    jw_member_text(w, "to", id);
    jw_end(w);
}

/* Entries of all versions; what a rollback repeats is there once. */
static size_t upstream_of(const Table *table, Arena *arena, Upstream **out) {
    const Metadata *metadata = &table->document->metadata;
    Upstream *entries = arena_array(arena, Upstream, metadata->snapshot_log_len + 1);
    size_t count = 0;
    for (size_t version = 1; version <= metadata->snapshot_log_len; version++) {
        bool again;
        const Json *lineage = lineage_of(version_snapshot(metadata, version, &again), arena);
        if (lineage && !again) entries[count++] = (Upstream){lineage, source_id(lineage, arena)};
    }
    *out = entries;
    return count;
}

bool catalog_write_lineage(Catalog *catalog, Str name, const Str *indexes, size_t index_count,
                           JsonWriter *w, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(table_release) Table *table = NULL;
    Upstream *entries;
    if (!catalog_load(catalog, name, 0, &table, err)) return false;
    size_t count = upstream_of(table, &arena, &entries);
    Str self = arena_print(&arena, "dataset:%.*s", SHOW(table_name(table)));
    Str *ids = arena_array(&arena, Str, index_count + 1);
    for (size_t i = 0; i < index_count; i++)
        ids[i] = arena_print(&arena, "index:%.*s", SHOW(indexes[i]));
    jw_object(w);
    jw_member_text(w, "dataset", table_name(table));
    jw_name(w, "nodes"), jw_array(w);
    named_node(self, "dataset", table_name(table), w);
    upstream_nodes(entries, count, w);
    for (size_t i = 0; i < index_count; i++) named_node(ids[i], "index", indexes[i], w);
    jw_end(w);
    jw_name(w, "edges"), jw_array(w);
    upstream_edges(entries, count, self, w);
    for (size_t i = 0; i < index_count; i++) downstream_edge(self, ids[i], w);
    jw_end(w);
    jw_end(w);
    return true;
}

bool catalog_has_source(Catalog *catalog, Str name, Str source, bool *out, Err *err) {
    OWNED(table_release) Table *table = NULL;
    OWNED(arena_close) Arena arena = {0};
    bool found = false;
    if (!catalog_load(catalog, name, 0, &table, err)) {
        if (err->kind != LH_MISSING) return false;
        *err = (Err){0};
        return *out = false, true;
    }
    const Metadata *metadata = &table->document->metadata;
    for (size_t i = 0; !found && i < metadata->snapshot_count; i++) {
        const Json *lineage = lineage_of(&metadata->snapshots[i], &arena);
        found = lineage && str_equal(json_get_text(lineage, "source", (Str){0}), source);
    }
    *out = found;
    return true;
}
