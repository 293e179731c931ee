/* Reading an object through windows.
 *
 * The first request is made when the object is opened and brings size, etag and the first bytes, so
 * that a small object costs one. A reader that goes on from there gets windows of part_bytes that
 * threads of the crew fetch ahead of it, one, then two, up to `parallel`; bytes are handed out as
 * they arrive. A reader that jumps gets what it asks for and a little more, and nothing ahead.
 * Memory: the window that is read and `parallel` ahead of it, 40 MiB with the default limits. */
#include "storage/s3_store.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_BYTES (1u << 20)
#define FROM_MAX ((uint64_t)1 << 62) /* far behind the end of any object */
#define JUMP_BYTES (256u << 10)      /* at least, for a read that was not expected */

typedef struct S3Reader S3Reader;
typedef struct Window Window;
struct Window {
    S3Task task;
    S3Reader *reader;
    Window *next;
    S3Fetch fetch;
    uint64_t from, count;
    uint64_t filled; /* this and the next two under the reader's lock */
    bool done, ok;
    Err err;
    uint8_t buffer[];
};

struct S3Reader {
    ObjectReader reader;
    S3Client *client;
    S3Name name;
    pthread_mutex_t lock;
    pthread_cond_t moved;
    Window *first, *last; /* in order, without gaps; the first is the one that is read */
    size_t count, ahead;
    uint64_t expected; /* where a sequential reader reads next */
    uint64_t end;      /* nothing is fetched ahead behind it */
    _Atomic bool cancelled;
};

static void on_moved(void *context, uint64_t got) {
    Window *window = context;
    pthread_mutex_lock(&window->reader->lock);
    window->filled = got;
    pthread_cond_broadcast(&window->reader->moved);
    pthread_mutex_unlock(&window->reader->lock);
}

static void window_run(S3Task *task) {
    Window *window = (Window *)task;
    S3Reader *reader = window->reader;
    Err err = {0};
    bool ok = s3_fetch(&window->fetch, &err);
    pthread_mutex_lock(&reader->lock);
    window->ok = ok;
    window->err = err;
    window->done = true;
    pthread_cond_broadcast(&reader->moved);
    pthread_mutex_unlock(&reader->lock);
}

static Window *window_add(S3Reader *reader, uint64_t from, uint64_t count) {
    Window *window = malloc(sizeof *window + count);
    if (!window) abort();
    *window = (Window){.task = {.run = window_run}, .reader = reader, .from = from, .count = count};
    window->fetch = (S3Fetch){.client = reader->client,
                              .name = &reader->name,
                              .from = from,
                              .count = count,
                              .buffer = window->buffer,
                              .info = &reader->reader.info,
                              .moved = on_moved,
                              .context = window,
                              .cancelled = &reader->cancelled};
    if (reader->last)
        reader->last->next = window;
    else
        reader->first = window;
    reader->last = window;
    reader->count++;
    return window;
}

static void drop_first(S3Reader *reader) {
    Window *window = reader->first;
    crew_cancel(&reader->client->crew, &window->task);
    reader->first = window->next;
    if (!reader->first) reader->last = NULL;
    reader->count--;
    free(window);
}

static void drop_all(S3Reader *reader) {
    reader->cancelled = true; /* what is under way ends at its next byte */
    while (reader->first) drop_first(reader);
    reader->cancelled = false;
}

void s3_reader_close(ObjectReader *base) {
    S3Reader *reader = (S3Reader *)base;
    drop_all(reader);
    s3_client_release(&reader->client);
    pthread_mutex_destroy(&reader->lock);
    pthread_cond_destroy(&reader->moved);
    free(reader);
}

int s3_reader_take_fd(ObjectReader *base) {
    (void)base;
    return -1;
}

static S3Reader *reader_new(S3Store *store, const S3Name *name) {
    S3Reader *reader = calloc(1, sizeof *reader);
    if (!reader) abort();
    reader->reader.ops = store->store.ops;
    reader->client = s3_client_hold(store->client);
    reader->name = *name;
    pthread_mutex_init(&reader->lock, NULL);
    pthread_cond_init(&reader->moved, NULL);
    return reader;
}

bool s3_store_open(Store *base, Str key, const ReadHint *hint, ObjectReader **out, Err *err) {
    S3Store *store = (S3Store *)base;
    ReadHint all = {0};
    S3Name name;
    if (!hint) hint = &all;
    if (!s3_name(store, key, &name, err)) return false;
    S3Reader *reader = reader_new(store, &name);
    OWNED(object_close) ObjectReader *closing = &reader->reader;
    uint64_t most = (uint64_t)store->client->limits.part_bytes, count = hint->count;
    if (count == 0 || count > most) count = FIRST_BYTES;
    Window *window = window_add(reader, MIN(hint->from, FROM_MAX), count);
    window_run(&window->task);
    if (!window->ok) {
        *err = window->err;
        return false;
    }
    window->count = window->fetch.count;
    reader->expected = hint->from;
    reader->end = reader->reader.info.size;
    if (hint->count && hint->count < reader->end - MIN(hint->from, reader->end))
        reader->end = hint->from + hint->count;
    *out = TAKE(closing);
    return true;
}

static bool holds(const Window *window, uint64_t offset) {
    return window && offset >= window->from && offset - window->from < window->count;
}

/* The window that holds the offset, those before it dropped; NULL when none does. */
static Window *window_at(S3Reader *reader, uint64_t offset) {
    const Window *window = reader->first;
    while (window && !holds(window, offset)) window = window->next;
    if (!window) return NULL;
    if (window != reader->first)
        reader->ahead = MIN(reader->ahead * 2, (size_t)reader->client->limits.parallel);
    while (reader->first != window) drop_first(reader);
    return reader->first;
}

/* Nobody fetched it ahead: here and now, on the reader's own thread. */
static Window *window_jump(S3Reader *reader, uint64_t offset, size_t size) {
    uint64_t most = (uint64_t)reader->client->limits.part_bytes;
    uint64_t wanted = offset == reader->expected ? most : MAX(size, JUMP_BYTES);
    uint64_t left = reader->reader.info.size - offset;
    drop_all(reader);
    reader->ahead = 0;
    Window *window = window_add(reader, offset, MIN(MIN(wanted, most), left));
    window_run(&window->task);
    return window;
}

static void fetch_ahead(S3Reader *reader) {
    if (reader->ahead == 0) reader->ahead = 1;
    while (reader->count <= reader->ahead) {
        uint64_t from = reader->last->from + reader->last->count;
        if (from >= reader->end) return;
        uint64_t most = (uint64_t)reader->client->limits.part_bytes;
        Window *window = window_add(reader, from, MIN(most, reader->end - from));
        crew_start(&reader->client->crew, &window->task);
    }
}

static bool window_read(Window *window, uint64_t offset, void *buffer, size_t size, size_t *got,
                        Err *err) {
    S3Reader *reader = window->reader;
    uint64_t at = offset - window->from;
    crew_help(&reader->client->crew, &window->task);
    pthread_mutex_lock(&reader->lock);
    while (window->filled <= at && !window->done) pthread_cond_wait(&reader->moved, &reader->lock);
    uint64_t filled = window->filled;
    if (filled <= at) *err = window->err;
    pthread_mutex_unlock(&reader->lock);
    if (filled <= at) return false;
    *got = (size_t)MIN((uint64_t)size, filled - at);
    memcpy(buffer, window->buffer + at, *got);
    return true;
}

bool s3_reader_read(ObjectReader *base, uint64_t offset, void *buffer, size_t size, size_t *got,
                    Err *err) {
    S3Reader *reader = (S3Reader *)base;
    if (offset >= base->info.size || size == 0) return *got = 0, true;
    Window *window = window_at(reader, offset);
    if (offset >= reader->end) reader->end = base->info.size;
    bool goes_on = offset == reader->expected;
    if (!window) window = window_jump(reader, offset, size);
    if (goes_on) fetch_ahead(reader);
    if (!window_read(window, offset, buffer, size, got, err)) {
        drop_all(reader); /* another try asks the server anew */
        return false;
    }
    reader->expected = offset + *got;
    return true;
}
