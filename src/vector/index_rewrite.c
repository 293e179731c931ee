/* The graph's sections of an index file, and an index file once more with the graph of another
 * configuration: its other sections are taken over as they are. */
#include "vector/index_file.h"

#include <string.h>
#include <unistd.h>

static bool put(IndexFileWriter *writer, const void *array, size_t count, size_t size, Err *err) {
    return index_writer_add(writer, (Bytes){array, count * size}, err) &&
           index_writer_next(writer, err);
}

bool index_writer_graph(IndexFileWriter *writer, const GraphParts *parts, Err *err) {
    size_t n = parts->count, padded = code_padded(writer->header.dimensions);
    writer->header.degree = (uint32_t)parts->degree;
    writer->header.seed = parts->model.seed;
    memcpy(writer->header.gaps, parts->gaps, sizeof parts->gaps);
    return put(writer, parts->rows, n, sizeof *parts->rows, err) &&
           put(writer, parts->links, n * parts->degree, sizeof *parts->links, err) &&
           put(writer, parts->entries, parts->entry_count, sizeof *parts->entries, err) &&
           put(writer, parts->records, n, code_record_size(padded), err) &&
           put(writer, parts->fine, n, code_fine_size(padded), err) &&
           put(writer, parts->model.values, n ? code_model_len(padded) : 0,
               sizeof *parts->model.values, err);
}

static bool put_rest(const IndexFile *file, IndexFileWriter *writer, Err *err) {
    for (IndexSection section = writer->section; section < SECTION_COUNT; section++)
        if (!index_writer_add(writer, index_file_section(file, section), err) ||
            !index_writer_next(writer, err))
            return false;
    return index_writer_finish(writer, err);
}

static bool write_file(const IndexFile *file, IndexFileWriter *writer, const GraphParts *parts,
                       Err *err) {
    const IndexHeader *header = file->header;
    writer->header.dimensions = header->dimensions;
    writer->header.stride = header->stride;
    writer->header.count = header->count;
    writer->header.l2 = header->l2;
    return index_writer_add(writer, index_file_section(file, SECTION_VECTORS), err) &&
           index_writer_next(writer, err) && index_writer_graph(writer, parts, err) &&
           put_rest(file, writer, err);
}

bool index_file_rewrite(const IndexFile *file, const IndexRewrite *rewrite, Err *err) {
    OWNED(graph_parts_close) GraphParts parts = {0};
    GraphBuild build = {.vectors = index_file_vectors(file),
                        .m = (int)rewrite->config->m,
                        .ef_construction = (int)rewrite->config->ef_construction,
                        .threads = parallel_threads(),
                        .cancelled = rewrite->cancelled,
                        .context = rewrite->context};
    IndexFileWriter writer;
    if (!graph_build(&build, &parts, err) || !index_writer_open(rewrite->path, &writer, err))
        return false;
    bool ok = write_file(file, &writer, &parts, err);
    index_writer_close(&writer);
    if (!ok) unlink(rewrite->path);
    return ok;
}
