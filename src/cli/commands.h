/* What each command's options fill, and the functions behind the rows of commands.c. */
#pragma once

#include "cli/cli.h"
#include "cli/session.h"
#include "cli/table.h"

typedef struct IngestValues {
    Str file, dataset, format, mode, bucket;
    Str table, query, incremental, schema_drift;
    int64_t parallel, chunk_rows;
} IngestValues;
typedef struct SqlValues {
    Str statement, format;
    int64_t limit, timeout_ms;
} SqlValues;
typedef struct NameValues {
    Str name;
    bool force, purge;
} NameValues;
typedef struct MoveValues {
    Str name, bucket;
} MoveValues;
typedef struct IndexValues {
    Str index, dataset, id_column, text_column, vector_column, model, bucket, vector_backend,
        lance_version, metric;
    int64_t chunk_size, chunk_overlap;
    bool embed_pii, detach;
} IndexValues;
typedef struct SearchValues {
    Str index, query, filter, mode;
    int64_t k, ef;
    bool exact;
} SearchValues;
typedef struct EvalValues {
    Str index, name, queries;
    int64_t sample, seed;
} EvalValues;
typedef struct TuningValues {
    Str index, settings, eval;
    int64_t k;
    double min_recall;
    bool promote, detach;
} TuningValues;
typedef struct PromoteValues {
    Str index;
    int64_t trial; /* 0: show */
} PromoteValues;
typedef struct BucketValues {
    Str name, root, since;
    Str bucket, endpoint, region, prefix, secret_ref;
    bool virtual_host;
    bool force;
    int64_t limit, minutes;
} BucketValues;
typedef struct ObjectValues {
    Str file, object;
    bool recursive;
} ObjectValues;

bool cmd_ingest(Cli *cli, const void *values, Err *err);
bool cmd_sql(Cli *cli, const void *values, Err *err);
bool cmd_datasets(Cli *cli, const void *values, Err *err);
bool cmd_lineage(Cli *cli, const void *values, Err *err);
bool cmd_drop(Cli *cli, const void *values, Err *err);
bool cmd_index_create(Cli *cli, const void *values, Err *err);
bool cmd_index(Cli *cli, const void *values, Err *err);
bool cmd_index_drop(Cli *cli, const void *values, Err *err);
bool cmd_index_refresh(Cli *cli, const void *values, Err *err);
bool cmd_index_compact(Cli *cli, const void *values, Err *err);
bool cmd_index_move(Cli *cli, const void *values, Err *err);
bool cmd_search(Cli *cli, const void *values, Err *err);
bool cmd_eval(Cli *cli, const void *values, Err *err);
bool cmd_eval_create(Cli *cli, const void *values, Err *err);
bool cmd_eval_drop(Cli *cli, const void *values, Err *err);
bool cmd_trials(Cli *cli, const void *values, Err *err);
bool cmd_trials_run(Cli *cli, const void *values, Err *err);
bool cmd_autotune(Cli *cli, const void *values, Err *err);
bool cmd_promote(Cli *cli, const void *values, Err *err);
bool cmd_promote_rollback(Cli *cli, const void *values, Err *err);
bool cmd_agent(Cli *cli, const void *values, Err *err);
bool cmd_agent_enqueue(Cli *cli, const void *values, Err *err);
bool cmd_agent_pause(Cli *cli, const void *values, Err *err);
bool cmd_agent_resume(Cli *cli, const void *values, Err *err);
bool cmd_buckets(Cli *cli, const void *values, Err *err);
bool cmd_bucket_add(Cli *cli, const void *values, Err *err);
bool cmd_bucket_remove(Cli *cli, const void *values, Err *err);
bool cmd_bucket_errors(Cli *cli, const void *values, Err *err);
bool cmd_bucket_health(Cli *cli, const void *values, Err *err);
bool cmd_put(Cli *cli, const void *values, Err *err);
bool cmd_get(Cli *cli, const void *values, Err *err);
bool cmd_ls(Cli *cli, const void *values, Err *err);
bool cmd_rm(Cli *cli, const void *values, Err *err);
bool cmd_profile(Cli *cli, const void *values, Err *err);
bool cmd_profile_active(Cli *cli, const void *values, Err *err);
bool cmd_profile_activate(Cli *cli, const void *values, Err *err);
bool cmd_profile_deactivate(Cli *cli, const void *values, Err *err);
bool cmd_vram(Cli *cli, const void *values, Err *err);
bool cmd_jobs(Cli *cli, const void *values, Err *err);
bool cmd_jobs_cancel(Cli *cli, const void *values, Err *err);

/* client_index.c: starts a job and follows it; without sections (table.h) prints its name alone. */
bool run_job(Cli *cli, const char *method, Str path, Str body, const Section *sections, Err *err);

/* sql_prompt.c: asks for statements on the terminal until the user leaves. */
bool sql_prompt(Cli *cli, const SqlValues *values, Err *err);
bool sql_run(Cli *cli, const SqlValues *values, Str statement, Err *err);
/* Where the first statement ends: at a `;` outside of quotes and comments. False: none does. */
bool sql_statement_end(Str text, size_t *at);

/* transfer.c: files, as sources and sinks of calls, with a progress bar. */
bool send_file(Cli *cli, Str file, HttpCall call, HttpReply *out,
               Err *err);                                       /* "-": standard input */
bool receive_file(Cli *cli, Str file, HttpCall call, Err *err); /* empty or "-": standard output */
