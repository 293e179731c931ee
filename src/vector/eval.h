/* Eval sets: queries of an index with their exact answers, kept with the index as
 * vectors/<index>/evals/<name>.json. The answers hold for the rows that the index had; when these
 * have changed, they are computed again before they are used. Trials (trial.c) measure against
 * them. */
#pragma once

#include "vector/indexes.h"

#define EVAL_DEPTH 100 /* answers kept per query, best first; the most that a trial's k may be */
#define EVAL_QUERIES_MAX 1000

typedef struct EvalAnswer {
    Str doc_id;
    int64_t chunk;
    double score; /* exact, larger is nearer: eval_score */
} EvalAnswer;

typedef struct EvalQuery {
    Str text;      /* empty: it came as a vector */
    float *vector; /* prepared for the metric; the index's stride, zero beyond its dimensions */
    EvalAnswer *answers;
    size_t answer_count;
} EvalQuery;

typedef struct EvalSet {
    Str name, rows; /* rows: that the answers are of, index_rows */
    int64_t created_ms;
    EvalQuery *queries;
    size_t query_count;
} EvalSet;

/* The cosine, the dot product, or minus the L2 distance of two prepared vectors. */
double eval_score(Metric metric, const float *query, const float *vector, size_t dimensions);
/* In the arena. LH_MISSING "eval_not_found"; answers are brought up to the entry's rows. */
bool eval_load(Indexes *indexes, IndexEntry *entry, Str name, Arena *arena, EvalSet *out, Err *err);
