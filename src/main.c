/* The program: the server's commands, joined with the client's (cli/cli.h). */
#include "app/app.h"
#include "cli/cli.h"
#include "gateway/gateway.h"
#include "lance/lance.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STOP_GRACE_MS 10000
#define CONFIG_NAME "lakehouse.toml"

static const Option serve_options[] = {
    {"config",       LH_TEXT, AT(AppOptions, config_path), NULL, "configuration file (TOML)"},
    {"data", LH_TEXT, AT(AppOptions, data_dir), NULL, "folder of the data, ./data by default"},
    {"listen",          LH_TEXT, AT(AppOptions, listen), NULL, "HOST:PORT, 127.0.0.1:3100 by default"},
    {"log_format",              LH_TEXT, AT(AppOptions, log_format), NULL, "text or json"},
    {0      },
};

static void print_ready(const App *app, const Gateway *gateway) {
    bool v6 = memchr(app->http.host.data, ':', app->http.host.len) != NULL;
    printf("lakehouse %s listening on %s://%s%.*s%s:%d\n", LAKEHOUSE_VERSION,
           app->tls ? "https" : "http", v6 ? "[" : "", SHOW(app->http.host), v6 ? "]" : "",
           gateway_port(gateway));
    fflush(stdout);
}

/* Blocked before any thread exists, so that only this one takes them. After the first, the default
 * action is back: a second one ends the process at once. */
static void wait_for_stop(const sigset_t *stop) {
    int number;
    while (sigwait(stop, &number)) continue;
    log_info("stopping: signal %d; what is under way has %d s", number, STOP_GRACE_MS / 1000);
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    pthread_sigmask(SIG_UNBLOCK, stop, NULL);
}

static void log_access(const App *app) {
    if (app->keys.len == 0)
        log_info("no access keys are configured: only this machine may connect");
    else if (!app->local && !app->tls)
        log_warn("listening on %.*s without TLS: keys and data are not encrypted on their way. Set "
                 "tls_cert and tls_key of [gateway], or put a proxy that speaks TLS before it",
                 SHOW(app->http.host));
}

static bool serve(const void *values, Err *err) {
    OWNED(app_close) App *app = NULL;
    Gateway *gateway = NULL;
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    pthread_sigmask(SIG_BLOCK, &stop, NULL);
    if (!app_open(values, &app, err) || !app_sweep(app, err) || !gateway_open(app, &gateway, err))
        return false;
    log_access(app);
    print_ready(app, gateway);
    wait_for_stop(&stop);
    app_stop(app, STOP_GRACE_MS);
    gateway_close(&gateway, STOP_GRACE_MS);
    return true;
}

static bool check(const void *values, Err *err) {
    return app_check(values, err);
}

static bool init(const void *values, Err *err) {
    (void)values;
    OWNED(fd_close) int fd = open(CONFIG_NAME, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    FILE *file = fd < 0 ? NULL : fdopen(dup(fd), "w");
    if (!file) return err_errno(err, "cannot create '%s'", CONFIG_NAME);
    app_config_template(file);
    if (fclose(file)) return err_errno(err, "cannot write '%s'", CONFIG_NAME);
    printf("wrote %s\n", CONFIG_NAME);
    return true;
}

static const Option key_options[] = {
    {"name",     LH_TEXT, AT(NewKey, name), REQUIRED, "of the key, for people and logs"},
    {"scopes", LH_TEXT, AT(NewKey, scopes), "read",
     "what it may do: read, write, admin, commas between them"},
    {"profile",  LH_TEXT, AT(NewKey, profile), NULL,
     "the model profile that it is bound to, and reaches nothing beyond"},
    {0         },
};

static bool key_new(const void *values, Err *err) {
    OWNED(text_close) Text text = {0};
    if (!key_make(values, &text, err)) return false;
    fwrite(text.data, 1, text.len, stdout);
    fputs("the first line is the key, which is shown this once; the others go into the server's "
          "configuration\n",
          stderr);
    return true;
}

typedef struct InspectValues {
    Str path;
    int64_t version;
} InspectValues;

static const Option inspect_options[] = {
    {"PATH",            LH_TEXT, AT(InspectValues, path), REQUIRED, "folder of the table: .../name.lance"},
    {"version", LH_INT, AT(InspectValues, version), "0", "of it; 0 is the latest", .min = 0,
     .max = 1e15},
    {0        },
};

static bool inspect(Str root, Str name, uint64_t version, Err *err) {
    OWNED(store_close) Store *store = NULL;
    OWNED(lance_close) LanceTable *table = NULL;
    OWNED(text_close) Text text = {0};
    if (!store_local_open_shared(root, &store, err) ||
        !lance_open(store, name, version, &table, err) || !lance_inspect(table, &text, err))
        return false;
    fwrite(text.data, 1, text.len, stdout);
    return true;
}

/* A store keeps a folder of its own beside its objects: where there was none, none is left. */
static bool lance_inspect_path(const void *values, Err *err) {
    const InspectValues *asked = values;
    char given[PATH_MAX], root[PATH_MAX], own[PATH_MAX + 16];
    snprintf(given, sizeof given, "%.*s", SHOW(asked->path));
    if (!realpath(given, root)) return err_errno(err, "cannot open '%s'", given);
    char *slash = strrchr(root, '/');
    *slash = 0; /* the folder that it lies in, and its name there */
    snprintf(own, sizeof own, "%s/.lakehouse", root);
    bool mine = access(own, F_OK) != 0;
    bool ok = inspect(*root ? str_from(root) : STR("/"), str_from(slash + 1),
                      (uint64_t)asked->version, err);
    Err ignored = {0};
    if (mine) dir_remove(own, &ignored);
    return ok;
}

static const Command server_commands[] = {
    {.name = "serve",
     .help = "run the server",
     .options = serve_options,
     .values_size = sizeof(AppOptions),
     .run = serve},
    {.name = "check",
     .help = "read the configuration and probe every part",
     .options = serve_options,
     .values_size = sizeof(AppOptions),
     .run = check},
    {.name = "init",             .help = "write a commented " CONFIG_NAME, .run = init},
    {.name = "key new",
     .help = "make an access key, and print it with its lines of the configuration",
     .options = key_options,
     .values_size = sizeof(NewKey),
     .run = key_new},
    {.name = "lance inspect",
     .help = "show a Lance table: its versions, fragments, encodings and indexes",
     .options = inspect_options,
     .operands = 1,
     .values_size = sizeof(InspectValues),
     .run = lance_inspect_path},
    {0            },
};

int main(int argc, char **argv) {
    const Command *const tables[] = {server_commands, cli_commands, NULL};
    return commands_main(tables, argc, argv);
}
