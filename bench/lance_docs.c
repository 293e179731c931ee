/* A document by its id: in this process from a Lance table, and from a running server.
 * bench/lance_docs.mjs runs it beside LanceDB.
 *
 *     lance_docs fetch ROOT TABLE ROWS COUNT  of a table of `lance_index write`, by a btree or not
 *     lance_docs btree ROOT TABLE             builds that
 *     lance_docs get URL INDEX ROWS COUNT     GET /vectors/lance/doc/INDEX/NUMBER, keep-alive
 *
 * Prints JSON: microseconds, median and 99 of 100. */
#include "client.h"
#include "lance/lance.h"

#define COUNT_MAX 100000

static Err err;
static int times[COUNT_MAX]; /* nanoseconds */

static void check(bool ok) {
    if (!ok) client_fail("lance_docs", err.message);
}

static int by_value(const void *a, const void *b) {
    return *(const int *)a - *(const int *)b;
}

static int times_print(size_t count) {
    qsort(times, count, sizeof *times, by_value);
    int middle = times[count / 2], late = times[count * 99 / 100];
    printf("{\"p50_us\":%.1f,\"p99_us\":%.1f}\n", middle / 1e3, late / 1e3);
    return 0;
}

static void fetch_one(LanceTable *table, Str id) {
    static const Str names[] = {STR("doc_id"), STR("vector")};
    OWNED(arena_close) Arena arena = {0};
    const LanceKey key = {.kind = LANCE_TEXT, .text = id};
    uint64_t *found;
    size_t count;
    LanceBatch batch;
    check(lance_find(table, STR("doc_id"), &key, &arena, &found, &count, &err));
    if (count != 1) client_fail("lance_docs", "the document is not there");
    check(lance_take(table, found, count, names, COUNT(names), &arena, &batch, &err));
    if (!str_equal(lance_text(batch.columns, 0), id)) client_fail("lance_docs", "another document");
}

static int fetch(const char *root, const char *path, size_t rows, size_t count) {
    OWNED(store_close) Store *store = NULL;
    OWNED(lance_close) LanceTable *table = NULL;
    char id[32];
    check(store_local_open_shared(str_from(root), &store, &err));
    check(lance_open(store, str_from(path), 0, &table, &err));
    for (size_t i = 0; i < count + count / 10; i++) { /* a tenth to warm up */
        snprintf(id, sizeof id, "doc-%06zu", (size_t)random_u64() % rows);
        int64_t start = clock_ns();
        fetch_one(table, str_from(id));
        times[i % count] = (int)(clock_ns() - start);
    }
    return times_print(count);
}

static int btree(const char *root, const char *path) {
    OWNED(store_close) Store *store = NULL;
    OWNED(lance_close) LanceTable *table = NULL;
    check(store_local_open_shared(str_from(root), &store, &err));
    check(lance_open(store, str_from(path), 0, &table, &err));
    check(lance_index_scalar(table, STR("doc_id"), NULL, &err));
    return 0;
}

static int get(const char *url, const char *index, size_t rows, size_t count) {
    OWNED(text_close) Text request = {0};
    OWNED(text_close) Text answer = {0};
    int fd = client_dial(url);
    for (size_t i = 0; i < count + count / 10; i++) {
        text_clear(&request);
        text_print(&request, "GET /vectors/lance/doc/%s/%zu HTTP/1.1\r\nHost: localhost\r\n\r\n",
                   index, (size_t)random_u64() % rows);
        int64_t start = clock_ns();
        client_ask(fd, text_bytes(&request), &answer);
        times[i % count] = (int)(clock_ns() - start);
    }
    close(fd);
    return times_print(count);
}

int main(int argc, char **argv) {
    size_t rows = argc > 4 ? (size_t)atol(argv[4]) : 0;
    size_t count = argc > 5 ? MIN((size_t)atol(argv[5]), (size_t)COUNT_MAX) : 0;
    Str verb = str_from(argc > 1 ? argv[1] : "");
    if (str_is(verb, "btree") && argc == 4) return btree(argv[2], argv[3]);
    if (str_is(verb, "fetch") && rows && count) return fetch(argv[2], argv[3], rows, count);
    if (str_is(verb, "get") && rows && count) return get(argv[2], argv[3], rows, count);
    return fprintf(stderr, "usage: lance_docs fetch|btree|get ... (see lance_docs.c)\n"), 2;
}
