/* Any bytes as a text index, the header's checksum made right: refused, or searched without leaving
 * the file. */
#include "vector/text_file.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE_MAX_HERE (1 << 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t bytes[SIZE_MAX_HERE];
    TextHeader header;
    TextIndex *index = NULL;
    char path[64];
    Hit hits[16];
    size_t count;
    Err err = {0};
    if (size < sizeof header || size > SIZE_MAX_HERE) return 0;
    memcpy(bytes, data, size);
    memcpy(&header, data, sizeof header);
    memcpy(header.magic, TEXT_MAGIC, sizeof header.magic);
    header.version = TEXT_VERSION;
    header.crc = text_header_crc(&header);
    memcpy(bytes, &header, sizeof header);
    int fd = memfd_create("text", MFD_CLOEXEC);
    assert(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (text_index_open(path, &index, &err) && text_index_rows(index) < 1 << 20 &&
        text_index_search(index, STR("cat dog w7 the"), COUNT(hits), NULL, hits, &count, &err))
        for (size_t i = 0; i < count; i++) assert(hits[i].row < text_index_rows(index));
    text_index_close(&index);
    close(fd);
    return 0;
}
