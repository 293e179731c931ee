#include "app/settings.h"

#include <stdio.h>
#include <string.h>

typedef struct GatewaySettings {
    Str host, tls_cert, tls_key;
    int64_t port, event_threads, pool_threads, connections_max;
    int64_t head_timeout_ms, idle_timeout_ms, stall_timeout_ms;
} GatewaySettings;

static const Option gateway_options[] = {
    {"host",                                                                                   LH_TEXT, AT(GatewaySettings, host), "127.0.0.1", "address to listen on"},
    {"port",                                                                      LH_INT, AT(GatewaySettings, port), "3100", "0 picks a free one", .max = 65535},
    {"tls_cert",                                                                             LH_TEXT, AT(GatewaySettings, tls_cert), NULL,
     "PEM file: the certificate and those between it and its authority. With it, HTTPS alone"},
    {"tls_key",                                                                                        LH_TEXT, AT(GatewaySettings, tls_key), NULL, "PEM file: the certificate's key"},
    {"event_threads",             LH_INT, AT(GatewaySettings, event_threads), "2", "threads that move bytes",
     .min = 1, .max = 64},
    {"pool_threads",                                                                                   LH_INT, AT(GatewaySettings, pool_threads), "64",
     "threads that run requests, at most", .min = 1, .max = 1024},
    {"connections_max",                                                                    LH_INT, AT(GatewaySettings, connections_max), "10000",
     "clients at once; more are turned away", .min = 1, .max = 1000000},
    {"head_timeout_ms",                                                                                        LH_INT, AT(GatewaySettings, head_timeout_ms), "10000",
     "time to send a request's head", .min = 100, .max = 3600000},
    {"idle_timeout_ms",     LH_INT, AT(GatewaySettings, idle_timeout_ms), "60000",
     "time between requests of a connection", .min = 100, .max = 86400000},
    {"stall_timeout_ms",                                                                               LH_INT, AT(GatewaySettings, stall_timeout_ms), "20000",
     "time that a body may stand still", .min = 100, .max = 3600000},
    {0},
};

static const Option storage_options[] = {
    {"data_dir",                                                                LH_TEXT, AT(StorageSettings, data_dir), "data",
     "folder of the buckets that name no root of their own"},
    {"state_dir",                                                       LH_TEXT, AT(StorageSettings, state_dir), NULL,
     "folder of this machine for the read cache and what an unreachable primary cannot take; "
     "empty: data_dir/state"},
    {"rescue_bucket",                                                                   LH_TEXT, AT(StorageSettings, rescue_bucket), "rescue",
     "bucket that reads fall back to; empty: none"},
    {"profile_root",                                                                         LH_TEXT, AT(StorageSettings, profile_root), NULL,
     "folder of the buckets that profiles are given; empty: data_dir/profiles"},
    {"shared",            LH_FLAG, AT(StorageSettings, shared), "false",
     "other servers work on the same buckets"},
    {"sweep_age_s",                                                               LH_INT, AT(StorageSettings, sweep_age_s), "86400",
     "at start, files that nothing names go when they are older; 0: never", .max = 1e9},
    {"cache_mib",                                                   LH_INT, AT(StorageSettings, cache_mib), "10240",
     "disk for what is read from S3 buckets", .min = 16, .max = 1 << 30},
    {"breaker_failures",                                                           LH_INT, AT(StorageSettings, breaker_failures), "5",
     "failures in a row after which a bucket is no longer asked", .min = 1, .max = 1000},
    {"breaker_probe_ms",                                                       LH_INT, AT(StorageSettings, breaker_probe_ms), "2000",
     "time between looks whether it is back", .min = 10, .max = 3600000},
    {"s3_part_mib",                                                                 LH_INT, AT(StorageSettings, s3_part_mib), "8",
     "larger objects go to S3 in parts of this size", .min = 5, .max = 1024},
    {"s3_parallel",                                                                         LH_INT, AT(StorageSettings, s3_parallel), "4",
     "transfers of one object at a time", .min = 1, .max = 64},
    {"s3_connect_timeout_ms",LH_INT, AT(StorageSettings, s3_connect_timeout_ms), "3000",
     "time to connect to S3", .min = 10, .max = 3600000},
    {"s3_answer_timeout_ms",                                                            LH_INT, AT(StorageSettings, s3_answer_timeout_ms), "10000",
     "time to the first byte of S3's answer", .min = 10, .max = 3600000},
    {"s3_stall_timeout_ms", LH_INT, AT(StorageSettings, s3_stall_timeout_ms), "10000",
     "time that a transfer with S3 may stand still", .min = 10, .max = 3600000},
    {"s3_retry_ms",                                                                  LH_INT, AT(StorageSettings, s3_retry_ms), "15000",
     "time after which a failed S3 request is not tried again", .max = 3600000},
    {0                                                      },
};

static const Option bucket_options[] = {
    {"name",            LH_TEXT, AT(BucketOptions, name), NULL, "name of the bucket"},
    {"backend", LH_TEXT, AT(BucketOptions, backend), "local", "kind of bucket",
     .choices = "local|s3"},
    {"root",             LH_TEXT, AT(BucketOptions, root), NULL, "folder of a local bucket"},
    {"bucket",                 LH_TEXT, AT(BucketOptions, bucket), NULL, "S3: its name there"},
    {"endpoint",          LH_TEXT, AT(BucketOptions, endpoint), NULL, "S3: https://host[:port]"},
    {"region",         LH_TEXT, AT(BucketOptions, region), "us-east-1", "S3: its region"},
    {"prefix", LH_TEXT, AT(BucketOptions, prefix), NULL, "S3: keys begin with it and a '/'"},
    {"path_style",                 LH_FLAG, AT(BucketOptions, path_style), "true",
     "S3: the bucket stands in the path; else it is the first part of the host"},
    {"secret_ref",LH_TEXT, AT(BucketOptions, secret_ref), NULL,
     "S3: NAME of [secrets.NAME], or env:PREFIX"},
    {0           },
};

static const Option catalog_options[] = {
    {"pointer",                      LH_TEXT, AT(CatalogSettings, pointer), "objects",
     "where commits are decided: by objects, or in PostgreSQL", .choices = "objects|postgres"},
    {"dsn",            LH_TEXT, AT(CatalogSettings, dsn), NULL, "postgresql://user@host/database"},
    {"name",                     LH_TEXT, AT(CatalogSettings, name), "lakehouse", "of the catalog in PostgreSQL"},
    {0},
};

static const Option ingest_options[] = {
    {"allow_hosts",      LH_TEXT, AT(IngestSettings, limits.allow_hosts), NULL,
     "hosts that databases may be read from, comma separated; empty: any"},
    {"connect_timeout_ms", LH_INT, AT(IngestSettings, limits.connect_timeout_ms), "10000",
     "time to connect to a database", .min = 100, .max = 3600000},
    {"idle_timeout_ms",              LH_INT, AT(IngestSettings, limits.idle_timeout_ms), "60000",
     "time that a database may say nothing", .min = 100, .max = 86400000},
    {"watch",                  LH_JSON, AT(IngestSettings, watch), NULL, "see [ingest.watch]"},
    {0           },
};

static const Option watch_options[] = {
    {"dir",            LH_TEXT, AT(WatchOptions, dir), NULL, "folder whose files are ingested as they come"},
    {"dataset", LH_TEXT, AT(WatchOptions, dataset), "{name}",
     "their dataset; {name} is the file's without its endings"},
    {"mode",            LH_TEXT, AT(WatchOptions, mode), "append", "what to do with what is there",
     .choices = "append|replace"},
    {"bucket",                LH_TEXT, AT(WatchOptions, bucket), "primary", "home of new datasets"},
    {0        },
};

static const Option query_options[] = {
    {"threads",         LH_INT, AT(QuerySettings, threads), "0", "0: all cores", .max = 1024},
    {"memory_mib", LH_INT, AT(QuerySettings, memory_mib), "0", "0: a quarter of the machine",
     .max = 1 << 24},
    {"spill_max_mib",              LH_INT, AT(QuerySettings, spill_max_mib), "16384",
     "disk for sorts and joins beyond memory", .max = 1 << 24},
    {"queries_max",      LH_INT, AT(QuerySettings, queries_max), "16", "queries at once", .min = 1,
     .max = 1024},
    {"timeout_ms",      LH_INT, AT(QuerySettings, timeout_ms), "30000",
     "time of a query that names none", .min = 1, .max = 86400000},
    {0},
};

static const Option limits_options[] = {
    {"index_build_mib",  LH_INT, AT(LimitsSettings, index_build_mib), "0",
     "memory to build one vector index; 0: half of the machine", .max = 1 << 24},
    {0},
};

typedef struct LogSettings {
    Str level, format;
} LogSettings;

static const Option log_options[] = {
    {"level",         LH_TEXT, AT(LogSettings, level), "info", "least level that is written",
     .choices = "debug|info|warn|error"},
    {"format", LH_TEXT, AT(LogSettings, format), "text", "of log lines", .choices = "text|json"},
    {0        },
};

static LogLevel log_level_of(Str name) {
    return str_is(name, "debug")   ? LOG_DEBUG
           : str_is(name, "warn")  ? LOG_WARN
           : str_is(name, "error") ? LOG_ERROR
                                   : LOG_INFO;
}

/* HOST:PORT, where an IPv6 host stands in brackets. */
static bool read_listen(Str listen, GatewaySettings *gateway, Err *err) {
    size_t colon = listen.len;
    uint64_t port;
    while (colon > 0 && listen.data[colon - 1] != ':') colon--;
    if (colon < 2 || !str_to_u64(str_slice(listen, colon, listen.len), &port) || port > 65535)
        return err_set(err, LH_INVALID, "'%.*s' is not HOST:PORT", SHOW(listen));
    gateway->host = str_slice(listen, 0, colon - 1);
    if (str_starts(gateway->host, STR("[")) && str_ends(gateway->host, STR("]")))
        gateway->host = str_slice(gateway->host, 1, gateway->host.len - 1);
    gateway->port = (int64_t)port;
    return true;
}

typedef struct AuthSettings {
    const Json *keys;
} AuthSettings;

static const Option auth_options[] = {
    {"keys",           LH_JSON, AT(AuthSettings, keys), NULL, "see [[auth.keys]]"},
    {0},
};

static bool read_auth(Config *config, Arena *arena, Settings *out, Err *err) {
    AuthSettings auth = {0};
    return config_section(config, "auth", auth_options, &auth, err) &&
           keys_read(auth.keys, arena, &out->keys, err);
}

static bool is_loopback(Str host) {
    return str_starts(host, STR("127.")) || str_is(host, "::1") || str_is(host, "localhost");
}

static bool read_gateway(const AppOptions *options, Config *config, Settings *out, Err *err) {
    GatewaySettings gateway = {0};
    if (!config_section(config, "gateway", gateway_options, &gateway, err)) return false;
    if (options->listen.len && !read_listen(options->listen, &gateway, err)) return false;
    out->local = is_loopback(gateway.host);
    if (!out->local && out->keys.len == 0)
        return err_set(err, LH_DENIED,
                       "no access keys are configured, so that only this machine may connect: "
                       "listen on 127.0.0.1 instead of '%.*s', or make a key with 'lakehouse key "
                       "new' and put what it prints into the configuration",
                       SHOW(gateway.host));
    if (!gateway.tls_cert.len != !gateway.tls_key.len)
        return err_set(err, LH_INVALID, "[gateway] tls_cert and tls_key go together: %s is not set",
                       gateway.tls_cert.len ? "tls_key" : "tls_cert");
    out->tls_cert = gateway.tls_cert;
    out->tls_key = gateway.tls_key;
    out->http = http_options_default;
    out->http.host = str_is(gateway.host, "localhost") ? STR("127.0.0.1") : gateway.host;
    out->http.port = (int)gateway.port;
    out->http.event_threads = (int)gateway.event_threads;
    out->http.pool_threads_max = (int)gateway.pool_threads;
    out->http.connections_max = (int)gateway.connections_max;
    out->http.head_timeout_ms = gateway.head_timeout_ms;
    out->http.idle_timeout_ms = gateway.idle_timeout_ms;
    out->http.stall_timeout_ms = gateway.stall_timeout_ms;
    return true;
}

static BucketOptions *bucket_named(Settings *settings, Str name) {
    for (size_t i = 0; i < settings->bucket_count; i++)
        if (str_equal(settings->buckets[i].name, name)) return &settings->buckets[i];
    return NULL;
}

/* primary and the rescue bucket exist without being named, beneath the data folder. */
static void default_bucket(Settings *settings, Str name, Arena *arena) {
    BucketOptions *bucket = bucket_named(settings, name);
    if (!bucket) {
        bucket = &settings->buckets[settings->bucket_count++];
        *bucket = (BucketOptions){.name = name, .backend = STR("local")};
    }
    if (bucket->root.len == 0 && str_is(bucket->backend, "local"))
        bucket->root =
            arena_print(arena, "%.*s/%.*s", SHOW(settings->storage.data_dir), SHOW(name));
}

static bool read_buckets(Config *config, Arena *arena, Settings *out, Err *err) {
    const Json *table = config_table(config, "buckets");
    for (size_t i = 0; table && i < table->len; i++) {
        if (out->bucket_count == SETTINGS_BUCKETS_MAX - 2)
            return err_set(err, LH_TOO_BIG, "the configuration names more than %d buckets",
                           SETTINGS_BUCKETS_MAX - 2);
        BucketOptions *bucket = &out->buckets[out->bucket_count++];
        if (!options_read(bucket_options, &table->items[i], bucket, err))
            return err_while(err, "[buckets.%.*s]", SHOW(table->items[i].name));
        bucket->name = table->items[i].name;
    }
    default_bucket(out, STR("primary"), arena);
    Str rescue = out->storage.rescue_bucket;
    if (rescue.len) default_bucket(out, rescue, arena);
    return true;
}

static bool read_storage(const AppOptions *options, Config *config, Arena *arena, Settings *out,
                         Err *err) {
    StorageSettings *storage = &out->storage;
    if (!config_section(config, "storage", storage_options, storage, err)) return false;
    if (options->data_dir.len) storage->data_dir = options->data_dir;
    if (storage->state_dir.len == 0)
        storage->state_dir = arena_print(arena, "%.*s/state", SHOW(storage->data_dir));
    if (storage->profile_root.len == 0)
        storage->profile_root = arena_print(arena, "%.*s/profiles", SHOW(storage->data_dir));
    out->secrets = config_table(config, "secrets");
    return read_buckets(config, arena, out, err);
}

static bool read_catalog(Config *config, Settings *out, Err *err) {
    if (!config_section(config, "catalog", catalog_options, &out->catalog, err)) return false;
    bool postgres = str_is(out->catalog.pointer, "postgres");
    if (postgres && out->catalog.dsn.len == 0)
        return err_set(err, LH_INVALID,
                       "[catalog] pointer = \"postgres\" needs a dsn, in the file or in "
                       "LAKEHOUSE_CATALOG_DSN");
    if (!postgres) out->catalog.dsn = (Str){0};
    return true;
}

static bool read_ingest(Config *config, Settings *out, Err *err) {
    if (!config_section(config, "ingest", ingest_options, &out->ingest, err)) return false;
    const Json none = {.kind = JSON_OBJECT}, *watch = out->ingest.watch;
    return options_read(watch_options, watch ? watch : &none, &out->ingest.watched, err) ||
           err_while(err, "[ingest.watch]");
}

static bool read_log(const AppOptions *options, Config *config, Settings *out, Err *err) {
    LogSettings log = {0};
    if (!config_section(config, "log", log_options, &log, err)) return false;
    if (options->log_format.len) log.format = options->log_format;
    if (!str_is(log.format, "text") && !str_is(log.format, "json"))
        return err_set(err, LH_INVALID, "--log-format is 'text' or 'json', not '%.*s'",
                       SHOW(log.format));
    out->log_level = log_level_of(log.level);
    out->log_json = str_is(log.format, "json");
    return true;
}

bool settings_read(const AppOptions *options, Config **config, Arena *arena, Settings *out,
                   Err *err) {
    *out = (Settings){0};
    const char *path = options->config_path.len ? arena_cstr(arena, options->config_path) : NULL;
    return config_open(path, config, err) && read_log(options, *config, out, err) &&
           read_auth(*config, arena, out, err) && read_gateway(options, *config, out, err) &&
           read_storage(options, *config, arena, out, err) && read_catalog(*config, out, err) &&
           read_ingest(*config, out, err) &&
           config_section(*config, "query", query_options, &out->query, err) &&
           config_section(*config, "limits", limits_options, &out->limits, err) &&
           config_section(*config, "ai", ai_options, &out->ai, err) &&
           config_section(*config, "agent", agent_options, &out->agent, err) &&
           config_finish(*config, err);
}

static void template_section(FILE *to, const char *section, const Option *options) {
    fprintf(to, "\n[%s]\n", section);
    for (const Option *option = options; option->name; option++) {
        bool text = option->type == LH_TEXT;
        if (option->fallback)
            fprintf(to, "# %s = %s%s%s  # %s%s%s\n", option->name, text ? "\"" : "",
                    option->fallback, text ? "\"" : "", option->help, option->choices ? ": " : "",
                    option->choices ? option->choices : "");
        else
            fprintf(to, "# %s =  # %s\n", option->name, option->help);
    }
}

void app_config_template(FILE *to) {
    fputs("# lakehouse configuration. Every key can also be set by the environment:\n"
          "# LAKEHOUSE_GATEWAY_PORT=3200 is port of [gateway]. Lists and tables are JSON there.\n",
          to);
    template_section(to, "gateway", gateway_options);
    fputs(
        "\n# Access keys, one table each; without any, only this machine may connect. 'lakehouse\n"
        "# key new' makes one and prints these lines. 'admin' includes the other scopes, 'write'\n"
        "# does not include 'read'; a key that is bound to a profile reaches what that may\n"
        "# search, and nothing else.\n"
        "# [[auth.keys]]\n# name = \"search-app\"\n# sha256 = \"of the key\"\n"
        "# scopes = [\"read\"]  # read|write|admin\n# profile = \"hr\"\n",
        to);
    template_section(to, "storage", storage_options);
    fputs("\n# More buckets, one table each:\n# [buckets.archive]\n"
          "# backend = \"local\"\n# root = \"/srv/archive\"\n"
          "# [buckets.cloud]\n# backend = \"s3\"\n# bucket = \"team-lake\"\n"
          "# endpoint = \"https://s3.eu-central-1.amazonaws.com\"\n"
          "# region = \"eu-central-1\"\n# secret_ref = \"cloud\"\n"
          "# [secrets.cloud]\n# file = \"/etc/lakehouse/cloud.key\"\n",
          to);
    template_section(to, "catalog", catalog_options);
    template_section(to, "ingest", ingest_options);
    template_section(to, "ingest.watch", watch_options);
    template_section(to, "query", query_options);
    template_section(to, "limits", limits_options);
    template_section(to, "ai", ai_options);
    template_section(to, "agent", agent_options);
    template_section(to, "log", log_options);
}
