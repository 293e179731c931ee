/* Vector indexes over datasets: chunk, embed, store, build, search. Everything here is written
 * against IndexOps (index.h); the one resolver from a name to an opened backend is indexes_find.
 * Thread safe: readers of an index never wait for its builder. */
#pragma once

#include "ai/ai.h"
#include "catalog/catalog.h"
#include "query/query.h"
#include "storage/storage.h"

#include "base/base.h"

#define VECTOR_K_MAX 10000
#define VECTOR_EF_MAX 100000

typedef struct Indexes Indexes;

typedef struct IndexSpec { /* POST /vectors/indexes; see index_options for defaults and limits */
    Str index, dataset, id_column, text_column, vector_column, model, bucket, vector_backend,
        metric, lance_version;
    const Json *chunk;               /* {"size","overlap"} */
    int64_t m, ef_construction;      /* backend "parquet" */
    int64_t partitions, sub_vectors; /* backend "lance"; 0: by the number of rows, the dimension */
    bool embed_pii;                  /* also a column that holds personal data */
} IndexSpec;
extern const Option index_options[];

/* Scans every bucket for indexes and maps their champions; a broken one is kept and says why. */
/* ai may be NULL: then the built-in model alone. Nothing is asked of a model server here. */
bool indexes_open(Buckets *buckets, Catalog *catalog, Engine *engine, Ai *ai, Indexes **out,
                  Err *err);
void indexes_close(Indexes **indexes);
/* The most memory that building one graph may take; half of the machine's when it is not called.
 * Before builds start. */
void indexes_limit_build(Indexes *indexes, int64_t bytes_max);

/* Checks what can be checked at once, so that a bad request is answered before a job starts. */
bool index_check(Indexes *indexes, const IndexSpec *spec, Err *err);
/* The whole build; runs inside a job. *result gets the index's JSON. */
bool index_create(Indexes *indexes, const IndexSpec *spec, Job *job, Text *result, Err *err);
/* Brings it to its dataset's version, embedding only what is new; runs inside a job (may be NULL).
 * LH_CONFLICT "index_busy". */
bool index_refresh(Indexes *indexes, Str name, Job *job, Text *result, Err *err);
/* Moves it to another bucket with its trials, eval sets and promotions; searches go on. Runs inside
 * a job. LH_CONFLICT "index_busy", "index_changed", "index_exists". */
bool index_move(Indexes *indexes, Str name, Str bucket, Job *job, Text *result, Err *err);
bool index_drop(Indexes *indexes, Str name, Err *err);

/* PUT and DELETE /vectors/indexes/{index}/rows. Durable when they return, seen by the next search.
 * *upkeep: so much was put and deleted that index_upkeep should run. */
#define ROWS_MAX 10000        /* in a request */
#define ROWS_CHUNKS_MAX 20000 /* that their texts make */
#define ROW_ID_MAX 4096       /* bytes */
typedef struct RowsSpec {
    const Json *rows, *doc_ids; /* whichever the request has */
} RowsSpec;
extern const Option rows_put_options[], rows_delete_options[];
bool index_rows_put(Indexes *indexes, Str name, const RowsSpec *spec, Text *result, bool *upkeep,
                    Err *err);
bool index_rows_delete(Indexes *indexes, Str name, const RowsSpec *spec, Text *result, bool *upkeep,
                       Err *err);
/* A new build of what a search sees, nothing embedded; runs inside a job (may be NULL). LH_CONFLICT
 * "index_busy". */
bool index_fold(Indexes *indexes, Str name, Job *job, Text *result, Err *err);
/* That where it is due, or else its log of rows made shorter; as above. */
bool index_upkeep(Indexes *indexes, Str name, Job *job, Text *result, Err *err);
bool indexes_write(Indexes *indexes, JsonWriter *w, Err *err);
bool index_write(Indexes *indexes, Str name, JsonWriter *w, Err *err);
bool indexes_bucket_in_use(Indexes *indexes, Str bucket, Err *err);
/* The names of the indexes that a dataset feeds, whoever asks; and whether who asks may name one.
 */
void indexes_of_dataset(Indexes *indexes, Str dataset, Arena *arena, Str **names, size_t *count);
bool index_is_known(Indexes *indexes, Str name);

/* Removes files below vectors/ that no index names and that are older than before_ms. */
bool indexes_sweep(Indexes *indexes, Str bucket, int64_t before_ms, int64_t *removed, Err *err);

typedef struct Search { /* POST /vectors/search */
    Str index, query, filter, mode;
    const Json *vector;                           /* an array or JSON_FLOATS */
    int64_t k, ef, nprobes, refine, per_document; /* ef, nprobes, refine 0: the index's own */
    bool exact, rows;
    bool (*cancelled)(void *context);
    void *context;
    const struct Profile *within; /* whose scope holds; NULL: none */
    const Str *only;              /* the datasets that it may know of; NULL: all */
    size_t only_count;
} Search;
extern const Option search_options[];       /* of a body */
extern const Option search_lance_options[]; /* the same where the path names the index */
extern const Option search_raw_options[];   /* of a query string, beside a body of raw floats */
/* *result gets the JSON of API.md "Vectors". LH_IMPOSSIBLE "wrong_dimension" and the like. */
bool index_search(Indexes *indexes, const Search *search, Text *result, Err *err);
/* The same hits for code of ours, in the arena. */
bool index_search_hits(Indexes *indexes, const Search *search, Arena *arena, VectorHits *out,
                       Err *err);
/* vector_search() in SQL: a VectorSearchFn, whose context is the Indexes. */
bool search_in_sql(void *indexes, const VectorCall *call, Arena *arena, VectorHits *out, Err *err);

/* Whether a search for so many vectors, which may be missing yet, takes some hundred microseconds
 * at most and waits for no disk, server or model: then an event thread may run it. */
bool index_search_is_brief(Indexes *indexes, const Search *search, size_t vectors);

bool index_dimensions(Indexes *indexes, Str name, int64_t *out, Err *err);

/* /vectors/lance/...: what only indexes of backend "lance" can. LH_CONFLICT "wrong_backend" for
 * others. */
typedef struct LanceIndexSpec {
    int64_t num_partitions, num_sub_vectors, num_bits, max_iters; /* 0: as it was, or the default */
} LanceIndexSpec;
extern const Option lance_index_options[];
bool index_lance_check(Indexes *indexes, Str index, Err *err);
bool index_lance_stats(Indexes *indexes, Str index, Text *result, Err *err);
/* LH_MISSING "document_not_found". */
bool index_lance_doc(Indexes *indexes, Str index, Str doc_id, Text *result, Err *err);
/* `rows`: [{"doc_id","text","vector"?}]. One version more, nothing is written anew. */
bool index_lance_append(Indexes *indexes, Str index, const RowsSpec *spec, Text *result,
                        bool *upkeep, Err *err);
/* A job: both indexes built anew. */
bool index_lance_index(Indexes *indexes, Str index, const LanceIndexSpec *spec, Job *job,
                       Text *result, Err *err);
/* fold.c. A job: the same rows and vectors in the other backend. LH_CONFLICT "already_lance",
 * "already_parquet". */
typedef struct MigrateSpec {
    Str to, lance_version;
} MigrateSpec;
extern const Option migrate_options[];
bool index_migrate(Indexes *indexes, Str index, const MigrateSpec *spec, Job *job, Text *result,
                   Err *err);

/* PUT /vectors/evals/{idx}/{name} and its siblings. */
typedef struct EvalSpec {
    const Json *queries;
    int64_t sample, seed;
} EvalSpec;
extern const Option eval_options[];
bool index_eval_put(Indexes *indexes, Str index, Str name, const EvalSpec *spec, Text *result,
                    Err *err);
bool index_eval_write(Indexes *indexes, Str index, Str name, Text *result, Err *err);
bool index_evals_write(Indexes *indexes, Str index, Text *result, Err *err);
bool index_eval_drop(Indexes *indexes, Str index, Str name, Err *err);

/* POST /vectors/trials/{idx}: one trial, journaled before it is answered. job may be NULL. */
typedef struct TrialSpec {
    const Json *config;
    Str eval;
    int64_t k;
} TrialSpec;
extern const Option trial_options[];
bool index_trial(Indexes *indexes, Str index, const TrialSpec *spec, Job *job, Text *result,
                 Err *err);
bool index_trials_write(Indexes *indexes, Str index, Text *result, Err *err);

/* POST /vectors/autotune/{idx}: every combination of a grid, each a trial; the quickest that keeps
 * min_recall is promoted if asked. */
typedef struct AutotuneSpec {
    const Json *grid; /* {"ef_search":[64,128],"m":[16]} */
    Str eval;
    int64_t k;
    double min_recall;
    bool promote;
} AutotuneSpec;
extern const Option autotune_options[];
bool index_autotune(Indexes *indexes, Str index, const AutotuneSpec *spec, Job *job, Text *result,
                    Err *err);

/* The champion of each index: GET /vectors/promotions and below. A promotion is in force for the
 * next search once this returns; `by` says who asked. */
bool index_promote(Indexes *indexes, Str index, int64_t trial, Str by, Job *job, Text *result,
                   Err *err);
bool index_rollback(Indexes *indexes, Str index, Job *job, Text *result, Err *err);
bool promotions_write(Indexes *indexes, Text *result, Err *err);
bool index_promotions_write(Indexes *indexes, Str index, Text *result, Err *err);

/* The agent that tunes indexes by itself: one thread, at the lowest priority, that takes an index
 * from a queue, tries configurations on it (propose.h), and promotes one that is quicker and finds
 * as much. It works while nobody waits for a search, within a number of trials an hour, and on one
 * index only while it holds the lease vectors/<index>/agent.lease, so that two servers do not tune
 * one index at once. What it tried is in the index's journal, so that a restart goes on from there.
 * Thread rule: everything here is thread safe. */
typedef struct AgentOptions { /* [agent] */
    bool enabled, refresh;
    int64_t period_s; /* between looks at every index; 0: none */
    int64_t max_trials_per_hour, cooldown_s, trials_per_visit, lease_s;
    double min_recall, min_gain;
    int64_t k, sample; /* queries of the eval set that it makes where there is none named `eval` */
    Str eval;
} AgentOptions;
extern const Option agent_options[];

typedef struct Agent Agent;
/* Subscribes to the catalog: what is written to a dataset wakes the agent for its indexes. */
bool agent_open(const AgentOptions *options, Indexes *indexes, Catalog *catalog, Agent **out,
                Err *err);
void agent_close(Agent **agent); /* cancels a trial that runs */
/* LH_CONFLICT "agent_disabled"; LH_MISSING "index_not_found". */
bool agent_enqueue(Agent *agent, Str index, Err *err);
void agent_pause(Agent *agent, bool paused); /* a trial that runs is given up */
void agent_write(Agent *agent, JsonWriter *w);

typedef struct VectorCounts {
    int64_t indexes, searches, memory_bytes;
} VectorCounts;
void indexes_counts(Indexes *indexes, VectorCounts *out);

/* Model profiles: a generator, an embedder, a bucket and the datasets and indexes that may be
 * searched, under one name. Each is an object of the primary bucket,
 * _lakehouse/profiles/<id>.json, read anew each time, so that several servers agree. Activating one
 * gives it the GPU slot of ai.h and makes its bucket when it is missing. Thread safe. */
#define PROFILE_ID_MAX 48
typedef struct ProfileSpec { /* PUT /vectors/profile/{id} */
    Str id, ollama_name, embed_model, bucket, vector_backend, description;
    const Json *datasets, *indexes; /* lists of names; NULL: all */
    const Json *hnsw;               /* a configuration; its ef_search is that of the searches */
} ProfileSpec;
extern const Option profile_options[];

typedef struct ProfilesOptions {
    Indexes *indexes;
    Ai *ai;
    Str root;              /* folder of the profiles' own buckets */
    const char *slot_path; /* file of this machine: what the slot holds */
} ProfilesOptions;
typedef struct Profiles Profiles;
bool profiles_open(const ProfilesOptions *options, Profiles **out, Err *err);
void profiles_close(Profiles **profiles);
Slot *profiles_slot(Profiles *profiles);
bool profile_put(Profiles *profiles, Str id, const ProfileSpec *spec, bool *created, Text *result,
                 Err *err);
bool profile_write(Profiles *profiles, Str id, Text *result, Err *err);
bool profiles_write(Profiles *profiles, Text *result, Err *err);
bool profile_drop(Profiles *profiles, Str id, Err *err); /* LH_CONFLICT "profile_active" */
/* *result: the slot as it is then, and what was swapped. */
bool profile_activate(Profiles *profiles, Str id, Text *result, Err *err);
bool profile_deactivate(Profiles *profiles, Str id, Text *result, Err *err);
bool profile_active_write(Profiles *profiles, Text *result, Err *err);
/* Until profile_leave the calling thread works for somebody who is bound to this profile, which the
 * arena keeps: an index or a dataset that is outside of the profile's scope is LH_DENIED
 * "out_of_scope" wherever it is named, and not listed; so is another profile. LH_DENIED
 * "profile_not_found". */
bool profile_enter(Profiles *profiles, Str id, Arena *arena, Err *err);
void profile_leave(void);
/* index_search within the profile's scope: LH_DENIED "out_of_scope". */
bool profile_search(Profiles *profiles, Str id, const Search *search, Text *result, Err *err);
