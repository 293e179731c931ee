/* An index file once more, with the graph of another configuration: all sections but the graph's
 * are taken over as they are. */
#include "vector/index_file.h"

#include <unistd.h>

static bool graph_make(const IndexFile *file, const IndexRewrite *rewrite, Text *links,
                       Text *entries, Err *err) {
    GraphBuild build = {.vectors = index_file_vectors(file),
                        .m = (int)rewrite->config->m,
                        .ef_construction = (int)rewrite->config->ef_construction,
                        .threads = parallel_threads(),
                        .cancelled = rewrite->cancelled,
                        .context = rewrite->context};
    text_reserve(links, build.vectors.count * graph_degree(build.m) * sizeof(uint32_t));
    links->len = build.vectors.count * graph_degree(build.m) * sizeof(uint32_t);
    return graph_build(&build, (uint32_t *)links->data, entries, err);
}

static bool write_sections(const IndexFile *file, IndexFileWriter *writer, const Text *links,
                           const Text *entries, Err *err) {
    for (int section = 0; section < SECTION_COUNT; section++) {
        Bytes data = section == SECTION_LINKS     ? text_bytes(links)
                     : section == SECTION_ENTRIES ? text_bytes(entries)
                                                  : index_file_section(file, section);
        if (!index_writer_add(writer, data, err) || !index_writer_next(writer, err)) return false;
    }
    return index_writer_finish(writer, err);
}

bool index_file_rewrite(const IndexFile *file, const IndexRewrite *rewrite, Err *err) {
    OWNED(text_close) Text links = {0}, entries = {0};
    IndexFileWriter writer;
    if (!graph_make(file, rewrite, &links, &entries, err) ||
        !index_writer_open(rewrite->path, &writer, err))
        return false;
    writer.header.dimensions = file->header->dimensions;
    writer.header.stride = file->header->stride;
    writer.header.degree = (uint32_t)graph_degree((int)rewrite->config->m);
    writer.header.count = file->header->count;
    bool ok = write_sections(file, &writer, &links, &entries, err);
    index_writer_close(&writer);
    if (!ok) unlink(rewrite->path);
    return ok;
}
