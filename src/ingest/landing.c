/* From a staged Parquet file to a version of a dataset: personal data is looked for, the file
 * becomes an object, one commit names it, and the result tells of it. Until the commit there is the
 * staged file and nothing else; whichever step fails, it goes, and so does the object. */
#include "ingest/parts.h"

#include <string.h>
#include <unistd.h>

void landing_close(Landing *landing) {
    if (landing->staged[0]) unlink(landing->staged);
    bucket_release(&landing->home);
    text_close(&landing->warnings);
    text_close(&landing->enqueued);
    arena_close(&landing->arena);
}

void landing_warn_json(Landing *landing, Str texts) {
    if (landing->warnings.len) text_add_byte(&landing->warnings, ',');
    text_add(&landing->warnings, texts);
}

void landing_warn(Landing *landing, Str text) {
    if (landing->warnings.len) text_add_byte(&landing->warnings, ',');
    json_escape(&landing->warnings, text);
}

bool landing_stage(Landing *landing, Err *err) {
    if (!bucket_find(landing->buckets, landing->home_name, &landing->home, err)) return false;
    if (store_staging(bucket_store(landing->home), landing->staged, err)) return true;
    return landing->staged[0] = 0, false;
}

static bool is_found(const Landing *landing, Str column) {
    for (size_t i = 0; i < landing->pii_count; i++)
        if (str_equal(landing->pii[i].column, column)) return true;
    return false;
}

/* What chunks before this one showed stays found. */
static void add_found(Landing *landing, const PiiFound *found, size_t count) {
    PiiFound *all = arena_array(&landing->arena, PiiFound, landing->pii_count + count);
    if (count == 0) return;
    for (size_t i = 0; i < landing->pii_count; i++) all[i] = landing->pii[i];
    landing->pii = all;
    for (size_t i = 0; i < count; i++)
        if (!is_found(landing, found[i].column)) all[landing->pii_count++] = found[i];
}

/* Columns whose values are hidden show nothing personal, and neither do their names. */
static bool look_for_pii(Landing *landing, Err *err) {
    Schema shown = {.fields = arena_array(&landing->arena, Field, landing->schema->len)};
    for (size_t i = 0; i < landing->schema->len; i++)
        if (!landing->hidden || !landing->hidden[i])
            shown.fields[shown.len++] = landing->schema->fields[i];
    const PiiFound *before = landing->pii;
    size_t before_count = landing->pii_count;
    if (shown.len == 0) return true;
    if (!pii_sample(landing->engine, &shown, landing->staged, landing->data.rows, &landing->arena,
                    &landing->pii, &landing->pii_count, err))
        return false;
    add_found(landing, before, before_count);
    return true;
}

static void drop_data(Landing *landing) {
    Err ignored;
    store_remove(bucket_store(landing->home), landing->data.key, &ignored);
}

static bool adopt(Landing *landing, Err *err) {
    char uuid[UUID_SIZE];
    ObjectInfo info;
    if (landing->data.rows == 0) return true; /* a version without a file */
    random_uuid(uuid);
    landing->data.key =
        arena_print(&landing->arena, "%.*s/data/%s.parquet", SHOW(landing->location), uuid);
    landing->adopted = store_adopt(bucket_store(landing->home), landing->staged, landing->data.key,
                                   NULL, &info, err);
    if (landing->adopted) return landing->staged[0] = 0, true;
    drop_data(landing); /* it may be there, only not durably; nobody else knows its name */
    return false;
}

static void write_verdict(JsonWriter *w, Str column, Str kind, double confidence) {
    jw_name_str(w, column);
    jw_object(w);
    jw_member_text(w, "kind", kind);
    jw_member_real(w, "confidence", confidence);
    jw_end(w);
}

/* What earlier versions showed holds on: an append can only add to it. */
static void write_earlier(Landing *landing, JsonWriter *w) {
    OWNED(table_release) Table *table = NULL;
    const Json *earlier;
    Err ignored;
    if (landing->mode != COMMIT_APPEND ||
        !catalog_load(landing->catalog, landing->dataset, 0, &table, &ignored) ||
        !json_read(table_property(table, PROPERTY_PII), &landing->arena, &earlier, &ignored) ||
        earlier->kind != JSON_OBJECT)
        return;
    for (size_t i = 0; i < earlier->len; i++) {
        const Json *one = &earlier->items[i];
        if (is_found(landing, one->name)) continue;
        jw_name_str(w, one->name);
        jw_json(w, one);
    }
}

static Str pii_property(Landing *landing) {
    OWNED(text_close) Text json = {0};
    JsonWriter w = {.out = &json};
    jw_object(&w);
    for (size_t i = 0; i < landing->pii_count; i++)
        write_verdict(&w, landing->pii[i].column, str_from(landing->pii[i].verdict.kind),
                      landing->pii[i].verdict.confidence);
    write_earlier(landing, &w);
    jw_end(&w);
    return arena_copy(&landing->arena, text_str(&json));
}

static bool is_unknown(const Err *err) {
    return err->kind == LH_OFFLINE && err->code && strcmp(err->code, "commit_unknown") == 0;
}

static bool commit(Landing *landing, Err *err) {
    Property properties[] = {
        {STR(PROPERTY_PII),    pii_property(landing)},
        {STR(PROPERTY_CURSOR), landing->cursor      }
    };
    landing->lineage.rows = landing->data.rows;
    landing->lineage.at_ms = clock_now_ms();
    Commit commit = {.dataset = landing->dataset,
                     .bucket = landing->home_name,
                     .mode = landing->mode,
                     .widen = landing->widen,
                     .enqueued = &landing->enqueued,
                     .schema = landing->schema,
                     .files = &landing->data,
                     .file_count = landing->adopted,
                     .properties = properties,
                     .property_count = landing->cursor.len ? 2 : 1,
                     .lineage = landing->lineage};
    if (catalog_commit(landing->catalog, &commit, &landing->version, err)) return true;
    if (landing->adopted && !is_unknown(err)) drop_data(landing);
    return false;
}

bool landing_commit(Landing *landing, Err *err) {
    if (!look_for_pii(landing, err) || !adopt(landing, err) || !commit(landing, err)) return false;
    landing->commits++;
    landing->rows += landing->data.rows;
    landing->files += landing->adopted;
    if (landing->adopted) landing->bytes += landing->data.bytes;
    return true;
}

/* A commit without rows leaves its staged file. */
void landing_next(Landing *landing) {
    if (landing->staged[0]) unlink(landing->staged);
    landing->staged[0] = 0;
    bucket_release(&landing->home);
    landing->data = (DataFile){0};
    landing->adopted = false;
    landing->mode = COMMIT_APPEND;
}

static void write_pii(const Landing *landing, JsonWriter *w) {
    jw_name(w, "pii");
    jw_array(w);
    for (size_t i = 0; i < landing->pii_count; i++) {
        const PiiVerdict *verdict = &landing->pii[i].verdict;
        jw_object(w);
        jw_member_text(w, "column", landing->pii[i].column);
        jw_member_text(w, "kind", str_from(verdict->kind));
        jw_member_real(w, "confidence", verdict->confidence);
        jw_member_int(w, "matched", verdict->matched);
        jw_member_int(w, "sampled", verdict->sampled);
        jw_end(w);
    }
    jw_end(w);
}

static void write_warnings(const Landing *landing, JsonWriter *w) {
    jw_name(w, "warnings");
    jw_array(w);
    if (landing->warnings.len) jw_raw(w, text_str(&landing->warnings));
    jw_end(w);
}

void landing_write(const Landing *landing, Text *result) {
    JsonWriter w = {.out = result};
    int64_t us = MAX(clock_us() - landing->started_us, 1);
    jw_object(&w);
    jw_member_text(&w, "dataset", landing->dataset);
    jw_member_int(&w, "version", landing->version);
    jw_member_int(&w, "rows", landing->rows);
    jw_member_int(&w, "columns", (int64_t)landing->schema->len);
    jw_member_int(&w, "bytes", landing->bytes);
    jw_member_int(&w, "files", landing->files);
    jw_member_int(&w, "elapsed_ms", us / 1000);
    jw_member_int(&w, "rows_per_s", (int64_t)((double)landing->rows * 1e6 / (double)us));
    write_pii(landing, &w);
    jw_name(&w, "lineage");
    jw_object(&w);
    lineage_write(&landing->lineage, landing->version, &w);
    jw_end(&w);
    jw_name(&w, "agent_enqueued");
    jw_array(&w);
    if (landing->enqueued.len) jw_raw(&w, text_str(&landing->enqueued));
    jw_end(&w);
    write_warnings(landing, &w);
    jw_end(&w);
}
