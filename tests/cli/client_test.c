/* The client's commands against a server that answers as API.md says, over real sockets. */
#include "cli/capture.h"
#include "cli/commands.h"
#include "net/net.h"

#include <pthread.h>
#include <pty.h>
#include <signal.h>
#include <stdatomic.h>

typedef struct Reply {
    const char *request; /* the first that the request begins with */
    int status;
    const char *body;
} Reply;

static const Reply replies[] = {
    {"GET /storage/buckets/b/objects/missing",                              404,
     "{\"title\":\"Not Found\",\"status\":404,\"code\":\"object_not_found\",\"detail\":\"no object "
     "'missing'\\nin bucket 'b'\"}"                                                                                                                      },
    {"GET /storage/buckets/b/objects?prefix=dir%2F&delimiter=%2F&after=k1", 200,
     "{\"objects\":[{\"key\":\"k2\",\"size\":7,\"modified\":\"2026-01-02T03:04:05Z\"}],"
     "\"prefixes\":[],\"next\":null}"                                                                                                                    },
    {"GET /storage/buckets/b/objects?prefix=dir%2F&delimiter=%2F",          200,
     "{\"objects\":[{\"key\":\"k1\",\"size\":2048,\"modified\":\"2026-01-02T03:04:05Z\"}],"
     "\"prefixes\":[\"dir/sub/\"],\"next\":\"k1\"}"                                                                                                      },
    {"GET /storage/buckets",                                                200,
     "[{\"name\":\"primary\",\"backend\":\"local\",\"role\":\"primary\",\"location\":\"/d\","
     "\"reachable\":true,\"latency_ms\":1,\"objects\":3,\"error\":null}]"                                                                                },
    {"POST /storage/buckets",                                               201, "{\"name\":\"new\",\"backend\":\"local\"}"                              },
    {"DELETE /storage/buckets/",                                            204, ""                                                                      },
    {"GET /storage/errors?limit=50&bucket=b",                               200, "[]"                                                                    },
    {"GET /storage/bucket-health?minutes=5",                                200,
     "{\"minutes\":5,\"buckets\":[{\"bucket\":\"b\",\"errors\":2,\"rescues\":1,\"status\":"
     "\"degraded\"}]}"                                                                                                                                   },
    {"POST /query",                                                         200,
     "{\"columns\":[{\"name\":\"n\",\"type\":\"BIGINT\"},{\"name\":\"s\",\"type\":\"VARCHAR\"}],"
     "\"rows\":[[1,\"a\"],[\"9007199254740993\",null]],\"row_count\":2,\"truncated\":false,"
     "\"elapsed_ms\":3}"                                                                                                                                 },
    {"GET /catalog/datasets/sales",                                         200,
     "{\"name\":\"sales\",\"rows\":5,\"schema\":[{\"name\":\"mail\",\"type\":\"VARCHAR\","
     "\"nullable\":true,\"pii\":{\"kind\":\"email\",\"confidence\":1},\"description\":null}]}"                                                           },
    {"GET /catalog/datasets",                                               200, "[{\"name\":\"sales\",\"rows\":5,\"bytes\":1048576}]"                   },
    {"DELETE /catalog/datasets/sales?purge=true",                           200, "{}"                                                                    },
    {"GET /catalog/lineage/sales",                                          200,
     "{\"nodes\":[{\"id\":\"f\"}],\"edges\":[{\"from\":\"f\",\"to\":\"sales\"}]}"                                                                        },
    {"POST /ingest/file",                                                   201,
     "{\"dataset\":\"sales\",\"version\":1,\"rows\":5,\"bytes\":100,\"elapsed_ms\":2,\"pii\":[{"
     "\"column\":\"mail\",\"kind\":\"email\",\"confidence\":1,\"matched\":5,\"sampled\":5}],"
     "\"warnings\":[]}"                                                                                                                                  },
    {"POST /vectors/indexes",                                               202, "{\"job\":\"j1\"}"                                                      },
    {"PATCH /vectors/indexes/docs",                                         202, "{\"job\":\"j1\"}"                                                      },
    {"GET /vectors/indexes/docs",                                           200, "{\"index\":\"docs\",\"rows\":9}"                                       },
    {"GET /vectors/indexes",                                                200, "[{\"index\":\"docs\",\"rows\":9}]"                                     },
    {"POST /vectors/search",                                                200,
     "{\"hits\":[{\"doc_id\":\"7\",\"score\":0.5,\"text\":\"words\",\"chunk\":0}]}"                                                                      },
    {"PUT /vectors/evals/docs/e",                                           201, "{\"index\":\"docs\",\"name\":\"e\",\"count\":7}"                       },
    {"GET /vectors/evals/docs/e",                                           200, "{\"name\":\"e\",\"queries\":[{\"text\":\"asked\"}]}"                   },
    {"DELETE /vectors/evals/docs/e",                                        200, "{\"name\":\"e\",\"deleted\":true}"                                     },
    {"GET /vectors/evals/docs",                                             200, "[{\"name\":\"e\",\"bytes\":2048}]"                                     },
    {"POST /vectors/trials/docs",                                           201, "{\"trial\":3,\"recall\":0.97}"                                         },
    {"GET /vectors/trials/docs",                                            200, "[{\"trial\":3,\"recall\":0.97,\"p50_us\":12.5}]"                       },
    {"POST /vectors/autotune/docs",                                         202, "{\"job\":\"j1\"}"                                                      },
    {"POST /vectors/promotions/docs/rollback",                              200, "{\"index\":\"docs\",\"promotion\":5}"                                  },
    {"POST /vectors/promotions/docs",                                       200, "{\"index\":\"docs\",\"promotion\":4}"                                  },
    {"GET /vectors/promotions/docs",                                        200,
     "{\"index\":\"docs\",\"history\":[{\"promotion\":1,\"by\":\"created\"}]}"                                                                           },
    {"GET /vectors/promotions",                                             200, "[{\"index\":\"docs\",\"promotion\":1}]"                                },
    {"GET /vectors/agent/status",                                           200,
     "{\"enabled\":true,\"decisions\":[{\"index\":\"docs\",\"why\":\"slower\"}]}"                                                                        },
    {"POST /vectors/agent/",                                                200, "{\"paused\":true}"                                                     },
    {"GET /vectors/profile/active",                                         200,
     "{\"active\":\"hr\",\"state\":\"active\",\"loaded\":true}"                                                                                          },
    {"GET /vectors/profile/hr",                                             200,
     "{\"id\":\"hr\",\"ollama_name\":\"mistral\",\"datasets\":[\"resumes\"]}"                                                                            },
    {"GET /vectors/profile",                                                200, "[{\"id\":\"hr\",\"active\":true,\"ollama_name\":\"mistral\"}]"         },
    {"POST /vectors/profile/hr/activate",                                   200,
     "{\"id\":\"hr\",\"active\":\"hr\",\"state\":\"active\"}"                                                                                            },
    {"POST /vectors/profile/hr/deactivate",                                 200,
     "{\"id\":\"hr\",\"was_active\":true,\"state\":\"idle\"}"                                                                                            },
    {"GET /admin/vram",                                                     200,
     "{\"gpus\":[{\"index\":0,\"name\":\"GPU\",\"total_bytes\":1048576,\"used_bytes\":0,"
     "\"free_bytes\":1048576}],\"models\":[{\"name\":\"mistral\",\"vram_bytes\":2048}],"
     "\"source\":{\"gpu\":\"nvml\",\"models\":\"ollama\"}}"                                                                                              },
    {"GET /jobs/bad",                                                       200,
     "{\"job\":\"bad\",\"state\":\"failed\",\"error\":{\"detail\":\"the column is gone\"}}"                                                              },
    {"GET /jobs/",                                                          200,
     "{\"job\":\"j1\",\"state\":\"succeeded\",\"result\":{\"index\":\"docs\",\"rows\":9}}"                                                               },
    {"GET /jobs",                                                           200, "[{\"job\":\"j1\",\"kind\":\"index\",\"state\":\"running\",\"done\":1}]"},
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Text last_request, last_body; /* "GET /path?query", under the lock */
static Text stored;                  /* the last object that was put */
static atomic_int polls, cancels;

static HttpPlan plan(void *context, Request *request) {
    (void)context;
    bool puts = request->method == HTTP_PUT && str_starts(request->path, STR("/storage/"));
    return (HttpPlan){.pool = true, .stream_body = puts, .body_max = 16 << 20};
}

static Str request_text(const Request *request) {
    static const char *const names[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
    return arena_print(request->arena, "%s %.*s%s%.*s", names[request->method], SHOW(request->path),
                       request->query.len ? "?" : "", SHOW(request->query));
}

static void store(Request *request, Response *response) {
    size_t got = 1;
    Err err;
    text_clear(&stored);
    while (got > 0) {
        if (!request_read(request, text_reserve(&stored, 65536), 65536, &got, &err)) return;
        stored.len += got;
    }
    response_status(response, 201);
    Str text =
        arena_print(request->arena, "{\"bucket\":\"b\",\"key\":\"k\",\"size\":%zu}", stored.len);
    response_body(response, "application/json", text);
}

/* Bytes without an end. */
static void pour(Response *response) {
    static const uint8_t block[4096];
    Err err;
    if (!response_stream(response, NULL, &err)) return;
    while (response_write(response, (Bytes){block, sizeof block}, &err)) {
        atomic_fetch_add(&polls, 1);
        usleep(1000);
    }
    response_abort(response);
}

/* A job that runs until it is cancelled. */
static void slow_job(Request *request, Response *response) {
    if (request->method == HTTP_DELETE) atomic_fetch_add(&cancels, 1);
    atomic_fetch_add(&polls, 1);
    bool over = cancels > 0;
    response_body(response, "application/json",
                  over ? STR("{\"job\":\"slow\",\"state\":\"cancelled\",\"error\":{\"detail\":"
                             "\"cancelled\"}}")
                       : STR("{\"job\":\"slow\",\"state\":\"running\",\"done\":1,\"total\":2,"
                             "\"unit\":\"rows\"}"));
}

static void reply_to(Str text, Response *response) {
    for (size_t i = 0; i < COUNT(replies); i++) {
        if (!str_starts(text, str_from(replies[i].request))) continue;
        response_status(response, replies[i].status);
        return response_body(response, "application/json", str_from(replies[i].body));
    }
    response_status(response, 500);
    response_body(response, "application/json", STR("{\"detail\":\"no such route\"}"));
}

static void answer(void *context, Request *request, Response *response) {
    Str text = request_text(request), key = request_header(request, "authorization");
    (void)context;
    if (has(text, "/objects/endless")) return pour(response);
    pthread_mutex_lock(&lock);
    text_clear(&last_request);
    text_print(&last_request, "%.*s|%.*s|%.*s", SHOW(text), SHOW(key),
               SHOW(request_header(request, "content-encoding")));
    text_clear(&last_body);
    text_add(&last_body, str_of(request->body));
    if (str_starts(text, STR("PUT /storage/")))
        store(request, response);
    else if (str_starts(text, STR("GET /storage/buckets/b/objects/k")))
        response_body(response, NULL, text_str(&stored));
    else if (has(text, "/jobs/slow"))
        slow_job(request, response);
    else
        reply_to(text, response);
    pthread_mutex_unlock(&lock);
}

static void refuse(void *context, Response *response, int status, const char *reason) {
    (void)context, (void)status;
    response_body(response, "text/plain", str_from(reason));
}

static HttpServer *server;
static Arena arena;

static Captured run_with(const char *input, const char *const *words) {
    static const HttpApp app = {.plan = plan, .answer = answer, .refuse = refuse};
    static const Command *const tables[] = {cli_commands, NULL};
    HttpOptions options = http_options_default;
    Err err;
    options.port = 0;
    if (!server) {
        CHECK_OK(http_server_open(&options, &app, &server, &err));
        Str url = arena_print(&arena, "http://127.0.0.1:%d/", http_server_port(server));
        setenv("LAKEHOUSE_URL", url.data, 1);
        setenv("LAKEHOUSE_KEY", "the-key", 1);
        setenv("HOME", kit_dir(), 1);
    }
    return capture(tables, &arena, input, words);
}

static Captured run(const char *const *words) {
    return run_with(NULL, words);
}

__attribute__((destructor)) static void close_all(void) {
    http_server_stop(&server, 100);
    text_close(&last_request), text_close(&last_body), text_close(&stored);
    arena_close(&arena);
}

TEST("lists and single things are shown as tables, or as the server's JSON") {
    static const struct {
        const char *words[6], *shown[3];
    } commands[] = {
        {{"bucket"},                                  {"primary", "latency_ms"}  },
        {{"bucket", "list"},                          {"primary"}                },
        {{"bucket", "health"},                        {"degraded"}               },
        {{"bucket", "errors", "--bucket", "b"},       {"rescued"}                },
        {{"bucket", "add", "new", "--root", "/d"},    {"backend  local"}         },
        {{"datasets"},                                {"1.0 MiB", "sales"}       },
        {{"datasets", "sales"},                       {"\nschema\n", "email"}    },
        {{"lineage", "sales"},                        {"\nedges\n"}              },
        {{"index"},                                   {"docs"}                   },
        {{"index", "list"},                           {"docs"}                   },
        {{"index", "docs"},                           {"rows   9"}               },
        {{"index", "show", "docs"},                   {"rows   9"}               },
        {{"index", "move", "docs", "b"},              {"rows   9"}               },
        {{"search", "docs", "some words", "-k", "3"}, {"0.500  7       words"}   },
        {{"eval", "docs"},                            {"2.0 KiB"}                },
        {{"eval", "docs", "e"},                       {"asked"}                  },
        {{"eval", "create", "docs", "e"},             {"count  7"}               },
        {{"eval", "drop", "docs", "e"},               {"deleted  true"}          },
        {{"trials", "docs"},                          {"12.5"}                   },
        {{"promote"},                                 {"docs"}                   },
        {{"promote", "docs"},                         {"\nhistory\n", "created"} },
        {{"promote", "docs", "3"},                    {"promotion  4"}           },
        {{"promote", "rollback", "docs"},             {"promotion  5"}           },
        {{"agent"},                                   {"\ndecisions\n", "slower"}},
        {{"agent", "enqueue", "docs"},                {"paused"}                 },
        {{"agent", "pause"},                          {"paused"}                 },
        {{"agent", "resume"},                         {"paused"}                 },
        {{"profile"},                                 {"mistral", "active"}      },
        {{"profile", "hr"},                           {"mistral", "resumes"}     },
        {{"profile", "active"},                       {"state   active"}         },
        {{"profile", "activate", "hr"},               {"state   active"}         },
        {{"profile", "deactivate", "hr"},             {"idle"}                   },
        {{"vram"},                                    {"1.0 MiB", "by nvml"}     },
        {{"jobs"},                                    {"running"}                },
        {{"jobs", "j1"},                              {"succeeded"}              },
    };
    for (size_t i = 0; i < COUNT(commands); i++) {
        Captured got = run(commands[i].words);
        if (got.status) printf("  %.*s", SHOW(got.error));
        CHECK_INT(got.status, 0);
        CHECK_INT(got.error.len, 0);
        for (size_t k = 0; commands[i].shown[k]; k++) CHECK(has(got.out, commands[i].shown[k]));
    }
    CHECK(str_starts(run(WORDS("datasets", "--json")).out, STR("[{\"name\":\"sales\"")));
}

TEST("trials and grids are written as settings, and what is not one is said") {
    CHECK_INT(run(WORDS("trials", "run", "docs", "--eval", "e", "--config", " ef_search=64  m=16 "))
                  .status,
              0);
    CHECK(has(text_str(&last_body), "\"config\":{\"ef_search\":64,\"m\":16},\"eval\":\"e\""));
    CHECK_INT(
        run(WORDS("autotune", "docs", "--eval", "e", "--grid", "m=8,16", "--promote", "--detach"))
            .status,
        0);
    CHECK(has(text_str(&last_body), "\"grid\":{\"m\":[8,16]}"));
    CHECK(has(text_str(&last_body), "\"promote\":true"));
    CHECK_INT(run(WORDS("trials", "run", "docs", "--eval", "e", "--config", "m=x")).status, 1);
    CHECK_INT(run(WORDS("trials", "run", "docs", "--eval", "e", "--config", "m")).status, 1);
    Err err;
    const char *path = arena_print(&arena, "%s/queries", kit_dir()).data;
    CHECK_OK(file_replace(path, bytes_of(STR("one\n\n two \n")), &err));
    CHECK_INT(run(WORDS("eval", "create", "docs", "e", "--queries", path)).status, 0);
    CHECK(has(text_str(&last_body), "{\"queries\":[\"one\",\"two\"]}"));
}

TEST("the key goes with each request, from the environment or a file") {
    CHECK_INT(run(WORDS("bucket")).status, 0);
    CHECK(has(text_str(&last_request), "|Bearer the-key|"));
    Err err;
    const char *path = arena_print(&arena, "%s/key", kit_dir()).data;
    CHECK_OK(file_replace(path, bytes_of(STR("other\n")), &err));
    CHECK_INT(run(WORDS("bucket", "--key-file", path)).status, 0);
    CHECK(has(text_str(&last_request), "|Bearer other|"));
}

TEST("a problem's detail becomes one line, and nobody there is said plainly") {
    Captured got = run(WORDS("get", "b/missing"));
    CHECK_INT(got.status, 1);
    CHECK_STR(got.error, "lakehouse: no object 'missing' in bucket 'b'\n");
    CHECK_INT(got.out.len, 0);
    got = run(WORDS("bucket", "--url", "http://127.0.0.1:1"));
    CHECK_INT(got.status, 1);
    CHECK(has(got.error, "no server at http://127.0.0.1:1 "));
}

TEST("an object goes in and comes out the same, from files and through pipes") {
    Err err;
    OWNED(text_close) Text data = {0};
    const char *dir = kit_dir(), *in = arena_print(&arena, "%s/in file", dir).data;
    const char *out = arena_print(&arena, "%s/out", dir).data;
    for (int i = 0; i < 300000; i++) text_print(&data, "%d,", i);
    CHECK_OK(file_replace(in, text_bytes(&data), &err));
    Captured got = run(WORDS("put", in, "b/k/"));
    CHECK(got.status == 0 && has(got.out, "MiB"));
    CHECK(has(text_str(&last_request), "PUT /storage/buckets/b/objects/k/in%20file|"));
    CHECK_INT(run(WORDS("get", "b/k", out)).status, 0);
    Bytes back;
    CHECK_OK(file_read(out, 64 << 20, &arena, &back, &err));
    CHECK(str_equal(str_of(back), text_str(&data)));
    CHECK_INT(run_with("from a pipe", WORDS("put", "-", "b/k")).status, 0);
    CHECK_STR(run(WORDS("get", "b/k")).out, "from a pipe");
    got = run(WORDS("get", "b/missing", out));
    CHECK_INT(got.status, 1); /* and the file of before stays */
    CHECK_OK(file_read(out, 64 << 20, &arena, &back, &err));
    CHECK_INT(back.size, data.len);
    CHECK_INT(run(WORDS("put", dir, "b/k")).status, 1);
    CHECK_INT(run(WORDS("put", in, "b")).status, 1);
}

TEST("ls goes on to the last page") {
    Captured got = run(WORDS("ls", "b/dir/"));
    CHECK_INT(got.status, 0);
    CHECK(has(got.out, "k1") && has(got.out, "dir/sub/") && has(got.out, "k2"));
}

TEST("ingest names the dataset and tells the format and packing by the file's name") {
    Err err;
    const char *path = arena_print(&arena, "%s/2026 Sales.Q1.CSV.gz", kit_dir()).data;
    CHECK_OK(file_replace(path, bytes_of(STR("a,b\n")), &err));
    Captured got = run(WORDS("ingest", path, "--mode", "append"));
    CHECK_INT(got.status, 0);
    CHECK(has(text_str(&last_request),
              "POST "
              "/ingest/"
              "file?dataset=_2026_sales_q1&format=csv&mode=append&source=2026%20Sales.Q1.CSV.gz|"));
    CHECK(has(text_str(&last_request), "|gzip"));
    CHECK_STR(text_str(&last_body), "a,b\n");
    CHECK(has(got.out, "sales version 1: 5 rows") && has(got.out, "email"));
    CHECK_INT(run(WORDS("ingest", "-")).status, 1);
    got = run(WORDS("ingest", "postgres://u:geheim@h/d"));
    CHECK(got.status == 1 && !has(got.error, "geheim"));
}

TEST("rows are a table with numbers at the right, or pass through as they come") {
    Captured got = run(WORDS("sql", "SELECT 'a;b' -- ;\n;"));
    CHECK_INT(got.status, 0);
    CHECK_STR(got.out, "               n  s\n"
                       "----------------  ----\n"
                       "               1  a\n"
                       "9007199254740993  NULL\n");
    CHECK(has(text_str(&last_body), "\"sql\":\"SELECT 'a;b' -- ;\""));
    got = run_with("SELECT 1;\nSELECT 2", WORDS("sql", "--format", "csv", "--limit", "3"));
    CHECK_INT(got.status, 0);
    CHECK(has(text_str(&last_body), "SELECT 2") && has(text_str(&last_body), "\"limit\":3"));
    CHECK(has(text_str(&last_body), "\"format\":\"csv\""));
    CHECK_INT(run(WORDS("sql", "SELECT 1", "--format", "xml")).status, 2);
}

TEST("creating an index follows its job to the result, or leaves at once when asked") {
    Captured got = run(WORDS("index", "create", "docs", "--dataset", "sales", "--text", "mail",
                             "--chunk-size", "500"));
    CHECK_INT(got.status, 0);
    CHECK(has(got.out, "rows   9"));
    got = run(WORDS("index", "create", "docs", "--dataset", "sales", "--detach"));
    CHECK_STR(got.out, "j1\n");
    CHECK_STR(text_str(&last_body), "{\"index\":\"docs\",\"dataset\":\"sales\"}");
}

static void *interrupt_soon(void *context) {
    for (int i = 0; i < 500 && polls < 2; i++) usleep(10000);
    kill(getpid(), SIGINT);
    return context;
}

TEST("an interrupted download leaves no file, nor a part of one") {
    const char *dir = kit_dir(), *out = arena_print(&arena, "%s/out", dir).data;
    pthread_t thread;
    Err err;
    polls = 0;
    run(WORDS("bucket"));
    CHECK(pthread_create(&thread, NULL, interrupt_soon, NULL) == 0);
    Captured got = run(WORDS("get", "b/endless", out));
    pthread_join(thread, NULL);
    CHECK(got.status == 1 && has(got.error, "cancelled"));
    CHECK(rmdir(dir) == 0);
    CHECK_OK(dir_make(dir, &err));
    polls = 0;
}

TEST("a failed job says why, and an interrupt cancels one that runs") {
    OWNED(session_close) Cli *cli = NULL;
    const Json *result;
    Str raw;
    Err err;
    pthread_t thread;
    run(WORDS("bucket"));
    CHECK_OK(session_open(&(SessionOptions){0}, &cli, &err));
    CHECK(!session_follow(cli, STR("bad"), &result, &raw, &err));
    CHECK_STR(str_from(err.message), "the column is gone");
    CHECK(pthread_create(&thread, NULL, interrupt_soon, NULL) == 0);
    CHECK(!session_follow(cli, STR("slow"), &result, &raw, &err));
    pthread_join(thread, NULL);
    CHECK(err.kind == LH_CANCELLED && cancels == 1);
}

TEST("a statement ends at a semicolon outside of quotes and comments") {
    static const struct {
        const char *text;
        int end; /* -1: none */
    } cases[] = {
        {"a;",             1 },
        {"a",              -1},
        {"';';",           3 },
        {"'it'';s';",      8 },
        {"\";\";",         3 },
        {"--;\n;",         4 },
        {"/*;*/;",         5 },
        {"'open;",         -1},
        {"/* open;",       -1},
        {"-- to the end;", -1}
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t at = 0;
        CHECK_INT(sql_statement_end(str_from(cases[i].text), &at) ? (int)at : -1, cases[i].end);
    }
}

TEST("the prompt runs statements over several lines, survives an error and keeps a history") {
    int master, slave, kept[3];
    char output[16384];
    run(WORDS("bucket"));
    CHECK(openpty(&master, &slave, NULL, NULL, NULL) == 0);
    Str typed = STR("SELECT 1,\n2;\n\\d nothing\n\\q\n");
    CHECK(write(master, typed.data, typed.len) == (ssize_t)typed.len);
    fflush(NULL);
    for (int fd = 0; fd < 3; fd++) {
        kept[fd] = dup(fd);
        dup2(slave, fd);
    }
    int status = cli_main(2, (char *[]){"lakehouse", "sql", NULL});
    fflush(NULL);
    for (int fd = 0; fd < 3; fd++) {
        dup2(kept[fd], fd);
        close(kept[fd]);
    }
    ssize_t n = read(master, output, sizeof output);
    close(master), close(slave);
    CHECK(status == 0 && n > 0);
    Str shown = {output, (size_t)n};
    CHECK(has(shown, "9007199254740993") && has(shown, "(2 rows, 3 ms)"));
    CHECK(access(arena_print(&arena, "%s/.lakehouse_history", getenv("HOME")).data, R_OK) == 0);
}
