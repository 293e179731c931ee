#include "kit/kit.h"
#include "vector/index_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static Err err;

static Bytes raw(const void *data, size_t size) {
    return (Bytes){data, size};
}

/* Two rows of 16 floats that link to each other. */
static void write_file(const char *path) {
    static const float vectors[32] = {1, [17] = 1}, model[64 * (1 + CODE_CENTROIDS)];
    static const uint32_t links[4] = {1, GRAPH_NONE, 0, GRAPH_NONE}, entries[1] = {0};
    static const uint32_t rows[2] = {1, 0};
    static const uint8_t records[2 * 64], fine[2 * 32];
    static const uint32_t chunks[2] = {0, 3};
    static const uint64_t id_ends[2] = {1, 3}, text_ends[2] = {5, 9};
    const Bytes sections[SECTION_COUNT] = {raw(vectors, sizeof vectors),
                                           raw(rows, sizeof rows),
                                           raw(links, sizeof links),
                                           raw(entries, sizeof entries),
                                           raw(records, sizeof records),
                                           raw(fine, sizeof fine),
                                           raw(model, sizeof model),
                                           raw(chunks, sizeof chunks),
                                           raw(id_ends, sizeof id_ends),
                                           raw("abb", 3),
                                           raw(text_ends, sizeof text_ends),
                                           raw("firstlast", 9),
                                           {0}};
    OWNED(index_writer_close) IndexFileWriter writer = {.fd = -1};
    CHECK_OK(index_writer_open(path, &writer, &err));
    writer.header.count = 2;
    writer.header.dimensions = 5;
    writer.header.stride = 16;
    writer.header.degree = 2;
    writer.header.gaps[GRAPH_GAPS - 1] = 1;
    for (int s = 0; s < SECTION_COUNT; s++) {
        CHECK_OK(index_writer_add(&writer, sections[s], &err));
        CHECK_OK(index_writer_next(&writer, &err));
    }
    CHECK_OK(index_writer_finish(&writer, &err));
}

static const char *fresh_file(void) {
    static char path[128];
    snprintf(path, sizeof path, "%s/a.idx", kit_dir());
    write_file(path);
    return path;
}

TEST("what is written is read back, and checksums hold") {
    OWNED(index_file_close) IndexFile file = {0};
    CHECK_OK(index_file_open(fresh_file(), &file, &err));
    CHECK_OK(index_file_verify(&file, &err));
    CHECK_STR(index_file_id(&file, 1), "bb");
    CHECK_STR(index_file_text(&file, 0), "first");
    CHECK_STR(index_file_text(&file, 1), "last");
    CHECK_INT(index_file_chunk(&file, 1), 3);
    Graph graph = index_file_graph(&file);
    CHECK_INT(graph.entry_count, 1);
    CHECK(vectors_row(&graph.vectors, 1)[1] == 1);
    CHECK_INT(graph.rows[0], 1);
    CHECK(graph.gaps[GRAPH_GAPS - 1] == 1);
}

TEST("a file that is cut anywhere is refused or fails its checksums, and reading it does not "
     "crash") {
    const char *path = fresh_file();
    struct stat info;
    CHECK(!stat(path, &info));
    for (off_t size = info.st_size - 1; size >= 0; size -= size > 4096 ? 13 : 512) {
        IndexFile file = {0};
        CHECK(!truncate(path, size));
        if (!index_file_open(path, &file, &err)) continue;
        CHECK(!index_file_verify(&file, &err));
        index_file_close(&file);
    }
}

TEST("any byte of the header that changes is noticed") {
    const char *path = fresh_file();
    OWNED(fd_close) int fd = open(path, O_RDWR | O_CLOEXEC);
    for (off_t at = 0; at < (off_t)sizeof(IndexHeader); at++) {
        IndexFile file = {0};
        char byte;
        CHECK(pread(fd, &byte, 1, at) == 1);
        char changed = (char)(byte ^ 0x41);
        CHECK(pwrite(fd, &changed, 1, at) == 1);
        bool opened = index_file_open(path, &file, &err);
        index_file_close(&file);
        CHECK(!opened || at >= (off_t)offsetof(IndexHeader, crc) + 4); /* padding */
        CHECK(pwrite(fd, &byte, 1, at) == 1);
    }
}

TEST("an older or a newer version is refused by number, and says to build again") {
    const char *path = fresh_file();
    OWNED(fd_close) int fd = open(path, O_RDWR | O_CLOEXEC);
    for (uint32_t version = 0; version < 8; version++) {
        IndexFile file = {0};
        char expected[32];
        if (version == INDEX_FILE_VERSION) continue;
        snprintf(expected, sizeof expected, "version %u ", version);
        CHECK(pwrite(fd, &version, 4, offsetof(IndexHeader, version)) == 4);
        CHECK(!index_file_open(path, &file, &err) && err.kind == LH_IMPOSSIBLE);
        CHECK(strstr(err.message, expected) && strstr(err.message, "build it again"));
    }
}

TEST("gaps that fall are refused, whatever the checksum says") {
    const char *path = fresh_file();
    OWNED(fd_close) int fd = open(path, O_RDWR | O_CLOEXEC);
    IndexFile file = {0};
    IndexHeader header;
    CHECK(pread(fd, &header, sizeof header, 0) == sizeof header);
    header.gaps[0] = 2;
    header.crc = crc32c(0, raw(&header, offsetof(IndexHeader, crc)));
    CHECK(pwrite(fd, &header, sizeof header, 0) == sizeof header);
    CHECK(!index_file_open(path, &file, &err) && err.kind == LH_CORRUPT);
}

TEST("text offsets that point outside are empty texts") {
    const char *path = fresh_file();
    OWNED(index_file_close) IndexFile file = {0};
    OWNED(fd_close) int fd = open(path, O_RDWR | O_CLOEXEC);
    uint64_t wild[2] = {UINT64_MAX, 2};
    CHECK_OK(index_file_open(path, &file, &err));
    CHECK(pwrite(fd, wild, sizeof wild, (off_t)file.header->sections[SECTION_ID_ENDS].offset) ==
          sizeof wild);
    CHECK_STR(index_file_id(&file, 0), "");
    CHECK_STR(index_file_id(&file, 1), "");
    CHECK(!index_file_verify(&file, &err) && err.kind == LH_CORRUPT);
}
