/* What an index is asked to be, checked against the dataset, the bucket and the model. */
#include "vector/build.h"
#include "vector/index_lance.h"
#include "vector/profile.h"

#include "lance/lance.h"

const Option index_options[] = {
    {"index",                          LH_TEXT, AT(IndexSpec, index), REQUIRED, "name of the index"},
    {"dataset",                    LH_TEXT, AT(IndexSpec, dataset), REQUIRED, "dataset to index"},
    {"id_column",                        LH_TEXT, AT(IndexSpec, id_column), NULL,
     "column that names a document; 'id' or 'doc_id' where there is one"},
    {"text_column",                                LH_TEXT, AT(IndexSpec, text_column), NULL, "column with the text to embed"},
    {"vector_column",      LH_TEXT, AT(IndexSpec, vector_column), NULL,
     "column with vectors of your own: lists of floats of one length"},
    {"chunk",                        LH_JSON, AT(IndexSpec, chunk), NULL, "{\"size\":1000,\"overlap\":200}, in bytes"},
    {"model",              LH_TEXT, AT(IndexSpec, model), NULL,
     "model that embeds the text; [ai] embed_model unless said"},
    {"bucket",                      LH_TEXT, AT(IndexSpec, bucket), "primary", "home of the index"},
    {"vector_backend",                    LH_TEXT, AT(IndexSpec, vector_backend), "parquet",
     "in-memory graph over Parquet, or IVF_PQ in a Lance table", .choices = "parquet|lance"},
    {"metric",                            LH_TEXT, AT(IndexSpec, metric), "cosine", "similarity", .choices = "cosine|l2|dot"},
    {"m",                                LH_INT, AT(IndexSpec, m), "16", "links that a row chooses", .min = 2, .max = GRAPH_M_MAX},
    {"ef_construction",LH_INT, AT(IndexSpec, ef_construction), "200", "effort of the build",
     .min = 10, .max = 2000},
    {"partitions",                    LH_INT, AT(IndexSpec, partitions), NULL,
     "backend lance: groups of vectors; the square root of the rows", .min = 1,
     .max = LANCE_PARTITIONS_MAX},
    {"sub_vectors", LH_INT, AT(IndexSpec, sub_vectors), NULL,
     "backend lance: bytes of a vector's code; a 16th of the dimensions", .min = 1,
     .max = EMBED_DIMENSIONS_MAX},
    LANCE_VERSION_OPTION(IndexSpec),
    {"embed_pii",                  LH_FLAG, AT(IndexSpec, embed_pii), "false",
     "embed the text though its column holds personal data"},
    {0                   },
};

static bool name_check(Str name, Err *err) {
    bool ok =
        name.len > 0 && name.len <= INDEX_NAME_MAX && name.data[0] != '.' && name.data[0] != '-';
    for (size_t i = 0; ok && i < name.len; i++) {
        char c = name.data[i];
        ok = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
    }
    return ok || err_code(err, LH_INVALID, "bad_index_name",
                          "'%.*s' is no index name: 1 to %d of a-z 0-9 _ - . that begin with a "
                          "letter, a digit or _",
                          (int)MIN(name.len, 80), name.data, INDEX_NAME_MAX);
}

static bool column_check(const Table *table, const char *what, Str column, const Field **out,
                         Err *err) {
    *out = schema_find(table_schema(table), column);
    return *out || err_code(err, LH_IMPOSSIBLE, "unknown_column",
                            "dataset '%.*s' has no column '%.*s' (%s)", SHOW(table_name(table)),
                            (int)MIN(column.len, 80), column.data, what);
}

static bool choose_id_column(Build *b, Str wanted, Err *err) {
    const Field *field;
    b->meta.id_column = wanted;
    if (wanted.len) return column_check(b->table, "id_column", wanted, &field, err);
    const Schema *schema = table_schema(b->table);
    if (schema_find(schema, STR("id"))) b->meta.id_column = STR("id");
    if (schema_find(schema, STR("doc_id"))) b->meta.id_column = STR("doc_id");
    return b->meta.id_column.len > 0 ||
           err_code(err, LH_IMPOSSIBLE, "id_column_missing",
                    "dataset '%.*s' has no column 'id' or 'doc_id': name one as id_column",
                    SHOW(table_name(b->table)));
}

/* Vectors give away what they were made of, and their index hands out the text. */
static bool pii_check(Build *b, const IndexSpec *spec, Err *err) {
    Str kind = table_column_pii(b->table, spec->text_column, &b->arena);
    return kind.len == 0 || spec->embed_pii ||
           err_code(err, LH_IMPOSSIBLE, "pii_column",
                    "text_column '%.*s' of dataset '%.*s' holds personal data (%.*s): say "
                    "\"embed_pii\": true to index it all the same, or correct the verdict with "
                    "PATCH /catalog/datasets/%.*s",
                    SHOW(spec->text_column), SHOW(spec->dataset), SHOW(kind), SHOW(spec->dataset));
}

static bool check_columns(Build *b, Err *err) {
    const Field *text = NULL, *vector = NULL;
    if (b->meta.text_column.len == 0 && b->meta.vector_column.len == 0)
        return err_code(err, LH_INVALID, "missing_field",
                        "name a text_column to embed or a vector_column to take");
    if (b->meta.text_column.len &&
        !column_check(b->table, "text_column", b->meta.text_column, &text, err))
        return false;
    if (text && text->type.kind != TYPE_STRING)
        return err_code(err, LH_IMPOSSIBLE, "wrong_type", "text_column '%.*s' is not text",
                        SHOW(text->name));
    if (b->meta.vector_column.len == 0) return true;
    if (!column_check(b->table, "vector_column", b->meta.vector_column, &vector, err)) return false;
    bool list = vector->type.kind == TYPE_LIST &&
                vector->type.fields[0].type.kind <= TYPE_DECIMAL &&
                vector->type.fields[0].type.kind != TYPE_BOOLEAN;
    return list || err_code(err, LH_IMPOSSIBLE, "wrong_type",
                            "vector_column '%.*s' is not a list of numbers", SHOW(vector->name));
}

bool build_plan(Build *b, const IndexSpec *spec, Err *err) {
    b->meta = (IndexMeta){
        .index = spec->index,
        .dataset = spec->dataset,
        .text_column = spec->text_column,
        .vector_column = spec->vector_column,
        .bucket = spec->bucket,
        .vector_backend = spec->vector_backend,
        .metric = spec->metric,
    };
    if (str_is(spec->vector_backend, "lance")) b->meta.lance_version = spec->lance_version;
    b->meta.config = (IndexConfig){.m = spec->m,
                                   .ef_construction = spec->ef_construction,
                                   .ef_search = INDEX_EF_SEARCH,
                                   .partitions = spec->partitions,
                                   .sub_vectors = spec->sub_vectors};
    b->metric = metric_of(spec->metric);
    const Json none = {.kind = JSON_OBJECT};
    if (!options_read(chunk_options, spec->chunk ? spec->chunk : &none, &b->meta.chunk, err))
        return err_while(err, "chunk");
    if (!name_check(spec->index, err) || !profile_bound_admits(&b->meta, err)) return false;
    if (!catalog_load(b->indexes->catalog, spec->dataset, 0, &b->table, err)) return false;
    if (!choose_id_column(b, spec->id_column, err) || !check_columns(b, err) ||
        !pii_check(b, spec, err))
        return false;
    if (!bucket_find(b->indexes->buckets, spec->bucket, &b->bucket, err) ||
        !store_check_condition(bucket_store(b->bucket), &(PutCondition){.if_absent = true}, err))
        return false;
    b->meta.dataset_version = table_version(b->table);
    if (spec->vector_column.len) return true;
    if (!ai_embedder(b->indexes->ai, spec->model, &b->embedder, err)) return false;
    if (b->job) embedder_watch(b->embedder, build_cancelled, b);
    if (!embedder_ready(b->embedder, err)) return false;
    b->meta.model = embedder_model(b->embedder);
    b->meta.dimensions = (int64_t)embedder_dimensions(b->embedder);
    /* Held to what it is now, should it be replaced while the index is built. */
    return embedder_expect(b->embedder, embedder_digest(b->embedder),
                           embedder_dimensions(b->embedder), err);
}

bool index_check(Indexes *indexes, const IndexSpec *spec, Err *err) {
    OWNED(build_close)
    Build b = BUILD_EMPTY(indexes, NULL);
    if (!build_plan(&b, spec, err)) return false;
    if (!indexes_reserve(indexes, spec->index, err)) return false;
    indexes_unreserve(indexes, spec->index);
    return true;
}
