/* Internal to the making of an index: what its steps share. plan (build_plan.c), rows
 * (build_rows.c), files and publishing (index_create.c). */
#pragma once

#include "vector/index_file.h"
#include "vector/indexes.h"
#include "vector/temp_file.h"

/* One build under way. */
typedef struct Build {
    Indexes *indexes;
    Job *job; /* NULL: nobody watches */
    Arena arena;
    IndexMeta meta;
    Metric metric;
    Bucket *bucket;
    Table *table;
    IndexEntry *previous; /* of a refresh: whose vectors are taken where texts are the same */
    RowsView *fold;       /* of a fold: the rows of `previous` that are alive */
    Overlay *log;         /* of a refresh: all that was ever put and deleted by hand, and ... */
    RowsView *by_hand;    /* ... the end of it, which the dataset's documents give way to */
    int64_t embedded, reused;
    Embedder *embedder;
    IndexFileWriter writer;
    bool writing;
    TempFile ids, texts;
    Text id_ends, text_ends, chunks;
    size_t stride, count;
    float *rows; /* stride floats for each of a batch's chunks */
    size_t rows_cap;
    char vectors_path[PATH_MAX], text_path[PATH_MAX];
    int64_t lance_bytes; /* backend "lance": of the table */
} Build;

static inline size_t stride_of(size_t dimensions) {
    return (dimensions + 15) / 16 * 16; /* KERNEL_LANES */
}

void build_close(Build *b);
/* Reads, builds, writes and publishes what b->meta says; in place of b->previous, if any. */
bool build_run(Build *b, Err *err);
#define BUILD_EMPTY(indexes_, job_)                                                                \
    { .indexes = (indexes_), .job = (job_), .ids = TEMP_FILE_EMPTY, .texts = TEMP_FILE_EMPTY }
bool build_cancelled(void *build);
/* The model and the statistics of b->previous, so that vectors that stay mean the same. */
bool build_keep_statistics(Build *b, Err *err);
/* Joins what can be joined in the log of its rows; what fails is said in the log and left. */
void build_merge_log(Build *b);
/* Backend "lance": the rows become the table's rows, with its indexes; b->meta.build says its
 * version then. */
bool build_lance(Build *b, const float *vectors, Bytes ids, Bytes texts, Err *err);
/* Everything that a request can get wrong, before any work. */
bool build_plan(Build *b, const IndexSpec *spec, Err *err);
bool build_wrong_dimension(const Build *b, int64_t by_hand, Err *err); /* false: of rows put */
/* Reads the dataset: vectors go to the writer's first section, ids and texts to their files. */
bool build_rows(Build *b, Err *err);
