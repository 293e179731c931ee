#include "kit/s3.h"

#include "kit/kit.h"
#include "storage/s3_client.h"

#include <stdlib.h>
#include <unistd.h>

static KitS3 servers[2];
static const char *kinds[2];
static size_t count;
static Secrets *secrets;
static ReadCache *cache;

/* Its output, and whether it succeeded. */
static bool run_script(const char *kind, const char *verb, const KitS3 *server, const char *rest,
                       char *line, size_t size) {
    char command[1024];
    snprintf(command, sizeof command, "OWNER=%d tests/kit/%s %s %s %s 2>&1", (int)getpid(), kind,
             verb, server->dir, rest);
    FILE *pipe = popen(command, "r");
    if (!pipe) abort();
    size_t got = fread(line, 1, size - 1, pipe);
    line[got] = 0;
    return pclose(pipe) == 0;
}

__attribute__((destructor)) static void stop_all(void) {
    char line[16];
    read_cache_close(&cache);
    secrets_close(&secrets);
    while (count > 0) {
        count--;
        run_script(kinds[count], "stop", &servers[count], "", line, sizeof line);
    }
}

static void start(const char *kind, KitS3 *server) {
    char line[512], endpoints[256];
    snprintf(server->dir, sizeof server->dir, "/tmp/lakehouse-s3-XXXXXX");
    if (!mkdtemp(server->dir)) abort();
    if (!run_script(kind, "start", server, "", line, sizeof line) ||
        sscanf(line, "%255s %63s %63s", endpoints, server->access, server->secret) != 3) {
        printf("FAIL %s did not start: %s\n", kind, line);
        _exit(1);
    }
    Str rest = str_from(endpoints);
    for (size_t i = 0; i < COUNT(server->endpoints) && rest.len; i++) {
        Str one = str_until(&rest, ',');
        snprintf(server->endpoints[i], sizeof server->endpoints[i], "%.*s", SHOW(one));
    }
}

static void open_helpers(const KitS3 *server) {
    Err err = {0};
    setenv("KIT_S3_ACCESS_KEY_ID", server->access, 1);
    setenv("KIT_S3_SECRET_ACCESS_KEY", server->secret, 1);
    if (secrets) return;
    if (!secrets_open(NULL, NULL, &secrets, &err)) abort();
    if (!read_cache_open(kit_dir(), 64 << 20, &cache, &err)) abort();
}

const KitS3 *kit_s3(const char *kind) {
    for (size_t i = 0; i < count; i++)
        if (!strcmp(kinds[i], kind)) return &servers[i];
    if (count == COUNT(servers)) abort();
    start(kind, &servers[count]);
    open_helpers(&servers[count]);
    kinds[count] = kind;
    return &servers[count++];
}

int kit_s3_pid(const KitS3 *server, const char *daemon) {
    char path[128], name[64];
    int pid, found = 0;
    snprintf(path, sizeof path, "%s/pids", server->dir);
    FILE *file = fopen(path, "r");
    while (file && fscanf(file, "%d %63s", &pid, name) == 2)
        if (!strcmp(name, daemon)) found = pid;
    if (file) fclose(file);
    return found;
}

bool kit_s3_admin(const KitS3 *server, const char *arguments) {
    char line[4096];
    return run_script("ceph", "admin", server, arguments, line, sizeof line);
}

int kit_s3_request(const S3Options *options, const char *method, const char *key, const char *query,
                   const char *body, Text *out) {
    OWNED(s3_client_release) S3Client *client = NULL;
    OWNED(s3_answer_close) S3Answer answer = {0};
    Err err = {0};
    Str rest = str_from(query);
    S3Pair pairs[4];
    size_t pair_count = 0;
    while (rest.len && pair_count < COUNT(pairs)) {
        Str pair = str_until(&rest, '&'), name = str_until(&pair, '=');
        pairs[pair_count++] = (S3Pair){name, pair};
    }
    if (!s3_client_open(options, &client, &err)) return 0;
    S3Call call = {.method = method,
                   .key = str_from(key),
                   .query = pairs,
                   .query_count = pair_count,
                   .body = bytes_of(str_from(body))};
    if (!s3_call(client, &call, &answer, &err)) return 0;
    if (out) text_add(out, text_str(&answer.reply.body));
    return answer.status;
}

S3Options kit_s3_options(const KitS3 *server, const char *bucket) {
    static char made[16][64];
    static size_t made_count;
    S3Options options = {.bucket = str_from(bucket),
                         .endpoint = str_from(server->endpoints[0]),
                         .secret_ref = STR("env:KIT_S3"),
                         .path_style = true,
                         .limits = s3_limits_default,
                         .secrets = secrets,
                         .cache = cache};
    for (size_t i = 0; i < made_count; i++)
        if (!strcmp(made[i], bucket)) return options;
    kit_s3_request(&options, "PUT", "", NULL, NULL, NULL);
    if (made_count < COUNT(made)) snprintf(made[made_count++], sizeof made[0], "%s", bucket);
    return options;
}

Store *kit_s3_store(const KitS3 *server, const char *bucket) {
    static _Atomic int number;
    char prefix[32];
    Err err = {0};
    Store *store = NULL;
    S3Options options = kit_s3_options(server, bucket);
    snprintf(prefix, sizeof prefix, "store-%d", ++number);
    options.prefix = str_from(prefix);
    if (!store_s3_open(&options, &store, &err)) {
        printf("FAIL cannot open a store: %s\n", err.message);
        abort();
    }
    return store;
}
