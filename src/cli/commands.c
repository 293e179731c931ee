/* Every command that talks to a running server, with its operands and flags. */
#include "cli/commands.h"

#define SQL_FORMATS "table|json|ndjson|csv|arrow|parquet"

static const Option ingest_options[] = {
    {"FILE|DSN",                                    LH_TEXT, AT(IngestValues, file), REQUIRED,
     "a file, - for standard input, or postgresql://..., mysql://..."},
    {"dataset",                              LH_TEXT, AT(IngestValues, dataset), NULL, "its name; else made of the file's"},
    {"format",                                     LH_TEXT, AT(IngestValues, format), NULL, "else told by the file's name",
     .choices = "csv|tsv|json|ndjson|parquet|auto"},
    {"mode",                                             LH_TEXT, AT(IngestValues, mode), "create", "what to do with a dataset that exists",
     .choices = "create|append|replace"},
    {"bucket",         LH_TEXT, AT(IngestValues, bucket), NULL, "home of a new dataset"},
    {"table",                                     LH_TEXT, AT(IngestValues, table), NULL, "of a database: the table to read, or"},
    {"query",          LH_TEXT, AT(IngestValues, query), NULL, "one SELECT to read instead"},
    {"incremental",                                      LH_TEXT, AT(IngestValues, incremental), NULL,
     "a column that only grows: rows from where the last run ended"},
    {"schema_drift",                              LH_TEXT, AT(IngestValues, schema_drift), NULL,
     "when columns differ from the dataset's", .choices = "refuse|widen"},
    {"chunk_rows",                                         LH_INT, AT(IngestValues, chunk_rows), NULL,
     "rows of a commit of an incremental run", .min = 1, .max = 1 << 30},
    {"parallel", LH_INT, AT(IngestValues, parallel), NULL, "parts read side by side", .min = 1,
     .max = 16},
    {0                                       }
};

static const Option sql_options[] = {
    {"STATEMENT",   LH_TEXT, AT(SqlValues, statement), NULL,
     "one SELECT; else read from standard input, or asked for"},
    {"format", LH_TEXT, AT(SqlValues, format), "table", "how rows are written",
     .choices = SQL_FORMATS},
    {"limit",         LH_INT, AT(SqlValues, limit), NULL, "rows at most; else the server's limit", .min = 1,
     .max = 1e15},
    {"timeout_ms",             LH_INT, AT(SqlValues, timeout_ms), NULL, "time at most", .min = 1, .max = 1e9},
    {0     }
};

static const Option datasets_options[] = {
    {"NAME",         LH_TEXT, AT(NameValues, name), NULL, "one dataset: its columns, history and lineage"},
    {0}
};
static const Option lineage_options[] = {
    {"NAME",         LH_TEXT, AT(NameValues, name), REQUIRED, "a dataset"},
    {0}
};
static const Option drop_options[] = {
    {"NAME",         LH_TEXT, AT(NameValues, name), REQUIRED, "a dataset"},
    {"purge", LH_FLAG, AT(NameValues, purge), NULL, "delete its files too"},
    {0     }
};

static const Option index_create_options[] = {
    {"NAME",                              LH_TEXT, AT(IndexValues, index), REQUIRED, "the new index"},
    {"dataset",                     LH_TEXT, AT(IndexValues, dataset), REQUIRED, "the dataset that it searches"},
    {"text",                           LH_TEXT, AT(IndexValues, text_column), NULL, "the column to embed and to show"},
    {"id",                                   LH_TEXT, AT(IndexValues, id_column), NULL, "the column that names a document"},
    {"vector",        LH_TEXT, AT(IndexValues, vector_column), NULL,
     "a column of vectors, instead of embedding"},
    {"model",                           LH_TEXT, AT(IndexValues, model), NULL, "the embedding model"},
    {"bucket",     LH_TEXT, AT(IndexValues, bucket), NULL, "home of the index"},
    {"backend",                              LH_TEXT, AT(IndexValues, vector_backend), NULL, "how vectors are kept",
     .choices = "parquet|lance"},
    {"lance_version",                     LH_TEXT, AT(IndexValues, lance_version), NULL,
     "backend lance: of the table's files, 2.0 unless said", .choices = "2.0|2.2"},
    {"metric",                               LH_TEXT, AT(IndexValues, metric), NULL, "what near means",
     .choices = "cosine|l2|dot"},
    {"embed_pii",                                   LH_FLAG, AT(IndexValues, embed_pii), NULL,
     "index a text that holds personal data"},
    {"chunk_size",LH_INT, AT(IndexValues, chunk_size), NULL, "characters of a chunk", .min = 1,
     .max = 1e6},
    {"chunk_overlap",                         LH_INT, AT(IndexValues, chunk_overlap), NULL, "shared by two chunks",
     .min = 0, .max = 1e6},
    {"detach", LH_FLAG, AT(IndexValues, detach), NULL, "print the job and do not wait for it"},
    {0                           }
};
static const Option index_options_[] = {
    {"NAME",         LH_TEXT, AT(NameValues, name), NULL, "one index: all about it"},
    {0}
};
static const Option index_name_options[] = {
    {"NAME",         LH_TEXT, AT(NameValues, name), REQUIRED, "an index"},
    {0}
};

static const Option index_move_options[] = {
    {"NAME",         LH_TEXT, AT(MoveValues, name), REQUIRED, "an index"},
    {"BUCKET", LH_TEXT, AT(MoveValues, bucket), REQUIRED, "its new home"},
    {0     }
};

static const Option search_options_[] = {
    {"NAME",              LH_TEXT, AT(SearchValues, index), REQUIRED, "the index"},
    {"WORDS",    LH_TEXT, AT(SearchValues, query), REQUIRED, "what to look for"},
    {"k",           LH_INT, AT(SearchValues, k), "10", "hits", .min = 1, .max = 10000},
    {"filter",                   LH_TEXT, AT(SearchValues, filter), NULL, "an SQL predicate that hits must meet"},
    {"mode",         LH_TEXT, AT(SearchValues, mode), NULL, "how to look", .choices = "vector|text|hybrid"},
    {"ef",             LH_INT, AT(SearchValues, ef), NULL, "candidates to look at", .min = 1, .max = 100000},
    {"exact", LH_FLAG, AT(SearchValues, exact), NULL, "compare with every vector"},
    {0                }
};

static const Option evals_options[] = {
    {"INDEX",        LH_TEXT, AT(EvalValues, index), REQUIRED, "an index"},
    {"NAME", LH_TEXT, AT(EvalValues, name), NULL, "one eval set: its queries"},
    {0     }
};
static const Option eval_create_options[] = {
    {"INDEX",        LH_TEXT, AT(EvalValues, index), REQUIRED, "an index"},
    {"NAME", LH_TEXT, AT(EvalValues, name), REQUIRED, "the new eval set"},
    {"queries",      LH_TEXT, AT(EvalValues, queries), NULL, "a file with a query a line, else"},
    {"sample",              LH_INT, AT(EvalValues, sample), "100", "so many of the index's own rows", .min = 1,
     .max = 10000},
    {"seed",       LH_INT, AT(EvalValues, seed), "1", "picks which", .min = 0, .max = 1e15},
    {0        }
};
static const Option eval_drop_options[] = {
    {"INDEX",        LH_TEXT, AT(EvalValues, index), REQUIRED, "an index"},
    {"NAME", LH_TEXT, AT(EvalValues, name), REQUIRED, "an eval set"},
    {0     }
};
static const Option trials_options[] = {
    {"INDEX",          LH_TEXT, AT(TuningValues, index), REQUIRED, "an index"},
    {0}
};
static const Option trials_run_options[] = {
    {"INDEX",          LH_TEXT, AT(TuningValues, index), REQUIRED, "an index"},
    {"config", LH_TEXT, AT(TuningValues, settings), REQUIRED, "what to try: \"ef_search=64 m=16\""},
    {"eval",        LH_TEXT, AT(TuningValues, eval), REQUIRED, "the eval set to measure by"},
    {"k",                LH_INT, AT(TuningValues, k), "10", "hits of each query", .min = 1, .max = 1000},
    {0        }
};
static const Option autotune_cli_options[] = {
    {"INDEX",                                         LH_TEXT, AT(TuningValues, index), REQUIRED, "an index"},
    {"grid",                                LH_TEXT, AT(TuningValues, settings), REQUIRED,
     "values to try: \"ef_search=32,64,128 m=8,16\""},
    {"eval",                                       LH_TEXT, AT(TuningValues, eval), REQUIRED, "the eval set to measure by"},
    {"k",                                               LH_INT, AT(TuningValues, k), "10", "hits of each query", .min = 1, .max = 1000},
    {"min_recall",         LH_REAL, AT(TuningValues, min_recall), "0.95", "less is not good enough",
     .min = 0, .max = 1},
    {"promote",                                      LH_FLAG, AT(TuningValues, promote), NULL,
     "make the quickest that is good enough the champion"},
    {"detach", LH_FLAG, AT(TuningValues, detach), NULL, "print the job and do not wait for it"},
    {0                                         }
};
static const Option promote_options[] = {
    {"INDEX",           LH_TEXT, AT(PromoteValues, index), NULL, "an index: its champion and those before"},
    {"TRIAL", LH_INT, AT(PromoteValues, trial), NULL, "a trial's number: makes it the champion",
     .min = 1, .max = 1e15},
    {0            }
};
static const Option rollback_options[] = {
    {"INDEX",           LH_TEXT, AT(PromoteValues, index), REQUIRED, "an index"},
    {0}
};

static const Option bucket_add_options[] = {
    {"NAME",                             LH_TEXT, AT(BucketValues, name), REQUIRED, "the new bucket"},
    {"root",                   LH_TEXT, AT(BucketValues, root), NULL, "its directory on the server, or"},
    {"endpoint",                          LH_TEXT, AT(BucketValues, endpoint), NULL, "an S3 service: https://host[:port]"},
    {"bucket",                                  LH_TEXT, AT(BucketValues, bucket), NULL, "S3: its name there; else NAME"},
    {"region",         LH_TEXT, AT(BucketValues, region), NULL, "S3: its region"},
    {"prefix",                             LH_TEXT, AT(BucketValues, prefix), NULL, "S3: keep keys below this one"},
    {"secret_ref", LH_TEXT, AT(BucketValues, secret_ref), NULL,
     "S3: NAME of the server's [secrets.NAME], or env:PREFIX of its environment"},
    {"virtual_host",                         LH_FLAG, AT(BucketValues, virtual_host), NULL,
     "S3: the bucket is the first part of the host, not of the path"},
    {0                  }
};
static const Option bucket_remove_options[] = {
    {"NAME",           LH_TEXT, AT(BucketValues, name), REQUIRED, "a bucket; its data stays where it is"},
    {"force", LH_FLAG, AT(BucketValues, force), NULL, "even while datasets or indexes live in it"},
    {0       }
};
static const Option bucket_errors_options[] = {
    {"bucket",         LH_TEXT, AT(BucketValues, name), NULL, "of one bucket"},
    {"since", LH_TEXT, AT(BucketValues, since), NULL, "from this time on, as 2026-01-02T03:04:05Z"},
    {"limit",            LH_INT, AT(BucketValues, limit), "50", "events, newest first", .min = 1,
     .max = 10000},
    {0               }
};
static const Option bucket_health_options[] = {
    {"minutes",        LH_INT, AT(BucketValues, minutes), "5", "how far back to look", .min = 1,
     .max = 100000},
    {0}
};

static const Option put_options[] = {
    {"FILE",           LH_TEXT, AT(ObjectValues, file), REQUIRED, "the file; - is standard input"},
    {"BUCKET/KEY", LH_TEXT, AT(ObjectValues, object), REQUIRED, "a key that ends in / is a folder"},
    {0       }
};
static const Option get_options[] = {
    {"BUCKET/KEY",     LH_TEXT, AT(ObjectValues, object), REQUIRED, "the object"},
    {"FILE", LH_TEXT, AT(ObjectValues, file), NULL, "where to; else standard output"},
    {0       }
};
static const Option ls_options[] = {
    {"BUCKET[/PREFIX]", LH_TEXT, AT(ObjectValues, object), REQUIRED, "what to list"},
    {"recursive",  LH_FLAG, AT(ObjectValues, recursive), NULL, "all below it, not one level"},
    {0        }
};
static const Option rm_options[] = {
    {"BUCKET/KEY",     LH_TEXT, AT(ObjectValues, object), REQUIRED, "the object"},
    {0}
};

static const Option profiles_options[] = {
    {"ID",           LH_TEXT, AT(NameValues, name), NULL, "one profile: all about it"},
    {0}
};
static const Option profile_options_[] = {
    {"ID",           LH_TEXT, AT(NameValues, name), REQUIRED, "a profile"},
    {0}
};

static const Option jobs_options[] = {
    {"ID",           LH_TEXT, AT(NameValues, name), NULL, "one job: all about it"},
    {0}
};
static const Option job_options[] = {
    {"ID",           LH_TEXT, AT(NameValues, name), REQUIRED, "a job"},
    {0}
};

#define ROW(name_, help_, options_, operands_, Values, call_)                                      \
    {                                                                                              \
        .name = name_, .help = help_, .options = options_, .operands = operands_,                  \
        .values_size = sizeof(Values), .call = call_                                               \
    }
#define PLAIN(name_, help_, call_)                                                                 \
    { .name = name_, .help = help_, .call = call_ }

const Command cli_commands[] = {
    ROW("ingest", "loads a file, or a database's table, into a dataset", ingest_options, 1,
        IngestValues, cmd_ingest),
    ROW("sql", "runs a statement, or asks for statements", sql_options, 1, SqlValues, cmd_sql),
    ROW("datasets", "lists datasets, or shows one", datasets_options, 1, NameValues, cmd_datasets),
    ROW("lineage", "shows where a dataset came from and what is made of it", lineage_options, 1,
        NameValues, cmd_lineage),
    ROW("drop", "takes a dataset out of the catalog", drop_options, 1, NameValues, cmd_drop),
    ROW("index", "lists vector indexes, or shows one", index_options_, 1, NameValues, cmd_index),
    ROW("index create", "builds a vector index over a dataset", index_create_options, 1,
        IndexValues, cmd_index_create),
    {.name = "index list",
                         .help = "lists vector indexes",
                         .call = cmd_index,
                         .hidden = true,
                         .values_size = sizeof(NameValues)},
    ROW("index show", "shows one index", index_name_options, 1, NameValues, cmd_index),
    ROW("index refresh", "brings an index to its dataset's version", index_name_options, 1,
        NameValues, cmd_index_refresh),
    ROW("index compact", "builds an index anew with the rows put and deleted since",
        index_name_options, 1, NameValues, cmd_index_compact),
    ROW("index move", "moves an index to another bucket", index_move_options, 2, MoveValues,
        cmd_index_move),
    ROW("index drop", "deletes an index", index_name_options, 1, NameValues, cmd_index_drop),
    ROW("search", "searches an index", search_options_, 2, SearchValues, cmd_search),
    ROW("eval", "lists an index's eval sets, or shows one", evals_options, 2, EvalValues, cmd_eval),
    ROW("eval create", "makes an eval set, with its exact answers", eval_create_options, 2,
        EvalValues, cmd_eval_create),
    ROW("eval drop", "deletes an eval set", eval_drop_options, 2, EvalValues, cmd_eval_drop),
    ROW("trials", "lists what was tried on an index", trials_options, 1, TuningValues, cmd_trials),
    ROW("trials run", "tries a configuration: recall, latency, build time, memory",
        trials_run_options, 1, TuningValues, cmd_trials_run),
    ROW("autotune", "tries every combination of a grid", autotune_cli_options, 1, TuningValues,
        cmd_autotune),
    ROW("promote", "lists champions, shows an index's, or promotes a trial", promote_options, 2,
        PromoteValues, cmd_promote),
    ROW("promote rollback", "makes the champion before the champion again", rollback_options, 1,
        PromoteValues, cmd_promote_rollback),
    PLAIN("agent", "shows what the tuning agent does, did and will do", cmd_agent),
    ROW("agent enqueue", "lets the agent tune an index next", index_name_options, 1, NameValues,
        cmd_agent_enqueue),
    PLAIN("agent pause", "stops the agent, and the trial that it runs", cmd_agent_pause),
    PLAIN("agent resume", "lets the agent go on", cmd_agent_resume),
    PLAIN("bucket", "lists buckets, and whether they answer", cmd_buckets),
    {.name = "bucket list",
                         .help = "lists buckets, and whether they answer",
                         .call = cmd_buckets,
                         .hidden = true},
    ROW("bucket add", "adds a bucket to a running server", bucket_add_options, 1, BucketValues,
        cmd_bucket_add),
    ROW("bucket remove", "takes a bucket out of the server", bucket_remove_options, 1, BucketValues,
        cmd_bucket_remove),
    ROW("bucket errors", "shows failed operations, newest first", bucket_errors_options, 0,
        BucketValues, cmd_bucket_errors),
    ROW("bucket health", "counts each bucket's recent failures", bucket_health_options, 0,
        BucketValues, cmd_bucket_health),
    ROW("put", "stores a file as an object", put_options, 2, ObjectValues, cmd_put),
    ROW("get", "fetches an object", get_options, 2, ObjectValues, cmd_get),
    ROW("ls", "lists objects", ls_options, 1, ObjectValues, cmd_ls),
    ROW("rm", "deletes an object", rm_options, 1, ObjectValues, cmd_rm),
    ROW("profile", "lists model profiles, or shows one", profiles_options, 1, NameValues,
        cmd_profile),
    PLAIN("profile active", "shows who holds the GPU slot", cmd_profile_active),
    ROW("profile activate", "gives a profile the GPU slot", profile_options_, 1, NameValues,
        cmd_profile_activate),
    ROW("profile deactivate", "empties the slot, if that profile holds it", profile_options_, 1,
        NameValues, cmd_profile_deactivate),
    PLAIN("vram", "shows the GPUs' memory and the models in it", cmd_vram),
    ROW("jobs", "lists jobs, or shows one", jobs_options, 1, NameValues, cmd_jobs),
    ROW("jobs cancel", "cancels a job", job_options, 1, NameValues, cmd_jobs_cancel),
    {0}
};
