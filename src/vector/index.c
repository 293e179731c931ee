#include "vector/index.h"

#include <math.h>

const char *const metric_names[] = {"cosine", "l2", "dot"};

Metric metric_of(Str name) {
    return str_is(name, "l2") ? METRIC_L2 : str_is(name, "dot") ? METRIC_DOT : METRIC_COSINE;
}

static double norm2(const float *vector, size_t dimensions) {
    double sum = 0;
    for (size_t i = 0; i < dimensions; i++) sum += (double)vector[i] * vector[i];
    return sum;
}

void metric_prepare(Metric metric, float *vector, size_t dimensions) {
    if (metric != METRIC_COSINE) return;
    double length = sqrt(norm2(vector, dimensions));
    if (length <= 0) return;
    for (size_t i = 0; i < dimensions; i++) vector[i] = (float)(vector[i] / length);
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
