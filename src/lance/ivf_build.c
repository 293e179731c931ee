/* An IVF_PQ index from beginning to end: train, encode, write, commit. */
#include "lance/search_view.h"

#include <assert.h>
#include <math.h>

#define ITERATIONS 50
#define SUBS_LEAST 32
#define MODEL_FLOATS_MAX (LANCE_BUFFER_MAX / sizeof(float) / 2) /* of centroids: one buffer */
#define SHARE_TRAIN 0.6                                         /* of the time, about */

/* Progress of a part as progress of the whole. */
typedef struct PartWatch {
    const LanceWatch *whole;
    double from, share;
} PartWatch;

static bool part_cancelled(void *context) {
    const PartWatch *part = context;
    return part->whole && part->whole->cancelled && part->whole->cancelled(part->whole->context);
}

static void part_progress(void *context, double share) {
    const PartWatch *part = context;
    watch_progress(part->whole, part->from + share * part->share);
}

/* Sixteen numbers a byte, as LanceDB has it, but of short vectors fewer: with less than SUBS_LEAST
 * bytes the codes of neighbours are too often the same (32 dimensions in 2 bytes: recall 0.73). */
static size_t sub_vectors_default(size_t dimension) {
    for (size_t width = 16; width > 1; width--)
        if (dimension % width == 0 && dimension / width >= SUBS_LEAST) return dimension / width;
    return dimension;
}

void lance_index_defaults(uint64_t rows, size_t dimension, LanceVectorIndexOptions *options) {
    uint64_t usual = (uint64_t)llround(sqrt((double)rows));
    if (!options->partitions)
        options->partitions =
            (uint32_t)MIN(MAX(usual, (uint64_t)1), (uint64_t)LANCE_PARTITIONS_MAX);
    if (!options->bits) options->bits = 8;
    if (!options->sub_vectors) options->sub_vectors = (uint32_t)sub_vectors_default(dimension);
    options->sub_vectors = (uint32_t)MIN((size_t)options->sub_vectors, dimension);
    while (options->sub_vectors > 1 && dimension % options->sub_vectors) options->sub_vectors--;
}

static bool model_plan(const LanceVectorIndexOptions *options, const VectorColumn *vectors,
                       IvfModel *out, Err *err) {
    LanceVectorIndexOptions usual = {.partitions = options->partitions, .bits = options->bits};
    lance_index_defaults(vectors->rows, vectors->dimension, &usual);
    IvfModel model = {.metric = options->metric,
                      .dimension = vectors->dimension,
                      .partitions = usual.partitions,
                      .sub_vectors =
                          options->sub_vectors ? options->sub_vectors : usual.sub_vectors,
                      .bits = usual.bits};
    assert(model.dimension > 0 && model.sub_vectors > 0);
    size_t most = MIN((size_t)LANCE_PARTITIONS_MAX, MODEL_FLOATS_MAX / model.dimension);
    if (model.partitions > most)
        return err_set(err, LH_INVALID,
                       "an index of vectors of %zu numbers has at most %zu partitions, not %zu",
                       model.dimension, most, model.partitions);
    if (model.bits != 8 && model.bits != 4)
        return err_set(err, LH_INVALID, "codes have 8 or 4 bits, not %zu", model.bits);
    if (model.dimension % model.sub_vectors || (model.sub_vectors * model.bits) % 8)
        return err_set(err, LH_INVALID, "vectors of %zu numbers cannot be %zu sub-vectors%s",
                       model.dimension, model.sub_vectors,
                       model.bits == 4 ? " of 4 bits, two of which share a byte" : "");
    if (ivf_code_bytes(&model) > IVF_CODE_BYTES_MAX)
        return err_set(err, LH_INVALID, "a code has at most %d bytes, not %zu", IVF_CODE_BYTES_MAX,
                       ivf_code_bytes(&model));
    *out = model;
    return true;
}

static bool index_make(LanceTable *table, const VectorColumn *vectors, const IvfModel *model,
                       const IvfCodes *codes, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    int32_t field = vectors->field->id;
    uint64_t *ids = arena_array(&arena, uint64_t, vectors->fragment_count);
    for (size_t i = 0; i < vectors->fragment_count; i++) ids[i] = vectors->fragments[i].id;
    IndexChange change = {.then = vectors->snapshot,
                          .fragments = ids,
                          .fragment_count = vectors->fragment_count,
                          .replace = true};
    change.index.fields = &field;
    change.index.field_count = 1;
    change.index.name = arena_print(&arena, "%.*s_idx", SHOW(vectors->field->name));
    return ivf_write(table, model, codes, &arena, &change.index, err) &&
           index_commit(table, &change, err);
}

typedef struct IvfBuild {
    VectorColumn *vectors;
    Arena arena; /* of the model */
    IvfModel model;
    IvfCodes codes;
} IvfBuild;

static void ivf_build_close(IvfBuild *build) {
    vector_column_close(&build->vectors);
    ivf_codes_close(&build->codes);
    arena_close(&build->arena);
}

static bool ivf_build_run(LanceTable *table, const LanceVectorIndexOptions *options,
                          const LanceWatch *watch, IvfBuild *build, Err *err) {
    if (!vector_column_open(table, options->column, &build->vectors, err) ||
        !model_plan(options, build->vectors, &build->model, err))
        return false;
    int threads = options->threads ? options->threads : parallel_threads();
    PartWatch train = {watch, 0, SHARE_TRAIN}, encode = {watch, SHARE_TRAIN, 1 - SHARE_TRAIN};
    LanceWatch first = {part_cancelled, part_progress, &train};
    LanceWatch second = {part_cancelled, part_progress, &encode};
    IvfTraining training = {build->vectors, threads,
                            options->iterations_max ? (int)options->iterations_max : ITERATIONS,
                            &first};
    size_t fragments = build->vectors->fragment_count;
    size_t *all = arena_array(&build->arena, size_t, fragments);
    for (size_t i = 0; i < fragments; i++) all[i] = i;
    return ivf_train(&training, &build->arena, &build->model, err) &&
           ivf_encode(build->vectors, all, fragments, &build->model, threads, &second,
                      &build->codes, err);
}

bool lance_index_vectors(LanceTable *table, const LanceVectorIndexOptions *options,
                         const LanceWatch *watch, Err *err) {
    OWNED(ivf_build_close) IvfBuild build = {0};
    return ivf_build_run(table, options, watch, &build, err) &&
           index_make(table, build.vectors, &build.model, &build.codes, err);
}

bool lance_try_index(LanceTable *table, const LanceVectorIndexOptions *options,
                     const LanceWatch *watch, Err *err) {
    OWNED(ivf_build_close) IvfBuild build = {0};
    OWNED(segment_release) IvfSegment *segment = NULL;
    if (!ivf_build_run(table, options, watch, &build, err)) return false;
    segment_of_codes(&build.model, &build.codes, &segment);
    search_view_try(table, build.vectors, segment);
    return true;
}
