/* The in-memory backend: the graph, its codes and the vectors in one mapped file. Few rows, by
 * themselves or behind a filter, are compared one by one; graph_search does the rest. */
#include "vector/index.h"

#include "vector/index_file.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define SCRATCH_KEPT 64
#define SCAN_ROWS 1000 /* fewer are compared one by one: no slower, and exact */

typedef struct HnswIndex {
    Index index;
    IndexFile file;
    Graph graph;
    pthread_mutex_t lock; /* over kept */
    GraphScratch *kept[SCRATCH_KEPT];
    size_t kept_count;
} HnswIndex;

static GraphScratch *scratch_borrow(HnswIndex *hnsw) {
    GraphScratch *scratch = NULL;
    pthread_mutex_lock(&hnsw->lock);
    if (hnsw->kept_count > 0) scratch = hnsw->kept[--hnsw->kept_count];
    pthread_mutex_unlock(&hnsw->lock);
    return scratch ? scratch : graph_scratch_open();
}

static void scratch_return(HnswIndex *hnsw, GraphScratch *scratch) {
    pthread_mutex_lock(&hnsw->lock);
    if (hnsw->kept_count < SCRATCH_KEPT) hnsw->kept[hnsw->kept_count++] = TAKE(scratch);
    pthread_mutex_unlock(&hnsw->lock);
    graph_scratch_close(&scratch);
}

static bool hnsw_search(Index *index, const float *query, const SearchParams *params, Hit *hits,
                        size_t *count, Err *err) {
    HnswIndex *hnsw = (HnswIndex *)index;
    size_t allowed = params->allowed ? params->allowed->count : index->count;
    (void)err;
    if (params->exact || allowed <= SCAN_ROWS) {
        *count = exact_search(&hnsw->graph.vectors, query, params->k, params->allowed, hits);
        return true;
    }
    GraphScratch *scratch = scratch_borrow(hnsw);
    GraphQuery walk = {query, params->k, params->ef, params->allowed};
    *count = graph_search(&hnsw->graph, &walk, scratch, hits);
    scratch_return(hnsw, scratch);
    return true;
}

static Str hnsw_id(const Index *index, size_t row) {
    return index_file_id(&((const HnswIndex *)index)->file, row);
}

static Str hnsw_text(const Index *index, size_t row) {
    return index_file_text(&((const HnswIndex *)index)->file, row);
}

static const float *hnsw_vector(const Index *index, size_t row) {
    return vectors_row(&((const HnswIndex *)index)->graph.vectors, row);
}

static uint32_t hnsw_chunk(const Index *index, size_t row) {
    return index_file_chunk(&((const HnswIndex *)index)->file, row);
}

static Bytes hnsw_embedder(const Index *index) {
    return index_file_section(&((const HnswIndex *)index)->file, SECTION_EMBEDDER);
}

static int64_t hnsw_memory_bytes(const Index *index) {
    return (int64_t)((const HnswIndex *)index)->file.size;
}

static void hnsw_close(Index *index) {
    HnswIndex *hnsw = (HnswIndex *)index;
    while (hnsw->kept_count > 0) graph_scratch_close(&hnsw->kept[--hnsw->kept_count]);
    pthread_mutex_destroy(&hnsw->lock);
    index_file_close(&hnsw->file);
    free(hnsw);
}

static bool hnsw_rewrite(const Index *index, const IndexRewrite *rewrite, Err *err) {
    return index_file_rewrite(&((const HnswIndex *)index)->file, rewrite, err);
}

static bool hnsw_variant(const Index *index, const IndexRewrite *rewrite, Index **out, Err *err) {
    bool ok = hnsw_rewrite(index, rewrite, err) && index_hnsw_open(rewrite->path, out, err);
    unlink(rewrite->path);
    return ok;
}

static const IndexOps hnsw_ops = {.name = "parquet",
                                  .in_memory = true,
                                  .rewrite = hnsw_rewrite,
                                  .variant = hnsw_variant,
                                  .search = hnsw_search,
                                  .id = hnsw_id,
                                  .text = hnsw_text,
                                  .vector = hnsw_vector,
                                  .chunk = hnsw_chunk,
                                  .embedder = hnsw_embedder,
                                  .memory_bytes = hnsw_memory_bytes,
                                  .close = hnsw_close};

bool index_hnsw_open(const char *path, Index **out, Err *err) {
    HnswIndex *hnsw = calloc(1, sizeof *hnsw);
    if (!hnsw) abort();
    if (!index_file_open(path, &hnsw->file, err)) {
        free(hnsw);
        return false;
    }
    pthread_mutex_init(&hnsw->lock, NULL);
    hnsw->graph = index_file_graph(&hnsw->file);
    hnsw->index = (Index){.ops = &hnsw_ops,
                          .count = hnsw->file.header->count,
                          .dimensions = hnsw->file.header->dimensions,
                          .stride = hnsw->file.header->stride};
    *out = &hnsw->index;
    return true;
}
