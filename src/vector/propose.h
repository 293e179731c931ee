/* What the agent tries next and what it makes of it: pure functions of an index's journal, so that
 * a journal replays to the same proposals. */
#pragma once

#include "vector/trial.h"

typedef struct TuneGoal { /* trials that count are those of this eval set, these rows and this k */
    Str backend, eval, rows;
    int64_t k;
    IndexConfig champion;
    double min_recall; /* never below */
    double min_gain;   /* share of the latency that a new champion must save */
} TuneGoal;

/* The champion itself while it has no trial of its own; then, seeded by the journal's length,
 * uniformly within bounds (one in four) or a small step from the champion on each axis; never a
 * configuration that was tried. False: there is none left. */
bool propose(const TuneGoal *goal, const Trial *trials, size_t count, IndexConfig *out);

/* The champion's latest trial, or NULL. */
const Trial *champion_trial(const TuneGoal *goal, const Trial *trials, size_t count);
/* Whether the trial is to be the next champion; *why says why or why not. */
bool judge(const TuneGoal *goal, const Trial *champion, const Trial *trial, Arena *arena, Str *why);
