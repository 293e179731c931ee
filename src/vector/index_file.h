/* One build of an index in one file, mapped at start, never parsed.
 *
 *     offset  size  meaning
 *     0       4096  header: IndexHeader, little-endian, its own CRC32C last
 *     4096    ...   sections, each at a multiple of 64, in the order of IndexSection
 *
 * A file is written once and never changed; another version is refused by number (version 1 had no
 * codes, version 2 wider records, version 3 no gaps). Every section's CRC32C is in the header;
 * index_file_verify reads them all. What is followed from the file (links, rows, text offsets) is
 * checked as it is followed. Thread rule: a mapped file is read-only. */
#pragma once

#include "vector/graph.h"
#include "vector/index.h"

#include <limits.h>

#define INDEX_FILE_VERSION 4

typedef enum IndexSection {
    SECTION_VECTORS, /* count rows of stride floats */
    SECTION_ROWS,    /* count uint32: the row of each node (graph.h) */
    SECTION_LINKS,   /* count nodes of degree uint32 */
    SECTION_ENTRIES, /* uint32: nodes */
    SECTION_RECORDS, /* count of code_record_size bytes, by node (codes.h) */
    SECTION_FINE,    /* count of code_fine_size bytes, by node */
    SECTION_MODEL,   /* code_model_len floats; empty where there are no rows */
    SECTION_CHUNKS,  /* count uint32: which chunk of its document a row is */
    SECTION_ID_ENDS, /* count uint64: where each doc_id ends within IDS */
    SECTION_IDS,
    SECTION_TEXT_ENDS,
    SECTION_TEXTS,
    SECTION_EMBEDDER, /* the embedder's statistics; may be empty */
    SECTION_COUNT
} IndexSection;

typedef struct IndexHeader {
    char magic[8]; /* "LHVINDEX" */
    uint32_t version, dimensions, stride, degree;
    uint64_t count, seed; /* seed: of the codes' rotation */
    uint32_t l2, unused;  /* 1 where similarity is -distance^2 / 2 */
    float gaps[GRAPH_GAPS];
    struct {
        uint64_t offset, size;
        uint32_t crc, unused;
    } sections[SECTION_COUNT];
    uint32_t crc; /* of all before it */
} IndexHeader;

/* Writing: begin, then each section in order, in pieces, then finish. */
typedef struct IndexFileWriter {
    int fd;
    IndexHeader header;
    IndexSection section;
    uint64_t offset;
    Text pending;
    char path[PATH_MAX];
} IndexFileWriter;

/* `path` must not exist. */
bool index_writer_open(const char *path, IndexFileWriter *out, Err *err);
void index_writer_close(IndexFileWriter *writer);
bool index_writer_add(IndexFileWriter *writer, Bytes data, Err *err); /* to the current section */
bool index_writer_next(IndexFileWriter *writer, Err *err);            /* ends it, begins the next */
/* The graph's sections, from SECTION_ROWS to SECTION_MODEL, and its part of the header. */
bool index_writer_graph(IndexFileWriter *writer, const GraphParts *parts, Err *err);
/* Flushes, and maps what section `section` has so far, until index_writer_unmap. */
bool index_writer_map(IndexFileWriter *writer, IndexSection section, const void **out, size_t *size,
                      Err *err);
void index_writer_unmap(const void *map, size_t size);
/* After the last section: writes the header. The file is made durable by whoever adopts it. */
bool index_writer_finish(IndexFileWriter *writer, Err *err);

typedef struct IndexFile {
    const uint8_t *map;
    size_t size;
    const IndexHeader *header;
    CodeModel model;
} IndexFile;

bool index_file_open(const char *path, IndexFile *out, Err *err); /* LH_CORRUPT, LH_IMPOSSIBLE */
void index_file_close(IndexFile *file);
bool index_file_verify(const IndexFile *file, Err *err); /* all checksums: reads the whole file */
/* index_rewrite.c: the same rows with another graph. */
bool index_file_rewrite(const IndexFile *file, const IndexRewrite *rewrite, Err *err);
Bytes index_file_section(const IndexFile *file, IndexSection section);
Vectors index_file_vectors(const IndexFile *file);
Graph index_file_graph(const IndexFile *file);        /* borrows from the file */
Str index_file_id(const IndexFile *file, size_t row); /* empty where the offsets are corrupt */
Str index_file_text(const IndexFile *file, size_t row);
uint32_t index_file_chunk(const IndexFile *file, size_t row);
