#include "vector/propose.h"

#include <math.h>

#define EXPLORE_ONE_IN 4 /* epsilon 0.25 */
#define DRAWS_MAX 400
#define DRAWS_PER_STEP 40 /* then the steps grow by one */

/* The place `at` of an axis' grid. */
static int64_t axis_value(const ConfigAxis *axis, int at) {
    int64_t value = axis->low << (at / 2);
    return at % 2 ? value * 3 / 2 : value;
}

static int axis_places(const ConfigAxis *axis) {
    int places = 1;
    while (axis_value(axis, places) <= axis->high) places++;
    return places;
}

static int axis_nearest(const ConfigAxis *axis, int64_t value) {
    int places = axis_places(axis), at = 0;
    while (at + 1 < places && axis_value(axis, at + 1) <= value) at++;
    return at;
}

static bool counts(const TuneGoal *goal, const Trial *trial) {
    return trial->k == goal->k && str_equal(trial->eval, goal->eval) &&
           str_equal(trial->rows, goal->rows);
}

const Trial *champion_trial(const TuneGoal *goal, const Trial *trials, size_t count) {
    while (count-- > 0)
        if (counts(goal, &trials[count]) &&
            config_equal(goal->backend, &trials[count].config, &goal->champion))
            return &trials[count];
    return NULL;
}

static bool is_tried(const TuneGoal *goal, const Trial *trials, size_t count,
                     const IndexConfig *config) {
    for (size_t i = 0; i < count; i++)
        if (counts(goal, &trials[i]) && config_equal(goal->backend, &trials[i].config, config))
            return true;
    return false;
}

static void draw_anywhere(const ConfigAxis *axes, size_t count, uint64_t *random,
                          IndexConfig *out) {
    for (size_t i = 0; i < count; i++) {
        int at = (int)(random_next(random) % (uint64_t)axis_places(&axes[i]));
        *config_value(axes[i].option, out) = axis_value(&axes[i], at);
    }
}

static void draw_near(const ConfigAxis *axes, size_t count, int step, uint64_t *random,
                      IndexConfig *out) {
    for (size_t i = 0; i < count; i++) {
        int64_t *value = config_value(axes[i].option, out);
        int at = axis_nearest(&axes[i], *value);
        int to = at + (int)(random_next(random) % (uint64_t)(2 * step + 1)) - step;
        if (to != at) *value = axis_value(&axes[i], MIN(MAX(to, 0), axis_places(&axes[i]) - 1));
    }
}

bool propose(const TuneGoal *goal, const Trial *trials, size_t count, IndexConfig *out) {
    uint64_t random = count;
    size_t axis_count;
    const ConfigAxis *axes = config_axes(goal->backend, &axis_count);
    *out = goal->champion;
    if (!champion_trial(goal, trials, count)) return true;
    for (int draw = 0; draw < DRAWS_MAX; draw++) {
        *out = goal->champion;
        if (random_next(&random) % EXPLORE_ONE_IN == 0)
            draw_anywhere(axes, axis_count, &random, out);
        else
            draw_near(axes, axis_count, 1 + draw / DRAWS_PER_STEP, &random, out);
        if (!is_tried(goal, trials, count, out)) return true;
    }
    return false;
}

bool judge(const TuneGoal *goal, const Trial *champion, const Trial *trial, Arena *arena,
           Str *why) {
    const Measured *had = &champion->measured, *got = &trial->measured;
    if (config_equal(goal->backend, &trial->config, &goal->champion)) {
        *why = STR("the champion itself, to compare with");
        return false;
    }
    if (!(got->recall >= goal->min_recall)) {
        *why = arena_print(arena, "its recall %.4f is below %.4f", got->recall, goal->min_recall);
        return false;
    }
    if (had->recall < goal->min_recall) {
        *why = arena_print(arena, "its recall %.4f is enough, the champion's %.4f is not",
                           got->recall, had->recall);
        return true;
    }
    double gain = 1 - got->p50_us / had->p50_us;
    *why = arena_print(arena, "it takes %.1f us, the champion %.1f us (%+.1f %%, asked %.1f %%)",
                       got->p50_us, had->p50_us, -100 * gain, 100 * goal->min_gain);
    return gain >= goal->min_gain;
}
