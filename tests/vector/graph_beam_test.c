#include "kit/kit.h"
#include "vector/graph_beam.h"

#include <stdlib.h>

#define NODES 600

static int best_first(const void *a, const void *b) {
    const Spot *x = a, *y = b;
    return x->score != y->score ? (x->score < y->score) - (x->score > y->score)
                                : (x->node > y->node) - (x->node < y->node);
}

/* Few different scores: equal ones meet often. */
static Spot spot_of(uint32_t node) {
    return (Spot){(float)(random_u64() % 50), node};
}

TEST("a beam holds the best of all that came, in order, however many come at once") {
    static const size_t caps[] = {1, 2, 7, 16, 100, NODES + 1};
    for (size_t i = 0; i < COUNT(caps); i++)
        for (size_t most = 1; most <= 64; most = most * 3 + 1) {
            Spot spots[NODES + 1], all[NODES];
            Beam beam = {.spots = spots, .cap = caps[i]};
            for (uint32_t node = 0; node < NODES;) {
                Spot some[64];
                size_t count = 0;
                float worst = beam_worst(&beam);
                for (size_t j = 0; j < most && node < NODES; j++, node++) {
                    all[node] = spot_of(node);
                    spots_add(some, &count, all[node], worst);
                }
                size_t place = beam_add(&beam, some, count);
                CHECK(count == 0 || place < beam.cap);
                CHECK(count == 0 || beam.spots[place].node == some[0].node);
                CHECK_INT(beam.count, MIN(node, beam.cap));
            }
            for (size_t j = 0; j < beam.count; j++)
                CHECK(spots[j].score == all[spots[j].node].score);
            qsort(all, NODES, sizeof *all, best_first);
            for (size_t j = 0; j < beam.count; j++) CHECK(beam.spots[j].score == all[j].score);
            qsort(spots, beam.count, sizeof *spots, best_first);
            for (size_t j = 1; j < beam.count; j++) CHECK(spots[j].node != spots[j - 1].node);
        }
}

TEST("what is no better than the worst of a full beam, and NaN, stay out") {
    Spot spots[2], some[4];
    Beam beam = {.spots = spots, .cap = 2};
    size_t count = 0;
    spots_add(some, &count, (Spot){1, 1}, beam_worst(&beam));
    spots_add(some, &count, (Spot){__builtin_nanf(""), 2}, beam_worst(&beam));
    spots_add(some, &count, (Spot){3, 3}, beam_worst(&beam));
    CHECK_INT(count, 2);
    CHECK_INT(beam_add(&beam, some, count), 0);
    count = 0;
    spots_add(some, &count, (Spot){1, 4}, beam_worst(&beam));
    CHECK_INT(count, 0);
    CHECK_INT(beam_add(&beam, some, 0), 2);
    CHECK(beam.spots[0].node == 3 && beam.spots[1].node == 1);
}
