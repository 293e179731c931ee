/* POST /vectors/autotune/{idx}: a grid of configurations, each a trial, one after the other. */
#include "vector/trial.h"

#include <stdlib.h>

#define GRID_MAX 200 /* trials of one grid */

const Option autotune_options[] = {
    {"grid",           LH_JSON, AT(AutotuneSpec, grid), REQUIRED,
     "{\"ef_search\":[64,128],...}: values to combine"},
    {"eval", LH_TEXT, AT(AutotuneSpec, eval), REQUIRED, "the eval set to measure with"},
    {"k",        LH_INT, AT(AutotuneSpec, k), "10", "answers that count", .min = 1, .max = EVAL_DEPTH},
    {"min_recall",                LH_REAL, AT(AutotuneSpec, min_recall), "0.95", "what the best trial must keep",
     .min = 0, .max = 1},
    {"promote",         LH_FLAG, AT(AutotuneSpec, promote), "false", "make the best trial the champion"},
    {0          },
};

typedef struct Grid {
    Str backend;
    IndexConfig *configs;
    size_t count;
} Grid;

/* Each configuration so far, with each of the values. */
static bool grid_multiply(Grid *grid, const Json *values, Arena *arena, Err *err) {
    if (values->kind != JSON_ARRAY || values->len == 0)
        return err_code(err, LH_INVALID, "bad_grid", "grid: '%.*s' is not a list of values",
                        SHOW(values->name));
    if (grid->count * values->len > GRID_MAX)
        return err_code(err, LH_INVALID, "grid_too_big", "the grid has more than %d combinations",
                        GRID_MAX);
    IndexConfig *configs = arena_array(arena, IndexConfig, grid->count * values->len);
    for (size_t i = 0; i < grid->count * values->len; i++) {
        Json member = values->items[i % values->len];
        member.name = values->name;
        const Json object = {.kind = JSON_OBJECT, .items = &member, .len = 1};
        configs[i] = grid->configs[i / values->len];
        if (!config_read(grid->backend, &object, &configs[i], err)) return false;
    }
    grid->configs = configs;
    grid->count *= values->len;
    return true;
}

/* What shapes the build varies slowest, so that a build serves all that can use it. */
static bool grid_make(const IndexEntry *entry, const Json *json, Arena *arena, Grid *out,
                      Err *err) {
    size_t build;
    *out = (Grid){entry->meta.vector_backend, arena_array(arena, IndexConfig, 1), 1};
    out->configs[0] = entry->meta.config;
    const Option *options = config_options(out->backend, &build);
    if (json->kind != JSON_OBJECT)
        return err_code(err, LH_INVALID, "bad_grid", "'grid' is an object of lists");
    for (size_t i = 0; i < json->len; i++)
        if (!option_find(options, json->items[i].name))
            return err_code(err, LH_INVALID, "bad_grid", "grid: '%.*s' cannot be tuned here",
                            (int)MIN(json->items[i].name.len, 80), json->items[i].name.data);
    for (const Option *option = options; option->name; option++) {
        const Json *values = json_get(json, option->name);
        if (values && !grid_multiply(out, values, arena, err)) return false;
    }
    return true;
}

typedef struct Tuning {
    const AutotuneSpec *spec;
    Job *job;
    Trial *trials;
    size_t count, total;
} Tuning;

static void note_trial(void *context, const Trial *trial) {
    Tuning *tuning = context;
    tuning->trials[tuning->count++] = *trial;
    if (tuning->job)
        job_progress(tuning->job, (int64_t)tuning->count, (int64_t)tuning->total, "trials");
}

static const Trial *best_of(const Tuning *tuning) {
    const Trial *best = NULL;
    for (size_t i = 0; i < tuning->count; i++) {
        const Trial *trial = &tuning->trials[i];
        if (trial->measured.recall < tuning->spec->min_recall) continue;
        if (!best || trial->measured.p50_us < best->measured.p50_us) best = trial;
    }
    return best;
}

static void write_tuned(Str index, Str backend, const Tuning *tuning, const Trial *best,
                        bool promoted, JsonWriter *w) {
    jw_object(w);
    jw_member_text(w, "index", index);
    jw_member_text(w, "eval", tuning->spec->eval);
    jw_member_real(w, "min_recall", tuning->spec->min_recall);
    jw_name(w, "best");
    if (best)
        trial_write(backend, best, w);
    else
        jw_null(w);
    jw_member_flag(w, "promoted", promoted);
    jw_name(w, "trials"), jw_array(w);
    for (size_t i = 0; i < tuning->count; i++) trial_write(backend, &tuning->trials[i], w);
    jw_end(w);
    jw_end(w);
}

bool index_autotune(Indexes *indexes, Str index, const AutotuneSpec *spec, Job *job, Text *result,
                    Err *err) {
    OWNED(index_entry_release) IndexEntry *entry = NULL;
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text ignored = {0};
    Tuning tuning = {.spec = spec, .job = job};
    Grid grid;
    if (!indexes_find(indexes, index, &entry, err) ||
        !grid_make(entry, spec->grid, &arena, &grid, err))
        return false;
    tuning.trials = arena_array(&arena, Trial, grid.count);
    tuning.total = grid.count;
    TrialRun run = {.index = index,
                    .eval = spec->eval,
                    .k = spec->k,
                    .configs = grid.configs,
                    .count = grid.count,
                    .watch = job_watch(job),
                    .done = note_trial,
                    .context = &tuning};
    if (!trials_run(indexes, &run, err)) return false;
    const Trial *best = best_of(&tuning);
    bool promote = best && spec->promote;
    if (promote &&
        !index_promote(indexes, index, best->number, STR("autotune"), job, &ignored, err))
        return false;
    write_tuned(index, entry->meta.vector_backend, &tuning, best, promote,
                &(JsonWriter){.out = result});
    return true;
}
