#include "ai/ai.h"

#include "ai/features.h"

#include <stdlib.h>

struct Stems {
    Features *features;
    Stem *list;
    size_t cap;
};

bool stems_open(Stems **out, Err *err) {
    Stems *stems = calloc(1, sizeof *stems);
    if (!stems) abort();
    if (!features_open(&stems->features, err)) {
        free(stems);
        return false;
    }
    *out = stems;
    return true;
}

void stems_close(Stems **stems) {
    if (!*stems) return;
    features_close(&(*stems)->features);
    free((*stems)->list);
    free(*stems);
    *stems = NULL;
}

const Stem *stems_of(Stems *stems, Str text, size_t *count) {
    const Feature *features = features_stems(stems->features, text, count);
    if (*count > stems->cap) {
        stems->cap = *count * 2;
        stems->list = realloc(stems->list, stems->cap * sizeof *stems->list);
        if (!stems->list) abort();
    }
    for (size_t i = 0; i < *count; i++)
        stems->list[i] = (Stem){features[i].hash, (uint32_t)features[i].count};
    return stems->list;
}
