#include "vector/index_file.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER_SIZE 4096
#define SECTION_ALIGN 64
#define PENDING_MAX (1 << 20)
#define DIMENSIONS_MAX 65536

static const char magic[8] = {'L', 'H', 'V', 'I', 'N', 'D', 'E', 'X'};
static_assert(sizeof(IndexHeader) <= HEADER_SIZE, "the header must fit its page");

bool index_writer_open(const char *path, IndexFileWriter *out, Err *err) {
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0) return err_errno(err, "cannot create an index file");
    *out = (IndexFileWriter){.fd = fd, .offset = HEADER_SIZE};
    snprintf(out->path, sizeof out->path, "%s", path);
    out->header.version = INDEX_FILE_VERSION;
    memcpy(out->header.magic, magic, sizeof magic);
    out->header.sections[0].offset = HEADER_SIZE;
    return true;
}

void index_writer_close(IndexFileWriter *writer) {
    fd_close(&writer->fd);
    text_close(&writer->pending);
}

static bool writer_flush(IndexFileWriter *writer, Err *err) {
    Bytes data = text_bytes(&writer->pending);
    while (data.size > 0) {
        ssize_t n = pwrite(writer->fd, data.data, data.size, (off_t)writer->offset);
        if (n < 0) return err_errno(err, "cannot write an index file");
        writer->offset += (uint64_t)n;
        data = (Bytes){data.data + n, data.size - (size_t)n};
    }
    text_clear(&writer->pending);
    return true;
}

bool index_writer_add(IndexFileWriter *writer, Bytes data, Err *err) {
    assert(writer->section < SECTION_COUNT);
    while (data.size > PENDING_MAX) { /* in pieces, so that nothing large is copied whole */
        if (!index_writer_add(writer, (Bytes){data.data, PENDING_MAX}, err)) return false;
        data = (Bytes){data.data + PENDING_MAX, data.size - PENDING_MAX};
    }
    writer->header.sections[writer->section].crc =
        crc32c(writer->header.sections[writer->section].crc, data);
    writer->header.sections[writer->section].size += data.size;
    text_add(&writer->pending, str_of(data));
    return writer->pending.len < PENDING_MAX || writer_flush(writer, err);
}

bool index_writer_next(IndexFileWriter *writer, Err *err) {
    if (!writer_flush(writer, err)) return false;
    writer->offset = (writer->offset + SECTION_ALIGN - 1) / SECTION_ALIGN * SECTION_ALIGN;
    if (++writer->section < SECTION_COUNT)
        writer->header.sections[writer->section].offset = writer->offset;
    return true;
}

bool index_writer_map(IndexFileWriter *writer, IndexSection section, const void **out, size_t *size,
                      Err *err) {
    if (!writer_flush(writer, err)) return false;
    *size = writer->header.sections[section].size;
    *out = NULL;
    if (*size == 0) return true;
    assert(section == SECTION_VECTORS); /* the one that starts at a page */
    void *map = mmap(NULL, *size, PROT_READ, MAP_SHARED, writer->fd, HEADER_SIZE);
    if (map == MAP_FAILED) return err_errno(err, "cannot map an index file");
    *out = map;
    return true;
}

void index_writer_unmap(const void *map, size_t size) {
    if (map) munmap((void *)(uintptr_t)map, size);
}

static uint32_t header_crc(const IndexHeader *header) {
    return crc32c(0, (Bytes){(const uint8_t *)header, offsetof(IndexHeader, crc)});
}

bool index_writer_finish(IndexFileWriter *writer, Err *err) {
    assert(writer->section == SECTION_COUNT);
    /* The last section may be empty and past the end: readers expect the file to reach it. */
    if (ftruncate(writer->fd, (off_t)writer->offset))
        return err_errno(err, "cannot write an index file");
    writer->header.crc = header_crc(&writer->header);
    if (pwrite(writer->fd, &writer->header, sizeof writer->header, 0) !=
        (ssize_t)sizeof writer->header)
        return err_errno(err, "cannot write an index file");
    return true;
}

static bool section_check(const IndexFile *file, IndexSection section, uint64_t size, Err *err) {
    uint64_t offset = file->header->sections[section].offset,
             have = file->header->sections[section].size;
    if (offset % SECTION_ALIGN || offset < HEADER_SIZE || offset > file->size ||
        have > file->size - offset)
        return err_set(err, LH_CORRUPT, "section %d lies outside of the index file", section);
    if (size != UINT64_MAX && have != size)
        return err_set(err, LH_CORRUPT, "section %d of the index file has %llu bytes, not %llu",
                       section, (unsigned long long)have, (unsigned long long)size);
    return true;
}

static bool header_check(const IndexFile *file, Err *err) {
    const IndexHeader *h = file->header;
    uint64_t n = h->count, any = UINT64_MAX;
    if (memcmp(h->magic, magic, sizeof magic) != 0)
        return err_set(err, LH_CORRUPT, "this is not an index file");
    if (h->version != INDEX_FILE_VERSION)
        return err_set(err, LH_IMPOSSIBLE,
                       "the index file has version %u and this program reads %d: build it again",
                       h->version, INDEX_FILE_VERSION);
    if (h->crc != header_crc(h)) return err_set(err, LH_CORRUPT, "the header's checksum is wrong");
    if (n > GRAPH_ROWS_MAX || h->dimensions == 0 || h->dimensions > DIMENSIONS_MAX ||
        h->stride < h->dimensions || h->stride > DIMENSIONS_MAX || h->stride % 16 ||
        h->degree > 2 * GRAPH_M_MAX || h->l2 > 1 || !graph_gaps_check(h->gaps))
        return err_set(err, LH_CORRUPT, "the index file's header has impossible sizes");
    size_t padded = code_padded(h->dimensions), model = n ? code_model_len(padded) : 0;
    return section_check(file, SECTION_VECTORS, n * h->stride * sizeof(float), err) &&
           section_check(file, SECTION_ROWS, n * sizeof(uint32_t), err) &&
           section_check(file, SECTION_LINKS, n * h->degree * sizeof(uint32_t), err) &&
           section_check(file, SECTION_ENTRIES, any, err) &&
           section_check(file, SECTION_RECORDS, n * code_record_size(padded), err) &&
           section_check(file, SECTION_FINE, n * code_fine_size(padded), err) &&
           section_check(file, SECTION_MODEL, model * sizeof(float), err) &&
           section_check(file, SECTION_CHUNKS, n * sizeof(uint32_t), err) &&
           section_check(file, SECTION_ID_ENDS, n * sizeof(uint64_t), err) &&
           section_check(file, SECTION_IDS, any, err) &&
           section_check(file, SECTION_TEXT_ENDS, n * sizeof(uint64_t), err) &&
           section_check(file, SECTION_TEXTS, any, err) &&
           section_check(file, SECTION_EMBEDDER, any, err);
}

bool index_file_open(const char *path, IndexFile *out, Err *err) {
    OWNED(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info)) return err_errno(err, "cannot open an index file");
    if (info.st_size < HEADER_SIZE) return err_set(err, LH_CORRUPT, "the index file is cut short");
    void *map = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) return err_errno(err, "cannot map an index file");
    IndexFile file = {.map = map, .size = (size_t)info.st_size, .header = map};
    if (!header_check(&file, err)) {
        index_file_close(&file);
        return false;
    }
    if (file.header->count > 0) {
        Vectors like = index_file_vectors(&file);
        code_model_load(&file.model, index_file_section(&file, SECTION_MODEL).data, &like,
                        file.header->seed);
    }
    *out = file;
    return true;
}

void index_file_close(IndexFile *file) {
    if (file->map) munmap((void *)(uintptr_t)file->map, file->size);
    code_model_close(&file->model);
    *file = (IndexFile){0};
}

Bytes index_file_section(const IndexFile *file, IndexSection section) {
    return (Bytes){file->map + file->header->sections[section].offset,
                   file->header->sections[section].size};
}

bool index_file_verify(const IndexFile *file, Err *err) {
    for (IndexSection s = 0; s < SECTION_COUNT; s++)
        if (crc32c(0, index_file_section(file, s)) != file->header->sections[s].crc)
            return err_set(err, LH_CORRUPT, "section %d of the index file has a wrong checksum", s);
    return true;
}

static const void *section_data(const IndexFile *file, IndexSection section) {
    return index_file_section(file, section).data;
}

Vectors index_file_vectors(const IndexFile *file) {
    return (Vectors){.data = section_data(file, SECTION_VECTORS),
                     .count = file->header->count,
                     .dimensions = file->header->dimensions,
                     .stride = file->header->stride,
                     .l2 = file->header->l2};
}

Graph index_file_graph(const IndexFile *file) {
    Graph graph = {.vectors = index_file_vectors(file),
                   .model = &file->model,
                   .rows = section_data(file, SECTION_ROWS),
                   .links = section_data(file, SECTION_LINKS),
                   .entries = section_data(file, SECTION_ENTRIES),
                   .records = section_data(file, SECTION_RECORDS),
                   .fine = section_data(file, SECTION_FINE),
                   .gaps = file->header->gaps,
                   .degree = file->header->degree,
                   .entry_count = file->header->sections[SECTION_ENTRIES].size / sizeof(uint32_t)};
    graph_group_entries(&graph);
    return graph;
}

static Str row_text(const IndexFile *file, IndexSection ends, IndexSection texts, size_t row) {
    const uint64_t *end = section_data(file, ends);
    uint64_t from = row ? end[row - 1] : 0;
    Bytes all = index_file_section(file, texts);
    if (from > end[row] || end[row] > all.size) return (Str){0};
    return (Str){(const char *)all.data + from, end[row] - from};
}

Str index_file_id(const IndexFile *file, size_t row) {
    return row_text(file, SECTION_ID_ENDS, SECTION_IDS, row);
}

Str index_file_text(const IndexFile *file, size_t row) {
    return row_text(file, SECTION_TEXT_ENDS, SECTION_TEXTS, row);
}

uint32_t index_file_chunk(const IndexFile *file, size_t row) {
    return ((const uint32_t *)section_data(file, SECTION_CHUNKS))[row];
}
