/* Internal to the graph's build: near rows of each row. */
#pragma once

#include "vector/graph.h"

#define CANDIDATES_MAX 48 /* kept for each row: half as many again as links */

typedef struct Candidates {
    const GraphBuild *build;
    float *half_norm; /* |x|^2/2 of each row: distances are true ones whatever the metric */
    Hit *lists;       /* CANDIDATES_MAX for each row, best first */
    uint8_t *counts;
} Candidates;

/* LH_CANCELLED when asked to stop; candidates_close in every case. */
bool candidates_open(Candidates *candidates, const GraphBuild *build, Err *err);
void candidates_close(Candidates *candidates);
/* The larger the nearer: dot - |x|^2/2 - |y|^2/2, which is -distance^2/2. */
float closeness(const Candidates *candidates, uint32_t x, uint32_t y);
