#include "kit/kit.h"
#include "vector/propose.h"

#include <string.h>

#define TRIALS 40

static TuneGoal goal_with(int64_t ef_search) {
    return (TuneGoal){
        .backend = STR("parquet"),
        .eval = STR("agent"),
        .rows = STR("r1"),
        .k = 10,
        .champion = {.m = 16, .ef_construction = 200, .ef_search = ef_search},
        .min_recall = 0.9,
        .min_gain = 0.05
    };
}

static Trial trial_of(const TuneGoal *goal, size_t number, const IndexConfig *config, double recall,
                      double p50_us) {
    Trial trial = {.number = (int64_t)number, .config = *config, .k = goal->k};
    trial.eval = goal->eval;
    trial.rows = goal->rows;
    trial.measured.recall = recall;
    trial.measured.p50_us = p50_us;
    return trial;
}

/* Proposals, each journaled, for a champion that stays. */
static size_t journal(const TuneGoal *goal, Trial *trials) {
    IndexConfig config;
    size_t count = 0;
    while (count < TRIALS && propose(goal, trials, count, &config)) {
        trials[count] = trial_of(goal, count + 1, &config, 0.95, 100);
        count++;
    }
    return count;
}

TEST("the champion is measured first, then nothing is tried twice, all within bounds") {
    Trial trials[TRIALS];
    const TuneGoal goal = goal_with(256);
    size_t axes_count, count = journal(&goal, trials);
    const ConfigAxis *axes = config_axes(goal.backend, &axes_count);
    CHECK_INT(count, TRIALS);
    CHECK(config_equal(goal.backend, &trials[0].config, &goal.champion));
    for (size_t i = 1; i < count; i++) {
        for (size_t j = 0; j < i; j++)
            CHECK(!config_equal(goal.backend, &trials[i].config, &trials[j].config));
        for (size_t a = 0; a < axes_count; a++) {
            int64_t value = *config_value(axes[a].option, &trials[i].config);
            CHECK(value >= axes[a].low && value <= axes[a].high);
        }
    }
}

TEST("a journal replays to the same proposals") {
    Trial trials[TRIALS];
    const TuneGoal goal = goal_with(256);
    size_t count = journal(&goal, trials);
    for (size_t i = 0; i < count; i++) {
        IndexConfig again;
        CHECK(propose(&goal, trials, i, &again));
        CHECK(config_equal(goal.backend, &again, &trials[i].config));
    }
}

TEST("most proposals are small steps from the champion, some are from anywhere") {
    Trial trials[TRIALS];
    const TuneGoal goal = goal_with(64);
    size_t count = journal(&goal, trials), far = 0;
    for (size_t i = 1; i < count; i++)
        far += trials[i].config.ef_search > 256 || trials[i].config.ef_search < 24 ||
               trials[i].config.m > 48 || trials[i].config.m < 6;
    CHECK(far > 0 && far < count * 2 / 3);
}

TEST("trials of other rows, another eval set or another k do not count") {
    Trial trials[TRIALS];
    const TuneGoal goal = goal_with(256);
    TuneGoal other = goal;
    IndexConfig config;
    size_t count = journal(&goal, trials);
    other.rows = STR("r2");
    CHECK(champion_trial(&goal, trials, count) == &trials[0]);
    CHECK(champion_trial(&other, trials, count) == NULL);
    CHECK(propose(&other, trials, count, &config));
    CHECK(config_equal(goal.backend, &config, &goal.champion));
}

typedef struct Verdict {
    double had_recall, had_us, recall, us;
    bool promoted;
    const char *why;
} Verdict;

TEST("a champion is replaced by what is quicker and finds enough, never by what finds too little") {
    static const Verdict verdicts[] = {
        {0.95, 100, 0.95, 80,  true,  "takes 80.0 us"   },
        {0.95, 100, 0.95, 97,  false, "takes 97.0 us"   },
        {0.95, 100, 0.89, 10,  false, "0.8900 is below" },
        {0.99, 100, 0.91, 50,  true,  "takes 50.0 us"   },
        {0.80, 100, 0.92, 300, true,  "0.9200 is enough"},
        {0.80, 100, 0.85, 10,  false, "0.8500 is below" },
        {0.95, 100, 0.95, 200, false, "takes 200.0 us"  },
    };
    OWNED(arena_close) Arena arena = {0};
    const TuneGoal goal = goal_with(256);
    IndexConfig config = goal.champion;
    config.ef_search = 64;
    for (size_t i = 0; i < COUNT(verdicts); i++) {
        const Verdict *v = &verdicts[i];
        const Trial champion = trial_of(&goal, 1, &goal.champion, v->had_recall, v->had_us);
        const Trial trial = trial_of(&goal, 2, &config, v->recall, v->us);
        Str why;
        CHECK(judge(&goal, &champion, &trial, &arena, &why) == v->promoted);
        CHECK(strstr(arena_cstr(&arena, why), v->why) != NULL);
    }
}

TEST("when everything near and far was tried, nothing is proposed") {
    enum { ALL = 9 * 9 * 13 };
    static Trial trials[ALL + 1];
    const TuneGoal goal = goal_with(256);
    size_t count = 0, axes_count;
    const ConfigAxis *axes = config_axes(goal.backend, &axes_count);
    IndexConfig config = goal.champion, ignored;
    CHECK_INT(axes_count, 3);
    trials[count++] = trial_of(&goal, 1, &goal.champion, 0.95, 100);
    for (int64_t m = axes[0].low; m <= axes[0].high; m = m % 3 ? m * 3 / 2 : m * 4 / 3)
        for (int64_t c = axes[1].low; c <= axes[1].high; c = c % 3 ? c * 3 / 2 : c * 4 / 3)
            for (int64_t s = axes[2].low; s <= axes[2].high; s = s % 3 ? s * 3 / 2 : s * 4 / 3) {
                config = (IndexConfig){.m = m, .ef_construction = c, .ef_search = s};
                trials[count] = trial_of(&goal, count + 1, &config, 0.95, 100);
                count++;
            }
    CHECK_INT(count, ALL + 1);
    /* Steps from a champion off the grid may keep one of its values: those are left. */
    for (int tries = 0; tries < 3; tries++)
        if (propose(&goal, trials, count, &ignored)) CHECK(ignored.ef_construction == 200);
}
