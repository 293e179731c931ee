#include "kit/kit.h"
#include "vector/text_index.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static Err err;

static const char *const texts[] = {"the cat sat on the mat", "", "cats and dogs, dogs and cats",
                                    "Été i kot", "a dog"};

static Str text_of(const void *context, size_t row) {
    (void)context;
    return str_from(texts[row]);
}

static const char *write_file(const TextRows *rows) {
    static char path[128];
    static int number;
    snprintf(path, sizeof path, "%s/%d.idx", kit_dir(), number++);
    CHECK_OK(text_index_write(rows, path, &err));
    return path;
}

static size_t ask(const TextIndex *index, const char *query, const RowSet *allowed, Hit *hits) {
    size_t count;
    CHECK_OK(text_index_search(index, str_from(query), 10, allowed, hits, &count, &err));
    return count;
}

/* Of a word that `rows` of 5 texts hold, `tf` times in one of `len` words; 17 words in all. */
static double bm25(double rows, double tf, double len) {
    return log(1 + (5 - rows + 0.5) / (rows + 0.5)) * tf * 2.2 /
           (tf + 1.2 * (0.25 + 0.75 * len / (17.0 / 5)));
}

TEST("rows that hold the words are ranked by BM25, whatever the form of the words") {
    OWNED(text_index_close) TextIndex *index = NULL;
    const TextRows rows = {.count = COUNT(texts), .text = text_of};
    Hit hits[10];
    CHECK_OK(text_index_open(write_file(&rows), &index, &err));
    CHECK_INT(text_index_rows(index), 5);
    CHECK_INT(ask(index, "cat", NULL, hits), 2);
    CHECK_INT(hits[0].row, 2);
    CHECK(fabs(hits[0].score - bm25(2, 2, 6)) < 1e-5);
    CHECK(fabs(hits[1].score - bm25(2, 1, 6)) < 1e-5);
    CHECK_INT(ask(index, "a DOG, and a cat", NULL, hits), 3);
    CHECK_INT(ask(index, "été", NULL, hits), 1);
    CHECK_INT(hits[0].row, 3);
    CHECK_INT(ask(index, "elephant", NULL, hits), 0);
    CHECK_INT(ask(index, "", NULL, hits), 0);
}

static int stem_order(const void *a, const void *b) {
    uint64_t x = ((const Stem *)a)->hash, y = ((const Stem *)b)->hash;
    return (x > y) - (x < y);
}

TEST("a text beside the index gets the score that it would have in it") {
    OWNED(text_index_close) TextIndex *index = NULL;
    OWNED(text_query_close) TextQuery query = {0};
    OWNED(stems_close) Stems *stems = NULL;
    const TextRows rows = {.count = COUNT(texts), .text = text_of};
    Stem sorted[32];
    Hit hits[10];
    size_t count, asked;
    CHECK_OK(text_index_open(write_file(&rows), &index, &err));
    CHECK_OK(text_query_open(index, STR("the cats, the DOG and an elephant"), &query, &err));
    CHECK_OK(stems_open(&stems, &err));
    asked = ask(index, "the cats, the DOG and an elephant", NULL, hits);
    CHECK_INT(asked, 3);
    for (size_t i = 0; i < asked; i++) {
        uint32_t words = 0;
        const Stem *list = stems_of(stems, str_from(texts[hits[i].row]), &count);
        for (size_t j = 0; j < count; j++) words += (sorted[j] = list[j]).count;
        qsort(sorted, count, sizeof *sorted, stem_order);
        CHECK(fabsf(text_query_score(&query, sorted, count, words) - hits[i].score) < 1e-5f);
    }
    CHECK(text_query_score(&query, NULL, 0, 0) == 0);
}

TEST("rows that are not allowed are left out") {
    OWNED(text_index_close) TextIndex *index = NULL;
    const TextRows rows = {.count = COUNT(texts), .text = text_of};
    uint64_t bits = 1 << 0 | 1 << 4;
    const RowSet allowed = {&bits, 2};
    Hit hits[10];
    CHECK_OK(text_index_open(write_file(&rows), &index, &err));
    CHECK_INT(ask(index, "cat", &allowed, hits), 1);
    CHECK_INT(hits[0].row, 0);
}

TEST("an index without rows answers nothing") {
    OWNED(text_index_close) TextIndex *index = NULL;
    const TextRows rows = {.count = 0, .text = text_of};
    Hit hits[10];
    CHECK_OK(text_index_open(write_file(&rows), &index, &err));
    CHECK_INT(ask(index, "cat", NULL, hits), 0);
}

static Str numbered(const void *context, size_t row) {
    static _Thread_local char text[64];
    (void)context;
    int len = snprintf(text, sizeof text, "common w%zu x%zu", row % 1000, row);
    return (Str){text, (size_t)len};
}

TEST("many rows, more than a block: each word finds the rows that hold it") {
    OWNED(text_index_close) TextIndex *index = NULL;
    const TextRows rows = {.count = 20000, .text = numbered};
    Hit hits[100];
    size_t count;
    CHECK_OK(text_index_open(write_file(&rows), &index, &err));
    CHECK_OK(text_index_search(index, STR("w7"), 100, NULL, hits, &count, &err));
    CHECK_INT(count, 20);
    for (size_t i = 0; i < count; i++) CHECK_INT(hits[i].row, 7 + 1000 * i); /* equal: by row */
    CHECK_INT(ask(index, "x19999 common", NULL, hits), 10);
    CHECK_INT(hits[0].row, 19999);
}

static bool always(void *context) {
    (void)context;
    return true;
}

TEST("a cancelled writing leaves no file") {
    const TextRows rows = {.count = COUNT(texts), .text = text_of, .cancelled = always};
    char path[128];
    snprintf(path, sizeof path, "%s/cancelled.idx", kit_dir());
    CHECK(!text_index_write(&rows, path, &err) && err.kind == LH_CANCELLED);
    CHECK(access(path, F_OK) != 0);
}

TEST("a file with any byte changed, or cut anywhere, is refused or answered, never misread past "
     "its end") {
    const TextRows rows = {.count = COUNT(texts), .text = text_of};
    const char *path = write_file(&rows);
    uint8_t bytes[4096];
    Hit hits[10];
    int fd = open(path, O_RDWR);
    ssize_t size = pread(fd, bytes, sizeof bytes, 0);
    CHECK(size > 100 && size < (ssize_t)sizeof bytes);
    for (ssize_t i = 0; i < size; i++) {
        OWNED(text_index_close) TextIndex *index = NULL;
        uint8_t changed = bytes[i] ^ 0x81;
        size_t count;
        CHECK(pwrite(fd, &changed, 1, i) == 1);
        if (text_index_open(path, &index, &err))
            text_index_search(index, STR("cat dog the"), 10, NULL, hits, &count, &err);
        CHECK(pwrite(fd, &bytes[i], 1, i) == 1);
    }
    for (ssize_t i = size - 1; i >= 0; i -= 3) {
        OWNED(text_index_close) TextIndex *index = NULL;
        CHECK(ftruncate(fd, i) == 0);
        CHECK(!text_index_open(path, &index, &err));
    }
    close(fd);
}
