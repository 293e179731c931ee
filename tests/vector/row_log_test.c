#include "vector/row_log.h"

#include "kit/kit.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct Seen { /* what was applied, as text: "+a@1 -b@2 " */
    Text text;
} Seen;

static bool note(void *context, const RowBatch *batch, Err *err) {
    Seen *seen = context;
    (void)err;
    for (size_t i = 0; i < batch->delete_count; i++)
        text_print(&seen->text, "-%.*s@%d ", SHOW(batch->deletes[i]), (int)batch->last);
    for (size_t i = 0; i < batch->put_count; i++)
        text_print(&seen->text, "+%.*s@%d ", SHOW(batch->puts[i].doc_id), (int)batch->last);
    return true;
}

static RowLog new_log(const char *dir) {
    Err err = {0};
    RowLog log = {.prefix = STR("vectors/i/rows/x/")};
    CHECK_OK(store_local_open_shared(str_from(dir), &log.store, &err));
    return log;
}

static RowBatch put_of(RowPut *put, const char *doc_id, const float *vector) {
    *put = (RowPut){.doc_id = str_from(doc_id), .text = STR("a text"), .vector = vector};
    return (RowBatch){.dimensions = 3, .puts = put, .put_count = 1};
}

static void append(const RowLog *log, const char *doc_id, uint64_t *known, Seen *seen) {
    static const float vector[3] = {1, 2, 3};
    RowPut put;
    Err err = {0};
    RowBatch batch = put_of(&put, doc_id, vector);
    CHECK_OK(row_log_append(log, &batch, known, note, seen, &err));
}

static Str replayed(const RowLog *log, uint64_t known, Seen *seen) {
    Err err = {0};
    text_clear(&seen->text);
    CHECK_OK(row_log_replay(log, &known, note, seen, &err));
    return text_str(&seen->text);
}

TEST("a batch reads back as it was written, of any bytes and lengths") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text text = {0};
    const float a[] = {1, -2.5f}, b[] = {0, 3e38f};
    Str deletes[] = {STR("gone"), STR("\0\xff")};
    RowPut puts[] = {
        {STR("ÿ✓"), STR(""),           0, a},
        {STR("d"),     STR("line\nline"), 7, b}
    };
    const RowBatch batch = {3, 9, 2, deletes, 2, puts, 2};
    RowBatch back;
    Err err = {0};
    row_batch_encode(&batch, &text);
    CHECK_INT(text.len, row_batch_size(&batch));
    CHECK_OK(row_batch_decode(text_bytes(&text), &arena, &back, &err));
    CHECK_INT(back.first, 3);
    CHECK_INT(back.last, 9);
    CHECK(str_equal(back.deletes[1], deletes[1]));
    CHECK_STR(back.puts[0].doc_id, "ÿ✓");
    CHECK_STR(back.puts[1].text, "line\nline");
    CHECK_INT(back.puts[1].chunk, 7);
    CHECK(memcmp(back.puts[1].vector, b, sizeof b) == 0);
}

TEST("a batch with any byte changed, or cut anywhere, is refused") {
    OWNED(text_close) Text text = {0};
    const float vector[] = {1, 2, 3};
    RowPut put;
    Str deletes[] = {STR("other")};
    RowBatch batch = put_of(&put, "doc", vector), back;
    batch.first = batch.last = 1, batch.deletes = deletes, batch.delete_count = 1;
    row_batch_encode(&batch, &text);
    for (size_t i = 0; i < text.len; i++) {
        OWNED(arena_close) Arena arena = {0};
        Err err = {0};
        text.data[i] ^= 1;
        CHECK(!row_batch_decode(text_bytes(&text), &arena, &back, &err));
        text.data[i] ^= 1;
        CHECK(!row_batch_decode((Bytes){(uint8_t *)text.data, i}, &arena, &back, &err));
    }
}

TEST("numbers that are not finite are refused though the checksum is right") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text text = {0};
    const float vector[] = {1, (float)(0.0 / 0.0), 3};
    RowPut put;
    RowBatch batch = put_of(&put, "doc", vector);
    Err err = {0};
    batch.first = batch.last = 1;
    row_batch_encode(&batch, &text);
    CHECK(!row_batch_decode(text_bytes(&text), &arena, &batch, &err));
    CHECK(err.kind == LH_CORRUPT);
}

TEST("batches are replayed in order, from any number on") {
    RowLog log = new_log(kit_dir());
    Seen seen = {0};
    uint64_t known = 0;
    append(&log, "a", &known, &seen);
    append(&log, "b", &known, &seen);
    append(&log, "c", &known, &seen);
    CHECK_STR(text_str(&seen.text), "+a@1 +b@2 +c@3 ");
    CHECK_STR(replayed(&log, 0, &seen), "+a@1 +b@2 +c@3 ");
    CHECK_STR(replayed(&log, 2, &seen), "+c@3 ");
    CHECK_STR(replayed(&log, 3, &seen), "");
    text_close(&seen.text);
    store_close(&log.store);
}

TEST("whoever finds a number taken applies what stands there, then takes the next") {
    RowLog log = new_log(kit_dir());
    Seen mine = {0}, theirs = {0};
    uint64_t my_known = 0, their_known = 0;
    append(&log, "a", &my_known, &mine);
    append(&log, "b", &my_known, &mine);
    append(&log, "c", &their_known, &theirs);
    CHECK_STR(text_str(&theirs.text), "+a@1 +b@2 +c@3 ");
    append(&log, "d", &my_known, &mine);
    CHECK_STR(text_str(&mine.text), "+a@1 +b@2 +c@3 +d@4 ");
    text_close(&mine.text);
    text_close(&theirs.text);
    store_close(&log.store);
}

static void merge(const RowLog *log, uint64_t first, uint64_t last) {
    static const float vector[3] = {1, 2, 3};
    RowPut put;
    Err err = {0};
    RowBatch batch = put_of(&put, "merged", vector);
    batch.first = first, batch.last = last;
    CHECK_OK(row_log_replace(log, &batch, &err));
}

TEST("one object stands for those it replaced, for who knows none, some or all of them") {
    RowLog log = new_log(kit_dir());
    OWNED(arena_close) Arena arena = {0};
    Seen seen = {0};
    uint64_t known = 0;
    RowObject *objects;
    size_t count;
    Err err = {0};
    for (const char *id = "abcde"; *id; id++) append(&log, (char[]){*id, 0}, &known, &seen);
    merge(&log, 1, 4);
    CHECK_STR(replayed(&log, 0, &seen), "+merged@4 +e@5 ");
    CHECK_STR(replayed(&log, 2, &seen), "+merged@4 +e@5 ");
    CHECK_STR(replayed(&log, 4, &seen), "+e@5 ");
    CHECK_OK(row_log_list(&log, 0, &arena, &objects, &count, &err));
    CHECK_INT(count, 2);
    append(&log, "f", &known, &seen);
    merge(&log, 4, 6); /* overlaps, as two servers' merges may */
    CHECK_STR(replayed(&log, 0, &seen), "+merged@4 +merged@6 ");
    merge(&log, 1, 6);
    CHECK_STR(replayed(&log, 0, &seen), "+merged@6 ");
    text_close(&seen.text);
    store_close(&log.store);
}

TEST("a number that merging left free is not taken by who did not hear of it") {
    RowLog log = new_log(kit_dir());
    Seen seen = {0}, late = {0};
    uint64_t known = 0, old = 0;
    Err err = {0};
    append(&log, "a", &known, &seen);
    CHECK_OK(row_log_replay(&log, &old, note, &late, &err));
    append(&log, "b", &known, &seen);
    append(&log, "c", &known, &seen);
    merge(&log, 1, 3);
    append(&log, "z", &old, &late);
    CHECK_STR(text_str(&late.text), "+a@1 +merged@3 +z@4 ");
    CHECK_STR(replayed(&log, 0, &seen), "+merged@3 +z@4 ");
    text_close(&seen.text);
    text_close(&late.text);
    store_close(&log.store);
}

typedef struct Racer {
    const RowLog *log;
    Seen seen;
    char name;
} Racer;

#define RACES 40

static void *race(void *context) {
    Racer *racer = context;
    static const float vector[3] = {1, 2, 3};
    uint64_t known = 0;
    for (int i = 0; i < RACES; i++) {
        char id[8];
        RowPut put;
        Err err = {0};
        snprintf(id, sizeof id, "%c%d", racer->name, i);
        RowBatch batch = put_of(&put, id, vector);
        if (!row_log_append(racer->log, &batch, &known, note, &racer->seen, &err)) abort();
    }
    return NULL;
}

static void append_delete(const RowLog *log, const char *doc_id, uint64_t *known, Seen *seen) {
    Str id = str_from(doc_id);
    Err err = {0};
    RowBatch batch = {.deletes = &id, .delete_count = 1};
    CHECK_OK(row_log_append(log, &batch, known, note, seen, &err));
}

TEST("many small objects are joined into one that has the last state of each document") {
    RowLog log = new_log(kit_dir());
    OWNED(arena_close) Arena arena = {0};
    Seen seen = {0};
    uint64_t known = 0;
    RowObject *objects;
    size_t count, merged;
    Err err = {0};
    for (int i = 0; i < 6; i++) append(&log, (const char *[]){"a", "b"}[i % 2], &known, &seen);
    CHECK_OK(row_log_merge(&log, 3, &merged, &err));
    CHECK_INT(merged, 0); /* too few */
    append_delete(&log, "b", &known, &seen);
    append_delete(&log, "never", &known, &seen);
    append(&log, "c", &known, &seen);
    append(&log, "newest", &known, &seen);
    CHECK_OK(row_log_merge(&log, 3, &merged, &err));
    CHECK_INT(merged, 9);
    CHECK_STR(replayed(&log, 0, &seen), "-b@9 -never@9 +a@9 +c@9 +newest@10 ");
    CHECK_STR(replayed(&log, 9, &seen), "+newest@10 ");
    CHECK_OK(row_log_list(&log, 0, &arena, &objects, &count, &err));
    CHECK_INT(count, 2);
    text_close(&seen.text);
    store_close(&log.store);
}

TEST("a writer beside one who merges all the time loses nothing") {
    RowLog log = new_log(kit_dir());
    Racer racer = {.log = &log, .name = 'x'};
    pthread_t thread;
    Seen seen = {0};
    size_t merged, all = 0;
    CHECK(pthread_create(&thread, NULL, race, &racer) == 0);
    for (uint64_t known = 0; known < RACES;) {
        Err err = {0};
        CHECK_OK(row_log_replay(&log, &known, note, &seen, &err));
        if (!row_log_merge(&log, 3, &merged, &err)) CHECK(err.kind == LH_MISSING);
        all += merged;
    }
    pthread_join(thread, NULL);
    CHECK(all > 0);
    Str found = replayed(&log, 0, &seen);
    for (int i = 0; i < RACES; i++) {
        char id[16];
        size_t at;
        snprintf(id, sizeof id, "+x%d@", i);
        CHECK(str_find(found, str_from(id), &at));
    }
    text_close(&racer.seen.text);
    text_close(&seen.text);
    store_close(&log.store);
}

static void damage(const char *dir, const char *name, bool remove) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/vectors/i/rows/x/%s", dir, name);
    if (remove) {
        CHECK(unlink(path) == 0);
        return;
    }
    FILE *file = fopen(path, "r+");
    CHECK(file && fseek(file, 70, SEEK_SET) == 0 && fputc(0x55, file) != EOF);
    fclose(file);
}

TEST("a damaged batch and a lost one are told, and nothing behind them is applied") {
    const char *dir = kit_dir();
    RowLog log = new_log(dir);
    Seen seen = {0};
    uint64_t known = 0;
    Err err = {0};
    for (const char *id = "abcd"; *id; id++) append(&log, (char[]){*id, 0}, &known, &seen);
    damage(dir, "00000000000000000003.rows", false);
    text_clear(&seen.text);
    known = 0;
    CHECK(!row_log_replay(&log, &known, note, &seen, &err));
    CHECK(err.kind == LH_CORRUPT);
    CHECK_INT(known, 2);
    damage(dir, "00000000000000000003.rows", true);
    CHECK(!row_log_replay(&log, &known, note, &seen, &err));
    CHECK(err.kind == LH_CORRUPT && strstr(err.message, "batch 3"));
    CHECK_STR(text_str(&seen.text), "+a@1 +b@2 ");
    text_close(&seen.text);
    store_close(&log.store);
}

TEST("writers side by side lose nothing and agree on the order") {
    RowLog log = new_log(kit_dir());
    Racer racers[3];
    pthread_t threads[COUNT(racers)];
    Seen seen = {0};
    for (size_t i = 0; i < COUNT(racers); i++) {
        racers[i] = (Racer){.log = &log, .name = (char)('a' + i)};
        CHECK(pthread_create(&threads[i], NULL, race, &racers[i]) == 0);
    }
    for (size_t i = 0; i < COUNT(racers); i++) pthread_join(threads[i], NULL);
    Str all = replayed(&log, 0, &seen);
    int batches = 0;
    for (size_t i = 0; i < all.len; i++) batches += all.data[i] == '+';
    CHECK_INT(batches, RACES * (int)COUNT(racers));
    for (size_t i = 0; i < COUNT(racers); i++) {
        CHECK(str_starts(all, text_str(&racers[i].seen.text)));
        text_close(&racers[i].seen.text);
    }
    text_close(&seen.text);
    store_close(&log.store);
}
