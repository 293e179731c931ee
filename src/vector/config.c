#include "vector/config.h"

#include "vector/meta.h"
#include "vector/vector.h"

#include "lance/lance.h"

static const Option hnsw_options[] = {
    {"m",             LH_INT, AT(IndexConfig, m), NULL, "links that a row chooses", .min = 2, .max = 128},
    {"ef_construction", LH_INT, AT(IndexConfig, ef_construction), NULL, "effort of the build",
     .min = 10, .max = 2000},
    {"ef_search",           LH_INT, AT(IndexConfig, ef_search), NULL, "width of a search", .min = 1,
     .max = VECTOR_EF_MAX},
    {0      },
};

static const Option lance_options[] = {
    {"partitions",    LH_INT, AT(IndexConfig, partitions), NULL, "groups that vectors are sorted into",
     .min = 1, .max = LANCE_PARTITIONS_MAX},
    {"sub_vectors", LH_INT, AT(IndexConfig, sub_vectors), NULL, "bytes of a vector's code",
     .min = 1, .max = EMBED_DIMENSIONS_MAX},
    {"nprobes",           LH_INT, AT(IndexConfig, nprobes), NULL, "groups that a search looks at", .min = 1,
     .max = LANCE_PARTITIONS_MAX},
    {"refine",        LH_INT, AT(IndexConfig, refine), NULL, "times k, ranked again by their vectors",
     .min = 1, .max = 1000},
    {0              },
};

const Option *config_options(Str backend, size_t *build) {
    *build = 2;
    return str_is(backend, "lance") ? lance_options : hnsw_options;
}

IndexConfig config_default(Str backend) {
    if (str_is(backend, "lance")) return (IndexConfig){0};
    return (IndexConfig){.m = 16, .ef_construction = 200, .ef_search = INDEX_EF_SEARCH};
}

int64_t *config_value(const Option *option, IndexConfig *config) {
    return (int64_t *)((char *)config + option->offset);
}

bool config_read(Str backend, const Json *json, IndexConfig *config, Err *err) {
    size_t build;
    const Json none = {.kind = JSON_OBJECT};
    return options_read(config_options(backend, &build), json ? json : &none, config, err) ||
           err_while(err, "config");
}

void config_write(Str backend, const IndexConfig *config, JsonWriter *w) {
    size_t build;
    IndexConfig copy = *config;
    jw_object(w);
    for (const Option *option = config_options(backend, &build); option->name; option++)
        jw_member_int(w, option->name, *config_value(option, &copy));
    jw_end(w);
}

static bool same_values(const Option *options, size_t count, IndexConfig a, IndexConfig b) {
    for (size_t i = 0; i < count && options[i].name; i++)
        if (*config_value(&options[i], &a) != *config_value(&options[i], &b)) return false;
    return true;
}

bool config_same_build(Str backend, const IndexConfig *a, const IndexConfig *b) {
    size_t build;
    const Option *options = config_options(backend, &build);
    return same_values(options, build, *a, *b);
}

bool config_equal(Str backend, const IndexConfig *a, const IndexConfig *b) {
    size_t build;
    return same_values(config_options(backend, &build), SIZE_MAX, *a, *b);
}

const ConfigAxis *config_axes(Str backend, size_t *count) {
    static const ConfigAxis hnsw_axes[] = {
        {&hnsw_options[0], 4,  64  },
        {&hnsw_options[1], 40, 640 },
        {&hnsw_options[2], 16, 1024},
    };
    static const ConfigAxis lance_axes[] = {
        {&lance_options[0], 16, 4096},
        {&lance_options[1], 16, 384 },
        {&lance_options[2], 4,  256 },
        {&lance_options[3], 2,  64  },
    };
    bool lance = str_is(backend, "lance");
    *count = lance ? COUNT(lance_axes) : COUNT(hnsw_axes);
    return lance ? lance_axes : hnsw_axes;
}
