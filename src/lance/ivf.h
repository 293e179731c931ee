/* IVF_PQ: vectors sorted to the nearest of `partitions` centroids, each kept as the codes of its
 * sub-vectors' nearest code words (Jegou, Douze and Schmid, "Product Quantization for Nearest
 * Neighbor Search", PAMI 2011), in the files that LanceDB writes and reads. Internal to lance.
 *
 *     _indices/<uuid>/index.idx       no rows; metadata and the centroids
 *         lance:index    {"type":"IVF_PQ","distance_type":"cosine"}
 *         lance:flat     ["","",...]       one a partition
 *         lance:ivf      "1"               buffer: IVF {2 offsets, 3 lengths, 4 Tensor}
 *     _indices/<uuid>/auxiliary.idx   a row a vector, by partition: _rowid, __pq_code
 *         distance_type, storage_metadata
 *         lance:ivf      "1"               buffer: IVF {2 first rows, 3 lengths}
 *                        2                 buffer: Tensor: the code words, sub-vector major
 *
 * The codes of a partition of L rows are L bytes of sub-vector 0, L of sub-vector 1, and so on; of
 * 4 bits, two sub-vectors share a byte, the even one in its low half. For the cosine all vectors
 * are scaled to length 1 and compared as by L2. What is coded is the vector less its centroid, but
 * for the dot product the vector itself. There too a vector belongs to the partition whose centroid
 * is nearest by distance: by the largest product, which is LanceDB's rule, a few long centroids
 * attract most vectors (recall 0.92 instead of 0.98); readers do not care. */
#pragma once

#include "lance/index_commit.h"
#include "lance/kmeans.h"
#include "lance/vector_column.h"

#define IVF_DETAILS_URL "/lance.index.pb.VectorIndexDetails"
#define IVF_INDEX_NAME "index.idx"
#define IVF_AUXILIARY_NAME "auxiliary.idx"
#define IVF_CODE_BYTES_MAX 4096                /* of a row */
extern const char *const lance_metric_names[]; /* "cosine", "l2", "dot" */

typedef struct IvfModel {
    LanceMetric metric;
    size_t dimension, partitions, sub_vectors, bits;
    float *centroids; /* partitions * dimension */
    float *words;     /* sub_vectors * (1 << bits) * (dimension / sub_vectors) */
} IvfModel;

static inline size_t ivf_width(const IvfModel *model) { /* of a sub-vector */
    return model->dimension / model->sub_vectors;
}
static inline size_t ivf_words(const IvfModel *model) {
    return (size_t)1 << model->bits;
}
static inline size_t ivf_code_bytes(const IvfModel *model) {
    return model->sub_vectors * model->bits / 8;
}

/* ivf_train.c: partitions, sub_vectors, bits and metric are set; points are made in the arena. */
typedef struct IvfTraining {
    const VectorColumn *vectors;
    int threads, iterations_max;
    const LanceWatch *watch;
} IvfTraining;
bool ivf_train(const IvfTraining *training, Arena *arena, IvfModel *model, Err *err);

/* ivf_encode.c: rows of some fragments as codes. Rows are in order of address. */
typedef struct IvfCodes {
    size_t rows;
    uint64_t *addresses;
    uint32_t *partitions;
    uint8_t *codes; /* rows * ivf_code_bytes */
} IvfCodes;
/* `fragments`: places in vectors->fragments. */
bool ivf_encode(const VectorColumn *vectors, const size_t *fragments, size_t count,
                const IvfModel *model, int threads, const LanceWatch *watch, IvfCodes *out,
                Err *err);
void ivf_codes_close(IvfCodes *codes);

/* ivf_write.c: both files; *index gets its uuid, files, details and version. */
bool ivf_write(LanceTable *table, const IvfModel *model, const IvfCodes *codes, Arena *arena,
               LanceIndex *index, Err *err);
