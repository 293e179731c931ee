#include "vector/index.h"

#include <math.h>

const char *const metric_names[] = {"cosine", "l2", "dot"};

Metric metric_of(Str name) {
    return str_is(name, "l2") ? METRIC_L2 : str_is(name, "dot") ? METRIC_DOT : METRIC_COSINE;
}

/* Four sums, because each addition waits for the one before it. */
static double norm2(const float *vector, size_t dimensions) {
    double sums[4] = {0};
    size_t i = 0;
    for (; i + 4 <= dimensions; i += 4)
        for (size_t j = 0; j < 4; j++) sums[j] += (double)vector[i + j] * vector[i + j];
    for (; i < dimensions; i++) sums[0] += (double)vector[i] * vector[i];
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

static bool length_check(Metric metric, double length, Err *err) {
    if (!isfinite(length))
        return err_code(err, LH_INVALID, "wrong_type",
                        "the vector holds a number that is not finite");
    return metric == METRIC_COSINE || length <= VECTOR_LENGTH_MAX ||
           err_code(err, LH_IMPOSSIBLE, "vector_too_long",
                    "the vector has a length of %.3g, at most %.0e is taken: scale it down", length,
                    VECTOR_LENGTH_MAX);
}

bool metric_check(Metric metric, const float *vector, size_t dimensions, Err *err) {
    return length_check(metric, sqrt(norm2(vector, dimensions)), err);
}

bool metric_prepare(Metric metric, float *vector, size_t dimensions, Err *err) {
    double length = sqrt(norm2(vector, dimensions));
    if (!length_check(metric, length, err)) return false;
    if (metric != METRIC_COSINE || length <= 0) return true;
    double inverse = 1 / length;
    for (size_t i = 0; i < dimensions; i++) vector[i] = (float)(vector[i] * inverse);
    return true;
}

double metric_score(Metric metric, float similarity, const float *query, const float *vector,
                    size_t dimensions) {
    double sum = 0;
    if (metric != METRIC_L2) return similarity;
    for (size_t i = 0; i < dimensions; i++) {
        double difference = (double)query[i] - vector[i];
        sum += difference * difference;
    }
    return sum > 0 ? -sqrt(sum) : 0;
}

void index_close(Index **index) {
    if (!*index) return;
    (*index)->ops->close(*index);
    *index = NULL;
}
