#include "lance/commit.h"
#include "lance/deletion.h"
#include "lance/lance_kit.h"
#include "lance/wire.h"

/* A manifest with everything that this library has no name for: an unknown field of each wire type,
 * table configuration, a nested column. */
static Manifest rich(Arena *arena) {
    OWNED(text_close) Text fields = {0};
    OWNED(text_close) Text rest = {0};
    LanceField field = {.name = STR("x"), .type = lance_type(STR("int32")), .id = 4};
    field_encode(&fields, 1, &field);
    wire_put(&rest, 14, 77); /* next_row_id */
    wire_put_text(&rest, 900, STR("unknown to us"));
    wire_put_double(&rest, 901, 2.5);
    size_t begun = wire_begin(&rest, 16);
    wire_put_text(&rest, 1, STR("key"));
    wire_end(&rest, begun);
    Fragment *fragment = arena_new(arena, Fragment);
    LanceDataFile *file = arena_new(arena, LanceDataFile);
    static int32_t ids[] = {4}, columns[] = {0};
    *file = (LanceDataFile){.path = STR("f.lance"), ids, columns, 1, .major = 2, .size = 99};
    *fragment = (Fragment){.id = 3, .physical_rows = 10, .files = file, .file_count = 1};
    fragment_encode(fragment, arena);
    return (Manifest){.version = 9,
                      .schema_raw = bytes_of(arena_copy(arena, text_str(&fields))),
                      .fragments = fragment,
                      .fragment_count = 1,
                      .has_fragment_id = true,
                      .fragment_id_max = 3,
                      .committed_ms = 1700000000123,
                      .file_version = "2.0",
                      .rest = bytes_of(arena_copy(arena, text_str(&rest)))};
}

static Manifest again(const Manifest *manifest, Arena *arena) {
    OWNED(text_close) Text bytes = {0};
    Manifest read;
    lance_manifest_write(manifest, bytes_of(STR("")), &bytes);
    CHECK_OK(lance_manifest_read(text_bytes(&bytes), arena, &read, &err));
    return read;
}

TEST("what a manifest holds is carried over, known or not") {
    OWNED(arena_close) Arena arena = {0};
    Manifest manifest = rich(&arena), read = again(&manifest, &arena);
    CHECK_INT(read.version, 9);
    CHECK_INT(read.committed_ms, 1700000000123);
    CHECK_INT(read.field_id_max, 4);
    CHECK_STR(read.schema.fields[0].name, "x");
    CHECK_INT(read.fragments[0].id, 3);
    CHECK_INT(read.fragments[0].files[0].size, 99);
    CHECK(str_equal(str_of(read.rest), str_of(manifest.rest)));
    Manifest third = again(&read, &arena);
    CHECK(str_equal(str_of(third.rest), str_of(manifest.rest)));
    CHECK(str_equal(str_of(third.fragments[0].raw), str_of(manifest.fragments[0].raw)));
}

TEST("a fragment that changes keeps the fields that nobody here knows") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text raw = {0};
    Manifest manifest = rich(&arena);
    Fragment fragment;
    WireField field;
    text_add(&raw, str_of(manifest.fragments[0].raw));
    wire_put_text(&raw, 77, STR("of the future"));
    CHECK_OK(fragment_read(text_bytes(&raw), &arena, &fragment, &err));
    DeletionFile deletion = {true, DELETION_BITMAP, 8, 12345, 2};
    fragment_set_deletion(&fragment, &deletion, &arena);
    fragment_renumber(&fragment, 5, &arena);
    CHECK_OK(fragment_read(fragment.raw, &arena, &fragment, &err));
    CHECK_INT(fragment.id, 5);
    CHECK_INT(fragment.deletion.id, 12345);
    CHECK(wire_find(fragment.raw, 77, &field));
    CHECK_STR(wire_text(&field), "of the future");
}

TEST("the flags say whether there are deletions, and one that is not understood is refused by "
     "name") {
    OWNED(arena_close) Arena arena = {0};
    Manifest manifest = rich(&arena);
    CHECK_INT(again(&manifest, &arena).reader_flags, 0);
    DeletionFile deletion = {true, DELETION_BITMAP, 8, 12345, 2};
    fragment_set_deletion(&manifest.fragments[0], &deletion, &arena);
    CHECK_INT(again(&manifest, &arena).reader_flags, FLAG_DELETIONS);
    CHECK_OK(manifest_check_writable(&manifest, &err));
    manifest.writer_flags = 8 | 32;
    CHECK_OK(manifest_check_writable(&manifest, &err));
    static const struct {
        uint64_t flag;
        const char *name;
    } refused[] = {
        {2,                 "stable row ids"             },
        {16,                "base paths"                 },
        {64,                "data overlays"              },
        {(uint64_t)1 << 40, "a feature that is not known"},
    };
    for (size_t i = 0; i < COUNT(refused); i++) {
        size_t at;
        manifest.reader_flags = 1 | refused[i].flag;
        CHECK(!manifest_check_readable(&manifest, &err));
        CHECK_INT(err.kind, LH_IMPOSSIBLE);
        CHECK(str_find(str_from(err.message), str_from(refused[i].name), &at));
    }
}

TEST("a manifest cut short, or with a length that is not its file's, is refused") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text bytes = {0};
    Manifest manifest = rich(&arena), read;
    lance_manifest_write(&manifest, bytes_of(STR("")), &bytes);
    for (size_t size = 0; size < bytes.len; size++)
        CHECK(
            !lance_manifest_read((Bytes){(const uint8_t *)bytes.data, size}, &arena, &read, &err));
    OWNED(text_close) Text longer = {0};
    text_add_byte(&longer, 0);
    text_add(&longer, text_str(&bytes));
    CHECK(!lance_manifest_read(text_bytes(&longer), &arena, &read, &err));
    CHECK_INT(err.kind, LH_CORRUPT);
}

/* Found by the fuzzer: it was read, and could not be written so that it reads again. */
TEST("an index without a UUID, and a fragment without rows, are refused") {
    OWNED(arena_close) Arena arena = {0};
    LanceIndex index;
    Fragment fragment;
    CHECK(!index_read(bytes_of(STR("")), &arena, &index, &err));
    CHECK_INT(err.kind, LH_CORRUPT);
    CHECK(!index_read(bytes_of(STR("\x08\x02")), &arena, &index, &err));
    CHECK(!fragment_read(bytes_of(STR("")), &arena, &fragment, &err));
    CHECK_INT(err.kind, LH_CORRUPT);
}

TEST("an empty field, or a number in its place, is refused however much stands beside it") {
    static const Str empty[] = {STR("\x0a\x00"), STR("\x08\x08"), STR("\x12\x00")};
    OWNED(arena_close) Arena arena = {0};
    Manifest manifest = rich(&arena), read;
    for (size_t i = 0; i < COUNT(empty); i++) {
        OWNED(text_close) Text fields = {0};
        OWNED(text_close) Text bytes = {0};
        Manifest changed = manifest;
        text_add(&fields, str_of(manifest.schema_raw));
        text_add(&fields, empty[i]);
        changed.schema_raw = text_bytes(&fields);
        lance_manifest_write(&changed, bytes_of(STR("")), &bytes);
        CHECK(!lance_manifest_read(text_bytes(&bytes), &arena, &read, &err));
        CHECK_STR(str_from(err.message), "the manifest has an empty field or fragment");
    }
}

TEST("sets of numbers go through Roaring and back: few, many, with gaps, and none") {
    static const uint32_t steps[] = {1, 2, 3, 17, 70000};
    for (size_t s = 0; s < COUNT(steps); s++) {
        OWNED(set_close) NumberSet set = {0};
        OWNED(set_close) NumberSet read = {0};
        OWNED(text_close) Text bytes = {0};
        for (uint32_t i = 0; i < 200000 && i * steps[s] < 3000000; i++) set_add(&set, i * steps[s]);
        roaring_write(&set, &bytes);
        CHECK_OK(roaring_read(text_bytes(&bytes), 3000000, &read, &err));
        CHECK_INT(read.count, set.count);
        for (uint32_t i = 0; i < 3000000; i += 7) CHECK_INT(set_has(&read, i), set_has(&set, i));
        CHECK(!roaring_read(text_bytes(&bytes), (uint64_t)steps[s], &read, &err) || set.count < 2);
        for (size_t size = 0; size < bytes.len; size += 1 + bytes.len / 97) {
            NumberSet torn = {0};
            CHECK(!roaring_read((Bytes){(const uint8_t *)bytes.data, size}, 3000000, &torn, &err));
        }
    }
}

TEST("the documented example of a bitmap, and one of runs, are read") {
    OWNED(set_close) NumberSet set = {0};
    OWNED(set_close) NumberSet runs = {0};
    static const uint8_t example[] = {0x3a, 0x30, 0,  0, 1, 0, 0, 0, 0, 0,
                                      1,    0,    16, 0, 0, 0, 0, 0, 1, 0};
    static const uint8_t run[] = {0x3b, 0x30, 0, 0, 1, 2, 0, 9, 0, 1, 0, 5, 0, 9, 0};
    CHECK_OK(roaring_read((Bytes){example, sizeof example}, 10, &set, &err));
    CHECK_INT(set.count, 2);
    CHECK_OK(roaring_read((Bytes){run, sizeof run}, 1 << 20, &runs, &err));
    CHECK_INT(runs.count, 10);
    CHECK(set_has(&runs, 2 * 65536 + 5) && set_has(&runs, 2 * 65536 + 14));
}
