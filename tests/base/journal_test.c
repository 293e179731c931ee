#include "kit/kit.h"

#include <sys/stat.h>
#include <unistd.h>

static Err err;

typedef struct Seen {
    int count;
    bool in_order;
} Seen;

static void visit(void *context, Bytes payload) {
    Seen *seen = context;
    uint64_t number = UINT64_MAX;
    str_to_u64(str_of(payload), &number);
    seen->in_order &= number == (uint64_t)seen->count;
    seen->count++;
}

static Seen replay(const char *path) {
    OWNED(journal_close) Journal *journal = NULL;
    Seen seen = {.in_order = true};
    CHECK_OK(journal_open(path, visit, &seen, &journal, &err));
    return seen;
}

static void append_numbers(const char *path, int from, int to) {
    OWNED(journal_close) Journal *journal = NULL;
    CHECK_OK(journal_open(path, NULL, NULL, &journal, &err));
    for (int i = from; i < to; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        CHECK_OK(journal_append(journal, bytes_of(str_from(text)), &err));
    }
    CHECK_OK(journal_sync(journal, &err));
}

TEST("records come back in order over several openings") {
    char path[128];
    snprintf(path, sizeof path, "%s/log", kit_dir());
    append_numbers(path, 0, 100);
    append_numbers(path, 100, 150);
    Seen seen = replay(path);
    CHECK_INT(seen.count, 150);
    CHECK(seen.in_order);
}

TEST("wherever the file is cut, the whole records before the cut survive and appending goes on") {
    char path[128];
    snprintf(path, sizeof path, "%s/log", kit_dir());
    append_numbers(path, 0, 3); /* three records of nine bytes */
    for (int size = 26; size >= 0; size--) {
        CHECK(truncate(path, size) == 0);
        CHECK_INT(replay(path).count, size / 9);
    }
    append_numbers(path, 0, 2);
    CHECK_INT(replay(path).count, 2);
}

TEST("a flipped bit ends the journal there") {
    char path[128];
    snprintf(path, sizeof path, "%s/log", kit_dir());
    append_numbers(path, 0, 3);
    FILE *file = fopen(path, "r+");
    CHECK(file && fseek(file, 9 + 8, SEEK_SET) == 0 && fputc('7', file) == '7');
    fclose(file);
    CHECK_INT(replay(path).count, 1);
}

static void append_forever(void *path) {
    for (int i = 0;; i++) {
        append_numbers(path, i, i + 1);
        kit_acknowledge(&i, sizeof i);
    }
}

TEST("whenever the writer is killed, every synced record is there") {
    for (int round = 0; round < 20; round++) {
        char path[128];
        size_t synced;
        snprintf(path, sizeof path, "%s/log", kit_dir());
        kit_kill(append_forever, path, 30000, sizeof(int), &synced);
        Seen seen = replay(path);
        CHECK(seen.count >= (int)synced && seen.in_order);
    }
}
