/* Searches of one index, directly through its backend and through a running server, in turns, so
 * that whatever else the machine does falls on both. Bodies are raw floats, one vector or a hundred
 * in each, or JSON; beside them requests that ask for nothing (GET /health), which is what the
 * machine takes to carry one. Clients are plain sockets that stay open, on the machine that serves.
 *
 *     search_beside INDEX.idx URL INDEX QUERIES.f32 EF ROUNDS [WAY]
 *
 * Prints a line for each way (direct, nothing, raw, raw-many, json), or for one: NAME CLIENTS
 * QUERIES_PER_SECOND, the median of the rounds. With one client a core has nothing to do while the
 * other works, and a virtual core that was put to sleep takes longer to wake up than a request to
 * be carried. So AWAKE lines tell what it takes where the kernel keeps idle cores awake, which root
 * may ask it to.
 */
#include "client.h"
#include "vector/index.h"

#include <fcntl.h>
#include <pthread.h>

#define K 10
#define MANY 100
#define PASSES 5 /* in a row: the first finds the caches as the last way left them */
#define ROUNDS_MAX 64

typedef struct Beside {
    Index *index;
    const char *name, *url; /* of the index and the server */
    float *queries;         /* rows of index->dimensions */
    size_t count, ef;
} Beside;

typedef enum Way { DIRECT, NOTHING, RAW, RAW_MANY, AS_JSON } Way;

typedef struct Client {
    const Beside *beside;
    Way way;
    size_t first, step;
} Client;

static void add_head(Text *request, const char *path, const char *type, size_t size) {
    text_print(request,
               "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: "
               "%zu\r\n\r\n",
               path, type, size);
}

static void add_raw(const Beside *b, size_t query, size_t count, Text *request) {
    char path[256];
    size_t size = count * b->index->dimensions * sizeof(float);
    snprintf(path, sizeof path, "/vectors/search?index=%s&k=%d&ef=%zu", b->name, K, b->ef);
    add_head(request, path, "application/octet-stream", size);
    text_add(request, (Str){(const char *)(b->queries + query * b->index->dimensions), size});
}

static void add_json(const Beside *b, size_t query, Text *request) {
    OWNED(text_close) Text body = {0};
    JsonWriter w = {.out = &body};
    jw_object(&w);
    jw_member_text(&w, "index", str_from(b->name));
    jw_member_int(&w, "k", K);
    jw_member_int(&w, "ef", (int64_t)b->ef);
    jw_member_flag(&w, "rows", false);
    jw_name(&w, "vector");
    jw_array(&w);
    for (size_t i = 0; i < b->index->dimensions; i++)
        jw_float(&w, b->queries[query * b->index->dimensions + i]);
    jw_end(&w);
    jw_end(&w);
    add_head(request, "/vectors/search", "application/json", body.len);
    text_add(request, text_str(&body));
}

/* Requests are made before the clock runs: what a client spends on them is not the server's. */
typedef struct Requests {
    Text *texts;
    size_t count;
} Requests;

static Requests make_requests(const Client *client) {
    const Beside *b = client->beside;
    size_t each = client->way == RAW_MANY ? MANY : 1;
    Requests out = {calloc(b->count, sizeof(Text)), 0};
    if (!out.texts) abort();
    for (size_t q = client->first * each; q + each <= b->count; q += client->step * each) {
        Text *request = &out.texts[out.count++];
        if (client->way == NOTHING)
            text_add(request, STR("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        else if (client->way == AS_JSON)
            add_json(b, q, request);
        else
            add_raw(b, q, each, request);
    }
    return out;
}

static void search_directly(const Client *client) {
    const Beside *b = client->beside;
    Hit hits[K];
    size_t found;
    Err err;
    float *query = aligned_alloc(64, b->index->stride * sizeof *query);
    if (!query) abort();
    memset(query, 0, b->index->stride * sizeof *query);
    for (size_t q = client->first; q < b->count; q += client->step) {
        const SearchParams params = {.k = K, .ef = b->ef};
        memcpy(query, b->queries + q * b->index->dimensions, b->index->dimensions * sizeof *query);
        if (!b->index->ops->search(b->index, query, &params, hits, &found, &err))
            client_fail("search", err.message);
    }
    free(query);
}

typedef struct Run {
    Client client;
    Requests requests;
    int fd;
} Run;

static void *run_client(void *context) {
    Run *run = context;
    OWNED(text_close) Text answer = {0};
    for (int pass = 0; pass < PASSES; pass++) {
        if (run->client.way == DIRECT) search_directly(&run->client);
        for (size_t i = 0; i < run->requests.count; i++)
            client_ask(run->fd, text_bytes(&run->requests.texts[i]), &answer);
    }
    return NULL;
}

static double measure(const Beside *b, Way way, size_t clients) {
    Run runs[2];
    pthread_t threads[2];
    for (size_t i = 0; i < clients; i++) {
        runs[i] = (Run){
            .client = {b, way, i, clients},
              .fd = -1
        };
        if (way == DIRECT) continue;
        runs[i].requests = make_requests(&runs[i].client);
        runs[i].fd = client_dial(b->url);
    }
    int64_t started = clock_ns();
    for (size_t i = 0; i < clients; i++) pthread_create(&threads[i], NULL, run_client, &runs[i]);
    for (size_t i = 0; i < clients; i++) pthread_join(threads[i], NULL);
    double seconds = (double)(clock_ns() - started) / 1e9;
    for (size_t i = 0; i < clients; i++) {
        for (size_t r = 0; r < runs[i].requests.count; r++) text_close(&runs[i].requests.texts[r]);
        free(runs[i].requests.texts);
        fd_close(&runs[i].fd);
    }
    return (double)b->count * PASSES / seconds;
}

/* A latency of 0 asked of the kernel keeps idle cores polling. */
static double measure_awake(const Beside *b, Way way, size_t clients) {
    const int32_t latency = 0;
    int fd = open("/dev/cpu_dma_latency", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, &latency, sizeof latency) != sizeof latency)
        client_fail("/dev/cpu_dma_latency", "cannot be written");
    double rate = measure(b, way, clients);
    fd_close(&fd); /* which takes it back */
    return rate;
}

static int by_size(const void *x, const void *y) {
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static void read_queries(Beside *b, const char *path) {
    size_t size = b->index->dimensions * sizeof(float);
    FILE *file = fopen(path, "rb");
    if (!file) client_fail(path, "cannot be opened");
    fseek(file, 0, SEEK_END);
    b->count = (size_t)ftell(file) / size;
    rewind(file);
    b->queries = malloc(b->count * size);
    if (!b->queries || fread(b->queries, size, b->count, file) != b->count)
        client_fail(path, "cannot be read");
    fclose(file);
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        Way way;
    } ways[] = {
        {"direct",   DIRECT  },
        {"nothing",  NOTHING },
        {"raw",      RAW     },
        {"raw-many", RAW_MANY},
        {"json",     AS_JSON }
    };
    static const struct {
        const char *name;
        size_t clients;
        double (*measure)(const Beside *b, Way way, size_t clients);
    } states[] = {
        {"1",     1, measure      },
        {"2",     2, measure      },
        {"AWAKE", 1, measure_awake}
    };
    static double rates[COUNT(ways)][COUNT(states)][ROUNDS_MAX];
    Beside b = {0};
    Err err;
    if (argc != 7 && argc != 8)
        client_fail("usage", "INDEX.idx URL INDEX QUERIES.f32 EF ROUNDS [WAY]");
    const char *only = argv[7]; /* NULL: all */
    if (!index_hnsw_open(argv[1], &b.index, &err)) client_fail(argv[1], err.message);
    b.name = argv[3];
    b.url = argv[2];
    b.ef = (size_t)atoi(argv[5]);
    size_t rounds = (size_t)MIN(MAX(atoi(argv[6]), 1), ROUNDS_MAX);
    read_queries(&b, argv[4]);
    /* Cores that were kept awake have used up what a host may allow: nothing else is measured
     * right behind. */
    for (size_t j = 0; j < COUNT(states); j++)
        for (size_t round = 0; round < rounds; round++)
            for (size_t i = 0; i < COUNT(ways); i++)
                if (!only || strcmp(only, ways[i].name) == 0)
                    rates[i][j][round] = states[j].measure(&b, ways[i].way, states[j].clients);
    for (size_t i = 0; i < COUNT(ways); i++)
        for (size_t j = 0; j < COUNT(states); j++) {
            if (only && strcmp(only, ways[i].name) != 0) continue;
            qsort(rates[i][j], rounds, sizeof(double), by_size);
            printf("%s %s %.1f\n", ways[i].name, states[j].name, rates[i][j][rounds / 2]);
        }
    free(b.queries);
    index_close(&b.index);
    return 0;
}
