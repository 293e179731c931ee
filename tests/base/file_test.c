#include "kit/kit.h"

#include <sys/stat.h>
#include <unistd.h>

static Err err;

TEST("a replaced file holds the new bytes and leaves no other file behind") {
    OWNED(arena_close) Arena arena = {0};
    const char *dir = kit_dir();
    const char *path = arena_print(&arena, "%s/a/b/file", dir).data;
    Bytes data;
    CHECK_OK(dir_make(arena_print(&arena, "%s/a/b", dir).data, &err));
    CHECK_OK(file_replace(path, bytes_of(STR("one")), &err));
    CHECK_OK(file_replace(path, bytes_of(STR("two")), &err));
    CHECK_OK(file_read(path, 10, &arena, &data, &err));
    CHECK_STR(str_of(data), "two");
    CHECK(!file_read(path, 2, &arena, &data, &err) && err.kind == LH_TOO_BIG);
    CHECK(unlink(path) == 0 && rmdir(arena_print(&arena, "%s/a/b", dir).data) == 0);
}

TEST("a look sees a file that was replaced, by one of the same size too, and one that is gone") {
    OWNED(arena_close) Arena arena = {0};
    const char *path = arena_print(&arena, "%s/looked", kit_dir()).data;
    FileLook look = {0};
    CHECK(file_look_is_due(&look));
    CHECK_OK(file_replace(path, bytes_of(STR("one")), &err));
    CHECK(file_look_changed(&look, path) && !file_look_changed(&look, path));
    CHECK(!file_look_is_due(&look));
    CHECK_OK(file_replace(path, bytes_of(STR("two")), &err));
    CHECK(file_look_changed(&look, path) && !file_look_changed(&look, path));
    CHECK(unlink(path) == 0 && file_look_changed(&look, path));
}

TEST("removing a directory does not follow links out of it") {
    OWNED(arena_close) Arena arena = {0};
    const char *dir = kit_dir(), *kept = kit_dir();
    CHECK_OK(file_replace(arena_print(&arena, "%s/file", kept).data, bytes_of(STR("x")), &err));
    CHECK_OK(dir_make(arena_print(&arena, "%s/in/deep", dir).data, &err));
    CHECK(symlink(kept, arena_print(&arena, "%s/in/deep/link", dir).data) == 0);
    CHECK_OK(dir_remove(arena_print(&arena, "%s/in", dir).data, &err));
    CHECK(access(arena_print(&arena, "%s/in", dir).data, F_OK) != 0);
    CHECK(access(arena_print(&arena, "%s/file", kept).data, F_OK) == 0);
}

TEST("CRC32C matches the vectors of RFC 3720") {
    uint8_t zeros[32] = {0};
    CHECK(crc32c(0, (Bytes){zeros, 32}) == 0x8A9136AA);
    CHECK(crc32c(0, bytes_of(STR("123456789"))) == 0xE3069283);
    CHECK(crc32c(crc32c(0, bytes_of(STR("1234"))), bytes_of(STR("56789"))) == 0xE3069283);
}

TEST("times are written and read as RFC 3339") {
    char buffer[CLOCK_TEXT_SIZE];
    int64_t ms;
    CHECK_STR(clock_text(1700000000123, buffer), "2023-11-14T22:13:20.123Z");
    CHECK(clock_read(STR("2023-11-14T22:13:20.123Z"), &ms) && ms == 1700000000123);
    CHECK(clock_read(STR("2023-11-14T23:13:20+01:00"), &ms) && ms == 1700000000000);
    CHECK(!clock_read(STR("2023-11-14"), &ms) && !clock_read(STR("2023-11-14T22:13:20"), &ms));
}
