/* Opens every part in the order of LAYERS and closes them in reverse. */
#pragma once

#include "app/keys.h"

#include "ai/ai.h"
#include "catalog/catalog.h"
#include "ingest/ingest.h"
#include "net/net.h"
#include "query/query.h"
#include "storage/storage.h"
#include "vector/vector.h"

#include "base/base.h"

#include <stdio.h>

typedef struct AppOptions {
    Str config_path; /* empty: no file */
    Str data_dir;    /* --data; empty: the configuration's, else ./data */
    Str listen;      /* --listen HOST:PORT; empty: the configuration's */
    Str log_format;  /* "text" or "json" */
    bool checking;   /* beside a server that may be running: no lock is taken */
} AppOptions;

typedef struct App {
    Config *config;
    Secrets *secrets;
    Buckets *buckets;
    Catalog *catalog;
    Engine *engine;
    Indexes *indexes;
    Agent *agent;
    Profiles *profiles;
    Ai *ai;
    Embedder *embedder; /* for /ai/embed, where it is the built-in one */
    Jobs *jobs;
    TlsServer *tls;   /* NULL: plain HTTP */
    HttpOptions http; /* what the gateway listens with */
    AccessKeys keys;  /* none: who can connect may do everything */
    bool local;       /* only this machine can connect */
    IngestLimits ingest;
    Watch *watch;             /* of a folder; may be NULL */
    int64_t query_timeout_ms; /* of a query that names none */
    int64_t sweep_age_ms;     /* see app_sweep */
    int64_t started_ms;
    const char *check_state; /* a state folder for a check alone, removed at the end; or NULL */
    Arena arena;
} App;

bool app_open(const AppOptions *options, App **out, Err *err);
void app_close(App **app);
void app_stop(App *app, int64_t grace_ms); /* what waits for others ends after it */
/* Starts a job that removes files which nothing names and which are older than sweep_age_ms. */
bool app_sweep(App *app, Err *err);
/* `lakehouse check`: opens and probes each part, one line each to standard output. */
bool app_check(const AppOptions *options, Err *err);
void app_config_template(FILE *to); /* `lakehouse init`: every key, commented */
