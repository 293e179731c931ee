/* What an index is: <bucket>/vectors/<index>/meta.json, the one pointer to its current build. */
#pragma once

#include "vector/chunk.h"
#include "vector/config.h"
#include "vector/index.h"

#include "base/base.h"

#define INDEX_NAME_MAX 63
#define INDEX_EF_SEARCH 256 /* the beam of a search that names none, see docs/vectors.md */

typedef struct IndexMeta {
    Str index, dataset, id_column, text_column, vector_column, model, model_digest, bucket;
    Str vector_backend, metric;
    Str lance_version; /* backend "lance": of the table's data files when it is made */
    Str build;   /* the current file: hnsw/<build>.idx; of backend "lance" the version of docs.lance
                  */
    Str vectors; /* and vectors/<vectors>.parquet, which another configuration leaves as it is */
    Str row_log; /* rows/<row_log>/: one of its own for each index that ever had the name */
    ChunkOptions chunk;
    int64_t dataset_version, rows, documents, skipped, dimensions, bytes;
    IndexConfig config; /* of the champion */
    int64_t promotion;  /* the number in promotions.log that made it so; 0: as it was created */
    int64_t rows_after; /* the batch of the row log that the build has; what follows lies over it */
    int64_t moves; /* between buckets: of two of one index, that with more is it, see place.c */
    Str moving_to; /* the bucket where it is about to be; nothing is acknowledged meanwhile */
    bool moved;    /* no index: what a move leaves, or brings, in a bucket until it is done */
    int64_t created_ms, updated_ms, build_ms;
} IndexMeta;

void meta_write(const IndexMeta *meta, JsonWriter *w);      /* the members, inside an object */
bool meta_read(const Json *json, IndexMeta *out, Err *err); /* borrows from json; LH_CORRUPT */
IndexMeta meta_copy(const IndexMeta *meta, Arena *arena);
Str meta_key(Str index, const char *rest, Arena *arena);   /* vectors/<index>/<rest> */
Str meta_build_key(const IndexMeta *meta, Arena *arena);   /* of the .idx */
Str meta_lance_key(const IndexMeta *meta, Arena *arena);   /* of the table, without a slash */
Str meta_words_key(const IndexMeta *meta, Arena *arena);   /* lance: the embedder's statistics */
Str meta_text_key(const IndexMeta *meta, Arena *arena);    /* of the text index */
Str meta_vectors_key(const IndexMeta *meta, Arena *arena); /* of the Parquet */
Str meta_rows_prefix(const IndexMeta *meta, Arena *arena); /* of the row log; ends with a slash */
