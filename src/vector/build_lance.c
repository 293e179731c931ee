/* A build of the backend "lance": what build_rows collected becomes all rows of docs.lance. */
#include "vector/build.h"
#include "vector/index_lance.h"

#define PAGE_ROWS 2048

static Str text_of(const Text *ends, Bytes all, size_t row) {
    const uint64_t *end = (const uint64_t *)(const void *)ends->data;
    uint64_t from = row ? end[row - 1] : 0;
    return (Str){(const char *)all.data + from, end[row] - from};
}

static bool docs_fill(Build *b, LanceDocs *docs, const float *vectors, Bytes ids, Bytes texts,
                      Err *err) {
    LanceDoc rows[PAGE_ROWS];
    const uint32_t *chunks = (const uint32_t *)(const void *)b->chunks.data;
    for (size_t from = 0; from < b->count; from += PAGE_ROWS) {
        size_t count = MIN((size_t)PAGE_ROWS, b->count - from);
        for (size_t i = 0; i < count; i++)
            rows[i] = (LanceDoc){.id = text_of(&b->id_ends, ids, from + i),
                                 .text = text_of(&b->text_ends, texts, from + i),
                                 .chunk = chunks[from + i],
                                 .vector = vectors + (from + i) * b->stride};
        if (build_cancelled(b)) return err_set(err, LH_CANCELLED, "cancelled");
        if (!lance_docs_add(docs, rows, count, err)) return false;
    }
    return true;
}

static bool words_write(Build *b, Store *store, Err *err) {
    OWNED(text_close) Text statistics = {0};
    if (!b->embedder) return true;
    embedder_statistics(b->embedder, &statistics);
    Str digest = embedder_digest(b->embedder); /* of a fold, which asks no model: not known */
    if (digest.len) b->meta.model_digest = arena_copy(&b->arena, digest);
    return statistics.len == 0 || store_write(store, meta_words_key(&b->meta, &b->arena),
                                              text_bytes(&statistics), NULL, err);
}

static void docs_progress(void *context, double share) {
    const Build *b = context;
    if (b->job)
        job_progress(b->job, (int64_t)(share * (double)b->count), (int64_t)b->count, "vectors");
}

/* What a build that failed left behind may be of another version, which a table keeps. */
static bool table_prepare(Build *b, Store *store, Err *err) {
    Str key = meta_lance_key(&b->meta, &b->arena);
    OWNED(lance_close) LanceTable *table = NULL;
    LanceInfo info;
    if (b->previous && index_lance_table(b->previous->index)) return true;
    if (!lance_open(store, key, 0, &table, err)) {
        bool missing = err->kind == LH_MISSING;
        if (missing) *err = (Err){0};
        return missing;
    }
    lance_info(table, &info);
    return str_is(b->meta.lance_version, info.file_version) || lance_docs_remove(store, key, err);
}

bool build_lance(Build *b, const float *vectors, Bytes ids, Bytes texts, Err *err) {
    OWNED(lance_docs_close) LanceDocs docs = {0};
    Store *store = bucket_store(b->bucket);
    LanceWatch watch = {build_cancelled, docs_progress, b};
    uint64_t version;
    if (!table_prepare(b, store, err) || !lance_docs_open(store, &b->meta, &docs, err) ||
        !docs_fill(b, &docs, vectors, ids, texts, err) ||
        !lance_docs_finish(&docs, b->metric, &b->meta.config, &watch, &version, err))
        return false;
    b->meta.build = arena_print(&b->arena, "%llu", (unsigned long long)version);
    b->lance_bytes = lance_docs_bytes(docs.table);
    return words_write(b, store, err);
}
