#include "vector/meta.h"

#define META_FORMAT 1

typedef struct TextMember {
    const char *name;
    size_t offset;
} TextMember;

/* The table that both directions read. Integers likewise. */
static const TextMember texts[] = {
    {"index",          AT(IndexMeta, index)         },
    {"dataset",        AT(IndexMeta, dataset)       },
    {"id_column",      AT(IndexMeta, id_column)     },
    {"text_column",    AT(IndexMeta, text_column)   },
    {"vector_column",  AT(IndexMeta, vector_column) },
    {"model",          AT(IndexMeta, model)         },
    {"model_digest",   AT(IndexMeta, model_digest)  },
    {"bucket",         AT(IndexMeta, bucket)        },
    {"vector_backend", AT(IndexMeta, vector_backend)},
    {"metric",         AT(IndexMeta, metric)        },
    {"lance_version",  AT(IndexMeta, lance_version) },
    {"build",          AT(IndexMeta, build)         },
    {"vectors",        AT(IndexMeta, vectors)       },
    {"row_log",        AT(IndexMeta, row_log)       },
    {"moving_to",      AT(IndexMeta, moving_to)     },
};
static const TextMember integers[] = {
    {"dataset_version", AT(IndexMeta, dataset_version)},
    {"rows",            AT(IndexMeta, rows)           },
    {"documents",       AT(IndexMeta, documents)      },
    {"skipped",         AT(IndexMeta, skipped)        },
    {"dimensions",      AT(IndexMeta, dimensions)     },
    {"bytes",           AT(IndexMeta, bytes)          },
    {"build_ms",        AT(IndexMeta, build_ms)       },
    {"promotion",       AT(IndexMeta, promotion)      },
    {"rows_after",      AT(IndexMeta, rows_after)     },
    {"moves",           AT(IndexMeta, moves)          },
};

static Str *text_at(const IndexMeta *meta, size_t i) {
    return (Str *)((char *)(uintptr_t)meta + texts[i].offset);
}

static int64_t *integer_at(const IndexMeta *meta, size_t i) {
    return (int64_t *)((char *)(uintptr_t)meta + integers[i].offset);
}

void meta_write(const IndexMeta *meta, JsonWriter *w) {
    jw_member_int(w, "format", META_FORMAT);
    for (size_t i = 0; i < COUNT(texts); i++) {
        jw_name(w, texts[i].name);
        if (text_at(meta, i)->len)
            jw_text(w, *text_at(meta, i));
        else
            jw_null(w);
    }
    for (size_t i = 0; i < COUNT(integers); i++)
        jw_member_int(w, integers[i].name, *integer_at(meta, i));
    jw_name(w, "chunk");
    jw_object(w);
    jw_member_int(w, "size", meta->chunk.size);
    jw_member_int(w, "overlap", meta->chunk.overlap);
    jw_end(w);
    jw_name(w, "config");
    config_write(meta->vector_backend, &meta->config, w);
    if (meta->moved) jw_member_flag(w, "moved", true);
    jw_member_time(w, "created_at", meta->created_ms);
    jw_member_time(w, "updated_at", meta->updated_ms);
}

bool meta_read(const Json *json, IndexMeta *out, Err *err) {
    const Json *chunk = json_get(json, "chunk"), *config = json_get(json, "config");
    if (json_get_int(json, "format", 0) != META_FORMAT)
        return err_set(err, LH_IMPOSSIBLE, "meta.json has format %lld and this program reads %d",
                       (long long)json_get_int(json, "format", 0), META_FORMAT);
    IndexMeta meta = {0};
    for (size_t i = 0; i < COUNT(texts); i++)
        *text_at(&meta, i) = json_get_text(json, texts[i].name, (Str){0});
    for (size_t i = 0; i < COUNT(integers); i++)
        *integer_at(&meta, i) = json_get_int(json, integers[i].name, 0);
    meta.chunk.size = json_get_int(chunk, "size", 1000);
    meta.chunk.overlap = json_get_int(chunk, "overlap", 200);
    if (!config_read(meta.vector_backend, config, &meta.config, err)) return false;
    meta.moved = json_get_flag(json, "moved", false);
    if (meta.vectors.len == 0) meta.vectors = meta.build;
    if (meta.lance_version.len == 0 && str_is(meta.vector_backend, "lance"))
        meta.lance_version = STR("2.0");
    if (meta.row_log.len == 0) meta.row_log = STR("0"); /* of before there were such logs */
    clock_read(json_get_text(json, "created_at", (Str){0}), &meta.created_ms);
    clock_read(json_get_text(json, "updated_at", (Str){0}), &meta.updated_ms);
    if (meta.index.len == 0 || meta.index.len > INDEX_NAME_MAX || meta.build.len == 0)
        return err_set(err, LH_CORRUPT, "meta.json names no index or no build");
    if (meta.rows_after < 0)
        return err_set(err, LH_CORRUPT, "meta.json has a negative number for rows_after");
    *out = meta;
    return true;
}

IndexMeta meta_copy(const IndexMeta *meta, Arena *arena) {
    IndexMeta copy = *meta;
    for (size_t i = 0; i < COUNT(texts); i++)
        *text_at(&copy, i) = arena_copy(arena, *text_at(meta, i));
    return copy;
}

Str meta_key(Str index, const char *rest, Arena *arena) {
    return arena_print(arena, "vectors/%.*s/%s", SHOW(index), rest);
}

Str meta_build_key(const IndexMeta *meta, Arena *arena) {
    return arena_print(arena, "vectors/%.*s/hnsw/%.*s.idx", SHOW(meta->index), SHOW(meta->build));
}

Str meta_lance_key(const IndexMeta *meta, Arena *arena) {
    return meta_key(meta->index, "docs.lance", arena);
}

Str meta_words_key(const IndexMeta *meta, Arena *arena) {
    return arena_print(arena, "vectors/%.*s/words/%.*s.bin", SHOW(meta->index),
                       SHOW(meta->vectors));
}

Str meta_vectors_key(const IndexMeta *meta, Arena *arena) {
    return arena_print(arena, "vectors/%.*s/vectors/%.*s.parquet", SHOW(meta->index),
                       SHOW(meta->vectors));
}

Str meta_text_key(const IndexMeta *meta, Arena *arena) {
    return arena_print(arena, "vectors/%.*s/text/%.*s.idx", SHOW(meta->index), SHOW(meta->vectors));
}

Str meta_rows_prefix(const IndexMeta *meta, Arena *arena) {
    return arena_print(arena, "vectors/%.*s/rows/%.*s/", SHOW(meta->index), SHOW(meta->row_log));
}
