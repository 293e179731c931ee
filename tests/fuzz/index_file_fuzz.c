/* Any bytes as an index file, the header's checksum made right: refused, or searched and read
 * without leaving the file. */
#include "vector/index_file.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE_MAX_HERE (1 << 16)
#define ROWS_READ 64

static void search(const IndexFile *file) {
    static _Alignas(64) float query[SIZE_MAX_HERE];
    static uint64_t bits[SIZE_MAX_HERE / 64];
    Graph graph = index_file_graph(file);
    GraphScratch *scratch = graph_scratch_open();
    RowSet all = {bits, graph.vectors.count};
    Hit hits[16];
    memset(bits, 0xff, sizeof bits);
    assert(graph.vectors.count / 64 < COUNT(bits)); /* a row takes 64 bytes and more */
    for (int filtered = 0; filtered < 2; filtered++) {
        GraphQuery walk = {query, COUNT(hits), 3 * COUNT(hits), filtered ? &all : NULL};
        size_t count = graph_search(&graph, &walk, scratch, hits);
        for (size_t i = 0; i < count; i++) assert(hits[i].row < graph.vectors.count);
    }
    graph_scratch_close(&scratch);
}

static void read_rows(const IndexFile *file) {
    size_t sum = 0;
    for (size_t row = 0; row < MIN(file->header->count, ROWS_READ); row++) {
        Str id = index_file_id(file, row), text = index_file_text(file, row);
        for (size_t i = 0; i < id.len; i++) sum += (unsigned char)id.data[i];
        for (size_t i = 0; i < text.len; i++) sum += (unsigned char)text.data[i];
        sum += index_file_chunk(file, row);
    }
    assert(sum + 1 > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char bytes[4096 + SIZE_MAX_HERE];
    IndexHeader header;
    IndexFile file = {0};
    char path[64];
    Err err = {0};
    if (size < sizeof header || size > SIZE_MAX_HERE) return 0;
    memset(bytes, 0, sizeof bytes);
    memcpy(&header, data, sizeof header);
    header.crc = crc32c(0, (Bytes){(const uint8_t *)&header, offsetof(IndexHeader, crc)});
    memcpy(bytes, &header, sizeof header);
    memcpy(bytes + 4096, data + sizeof header, size - sizeof header);
    int fd = memfd_create("index", MFD_CLOEXEC);
    assert(fd >= 0 && write(fd, bytes, 4096 + size - sizeof header) > 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (index_file_open(path, &file, &err)) {
        search(&file);
        read_rows(&file);
        index_file_verify(&file, &err);
    }
    index_file_close(&file);
    close(fd);
    return 0;
}
