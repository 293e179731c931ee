/* The library from a command line, for tests in JavaScript (interop.mjs):
 *
 *     lance_tool ROOT create TABLE [VERSION] name=type[,null] ...   VERSION: of its files, else 2.0
 *     lance_tool ROOT append TABLE FROM ROWS [TIMES]      rows of made_rows.h
 *     lance_tool ROOT dump TABLE [VERSION]                every row as a JSON line (rows_json.h)
 *     lance_tool ROOT take TABLE ADDRESS ...
 *     lance_tool ROOT delete TABLE ADDRESS ...
 *     lance_tool ROOT update TABLE FROM ROWS ADDRESS ...
 *     lance_tool ROOT replace TABLE FROM ROWS name=type[,null] ...   all rows and columns
 *     lance_tool ROOT compact|info|inspect|versions TABLE
 *     lance_tool ROOT restore TABLE VERSION
 *     lance_tool ROOT cleanup TABLE                       all but the latest version
 *     lance_tool ROOT race TABLE FROM COUNT               COUNT appends of 10 rows, as fast as it
 * can
 *     lance_tool ROOT index TABLE COLUMN METRIC PARTITIONS SUB_VECTORS BITS
 *     lance_tool ROOT search TABLE COLUMN METRIC K NPROBES REFINE FILE     queries: float32s in
 * FILE; REFINE 0: codes alone, -1: no index. A JSON line a query: [["address",distance],...]
 *     lance_tool ROOT btree TABLE COLUMN
 *     lance_tool ROOT find TABLE COLUMN KEY ...           a JSON line a key: ["address",...]
 *     lance_tool ROOT index-update|indexes TABLE
 *
 * Prints the answer, or the error to standard error with status 1. */
#include "lance/made_rows.h"
#include "lance/rows_json.h"

#include <stdio.h>

static Err err;

static int failed(void) {
    fprintf(stderr, "%s: %s\n", err_word(&err), err.message);
    return 1;
}

static uint64_t number(const char *text) {
    uint64_t value = 0;
    if (!str_to_u64(str_from(text), &value)) fprintf(stderr, "'%s' is no number\n", text), exit(2);
    return value;
}

static LanceSchema columns(int count, char **words, Arena *arena) {
    LanceSchema schema = {arena_array(arena, LanceField, count), (size_t)count};
    for (int i = 0; i < count; i++) {
        Str rest = str_from(words[i]);
        LanceField *field = &schema.fields[i];
        field->name = str_until(&rest, '=');
        field->type = lance_type(str_until(&rest, ','));
        field->nullable = str_is(rest, "null");
    }
    return schema;
}

static int create(Store *store, Str path, int count, char **words) {
    OWNED(lance_close) LanceTable *table = NULL;
    OWNED(arena_close) Arena arena = {0};
    const char *file_version = "2.0";
    if (count > 0 && !strchr(words[0], '=')) file_version = *words++, count--;
    LanceSchema schema = columns(count, words, &arena);
    return lance_create_in(store, path, file_version, &schema, &table, &err) ? 0 : failed();
}

static int replace(LanceTable *table, int count, char **words) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(lance_writer_close) LanceWriter *writer = NULL;
    LanceSchema schema = columns(count - 2, words + 2, &arena);
    LanceBatch batch = made_rows(&schema, number(words[0]), (size_t)number(words[1]), &arena);
    return lance_writer_open(table, &schema, &writer, &err) &&
                   lance_writer_add(writer, &batch, &err) && lance_writer_replace(writer, &err)
               ? 0
               : failed();
}

static uint64_t *addresses(int count, char **words, Arena *arena) {
    uint64_t *out = arena_array(arena, uint64_t, count);
    for (int i = 0; i < count; i++) out[i] = number(words[i]);
    return out;
}

static Str *all_names(const LanceSchema *schema, Arena *arena) {
    Str *names = arena_array(arena, Str, schema->len);
    for (size_t i = 0; i < schema->len; i++) names[i] = schema->fields[i].name;
    return names;
}

static void batch_print(const LanceSchema *schema, const LanceBatch *batch) {
    OWNED(text_close) Text out = {0};
    for (size_t i = 0; i < batch->rows; i++) print_row(&out, schema, batch, i);
    fwrite(out.data, 1, out.len, stdout);
}

static int dump(LanceTable *table, const LanceSchema *schema, Arena *arena) {
    OWNED(lance_scan_close) LanceScan *scan = NULL;
    LanceScanOptions options = {.columns = all_names(schema, arena), .column_count = schema->len};
    LanceBatch batch;
    if (!lance_scan(table, &options, &scan, &err)) return failed();
    for (;;) {
        if (!lance_scan_next(scan, &batch, &err)) return failed();
        if (batch.rows == 0) return 0;
        batch_print(schema, &batch);
    }
}

static int take(LanceTable *table, const LanceSchema *schema, int count, char **words,
                Arena *arena) {
    LanceBatch batch;
    if (!lance_take(table, addresses(count, words, arena), (size_t)count, all_names(schema, arena),
                    schema->len, arena, &batch, &err))
        return failed();
    batch_print(schema, &batch);
    return 0;
}

static int append(LanceTable *table, const LanceSchema *schema, uint64_t from, size_t rows,
                  uint64_t times) {
    for (uint64_t i = 0; i < times; i++) {
        OWNED(arena_close) Arena arena = {0};
        LanceBatch batch = made_rows(schema, from + i * rows, rows, &arena);
        if (!lance_append(table, &batch, &err)) return failed();
    }
    return 0;
}

static int update(LanceTable *table, const LanceSchema *schema, int count, char **words,
                  Arena *arena) {
    LanceBatch batch = made_rows(schema, number(words[0]), (size_t)number(words[1]), arena);
    return lance_update(table, addresses(count - 2, words + 2, arena), (size_t)count - 2, &batch,
                        &err)
               ? 0
               : failed();
}

static int compact(LanceTable *table) {
    LanceCompacted done;
    if (!lance_compact(table, NULL, &done, &err)) return failed();
    printf("{\"before\":%llu,\"after\":%llu}\n", (unsigned long long)done.fragments_before,
           (unsigned long long)done.fragments_after);
    return 0;
}

static int cleanup(LanceTable *table) {
    LanceCleaned done;
    if (!lance_cleanup(table, clock_now_ms() + 1, clock_now_ms() - 3600000, &done, &err))
        return failed();
    printf("{\"versions\":%llu,\"files\":%llu}\n", (unsigned long long)done.versions,
           (unsigned long long)done.files);
    return 0;
}

static LanceMetric metric_of(const char *word) {
    Str name = str_from(word);
    return str_is(name, "l2") ? LANCE_L2 : str_is(name, "dot") ? LANCE_DOT : LANCE_COSINE;
}

static int index_vectors(LanceTable *table, char **words) {
    LanceVectorIndexOptions options = {.column = str_from(words[0]),
                                       .metric = metric_of(words[1]),
                                       .partitions = (uint32_t)number(words[2]),
                                       .sub_vectors = (uint32_t)number(words[3]),
                                       .bits = (uint32_t)number(words[4])};
    return lance_index_vectors(table, &options, NULL, &err) ? 0 : failed();
}

static void hits_print(const LanceHit *hits, size_t count) {
    for (size_t i = 0; i < count; i++)
        printf("%s[\"%llu\",%.9g]", i ? "," : "[", (unsigned long long)hits[i].address,
               (double)hits[i].distance);
    puts(count ? "]" : "[]");
}

static int search(LanceTable *table, const LanceSchema *schema, char **words) {
    OWNED(text_close) Text bytes = {0};
    LanceSearchOptions options = {.column = str_from(words[0]),
                                  .metric = metric_of(words[1]),
                                  .k = (size_t)number(words[2]),
                                  .nprobes = (uint32_t)number(words[3]),
                                  .exact = *words[4] == '-',
                                  .codes_only = *words[4] == '0'};
    if (!options.exact) options.refine = (uint32_t)number(words[4]);
    for (size_t i = 0; i < schema->len; i++)
        if (str_equal(schema->fields[i].name, options.column))
            options.dimension = schema->fields[i].type.dimension;
    FILE *file = fopen(words[5], "rb");
    if (!file) return fprintf(stderr, "cannot open '%s'\n", words[5]), 2;
    for (size_t got = 1; got > 0; bytes.len += got)
        got = fread(text_reserve(&bytes, 1 << 16), 1, 1 << 16, file);
    fclose(file);
    size_t size = options.dimension * sizeof(float);
    for (size_t at = 0; at + size <= bytes.len; at += size) {
        OWNED(arena_close) Arena arena = {0};
        LanceHit *hits;
        size_t count;
        options.query = (const float *)(const void *)(bytes.data + at);
        if (!lance_search(table, &options, &arena, &hits, &count, &err)) return failed();
        hits_print(hits, count);
    }
    return 0;
}

static int index_update(LanceTable *table) {
    size_t changed;
    if (!lance_index_update(table, NULL, &changed, &err)) return failed();
    return printf("%zu\n", changed), 0;
}

static int indexes(LanceTable *table, Arena *arena) {
    LanceIndexInfo *infos;
    size_t count;
    if (!lance_indexes(table, arena, &infos, &count, &err)) return failed();
    for (size_t i = 0; i < count; i++)
        printf("{\"name\":\"%.*s\",\"column\":\"%.*s\",\"type\":\"%s\",\"indexed\":%llu,"
               "\"unindexed\":%llu,\"segments\":%llu}\n",
               SHOW(infos[i].name), SHOW(infos[i].column), infos[i].type,
               (unsigned long long)infos[i].rows_indexed,
               (unsigned long long)infos[i].rows_unindexed, (unsigned long long)infos[i].segments);
    return 0;
}

static LanceKey key_of(const LanceSchema *schema, Str column, const char *word) {
    LanceKey key = {.kind = LANCE_OTHER};
    for (size_t i = 0; i < schema->len; i++)
        if (str_equal(schema->fields[i].name, column)) key.kind = schema->fields[i].type.kind;
    if (key.kind == LANCE_INT) key.integer = strtoll(word, NULL, 10);
    if (key.kind == LANCE_UINT) key.natural = strtoull(word, NULL, 10);
    if (key.kind == LANCE_FLOAT) key.real = strtod(word, NULL);
    if (key.kind == LANCE_TEXT) key.text = str_from(word);
    return key;
}

static int find(LanceTable *table, const LanceSchema *schema, int count, char **words) {
    for (int i = 1; i < count; i++) {
        OWNED(arena_close) Arena arena = {0};
        uint64_t *found;
        size_t rows;
        LanceKey key = key_of(schema, str_from(words[0]), words[i]);
        if (!lance_find(table, str_from(words[0]), &key, &arena, &found, &rows, &err))
            return failed();
        for (size_t k = 0; k < rows; k++)
            printf("%s\"%llu\"", k ? "," : "[", (unsigned long long)found[k]);
        puts(rows ? "]" : "[]");
    }
    return 0;
}

static int info(LanceTable *table) {
    LanceInfo about;
    lance_info(table, &about);
    printf(
        "{\"version\":%llu,\"rows\":%llu,\"fragments\":%llu,\"indexes\":%llu,\"files\":\"%s\"}\n",
        (unsigned long long)about.version, (unsigned long long)about.rows,
        (unsigned long long)about.fragments, (unsigned long long)about.indexes, about.file_version);
    return 0;
}

static int inspect(LanceTable *table) {
    OWNED(text_close) Text out = {0};
    if (!lance_inspect(table, &out, &err)) return failed();
    fwrite(out.data, 1, out.len, stdout);
    return 0;
}

static int run(LanceTable *table, const char *verb, int count, char **words) {
    OWNED(arena_close) Arena arena = {0};
    LanceSchema schema;
    Str command = str_from(verb);
    uint64_t deleted;
    lance_schema(table, &arena, &schema);
    if (str_is(command, "dump")) return dump(table, &schema, &arena);
    if (str_is(command, "take")) return take(table, &schema, count, words, &arena);
    if (str_is(command, "append"))
        return append(table, &schema, number(words[0]), (size_t)number(words[1]),
                      count > 2 ? number(words[2]) : 1);
    if (str_is(command, "race"))
        return append(table, &schema, number(words[0]), 10, number(words[1]));
    if (str_is(command, "update")) return update(table, &schema, count, words, &arena);
    if (str_is(command, "replace")) return replace(table, count, words);
    if (str_is(command, "delete")) {
        if (!lance_delete(table, addresses(count, words, &arena), (size_t)count, &deleted, &err))
            return failed();
        return printf("%llu\n", (unsigned long long)deleted), 0;
    }
    if (str_is(command, "compact")) return compact(table);
    if (str_is(command, "cleanup")) return cleanup(table);
    if (str_is(command, "index")) return index_vectors(table, words);
    if (str_is(command, "search")) return search(table, &schema, words);
    if (str_is(command, "btree"))
        return lance_index_scalar(table, str_from(words[0]), NULL, &err) ? 0 : failed();
    if (str_is(command, "find")) return find(table, &schema, count, words);
    if (str_is(command, "index-update")) return index_update(table);
    if (str_is(command, "indexes")) return indexes(table, &arena);
    if (str_is(command, "info")) return info(table);
    if (str_is(command, "inspect")) return inspect(table);
    if (str_is(command, "restore"))
        return lance_restore(table, number(words[0]), &err) ? 0 : failed();
    return fprintf(stderr, "no command '%s'\n", verb), 2;
}

int main(int argc, char **argv) {
    OWNED(store_close) Store *store = NULL;
    OWNED(lance_close) LanceTable *table = NULL;
    if (argc < 4) return fprintf(stderr, "usage: lance_tool ROOT COMMAND TABLE ...\n"), 2;
    if (!store_local_open_shared(str_from(argv[1]), &store, &err)) return failed();
    Str command = str_from(argv[2]), path = str_from(argv[3]);
    if (str_is(command, "create")) return create(store, path, argc - 4, argv + 4);
    bool at_version = str_is(command, "dump") && argc > 4;
    if (!lance_open(store, path, at_version ? number(argv[4]) : 0, &table, &err)) return failed();
    return run(table, argv[2], argc - 4, argv + 4);
}
