/* A job at start that removes what crashes left behind: files that no dataset and no index names,
 * older than any work under way can be. */
#include "app/app.h"

/* One dataset or bucket that cannot be swept is said and passed over. */
static void note(const char *what, Str name, bool ok, int64_t removed, const Err *err,
                 int64_t *total) {
    if (!ok)
        log_warn("%s '%.*s' is not swept: %s", what, SHOW(name), err->message);
    else if (removed > 0)
        log_info("%s '%.*s': %lld files that nothing named are removed", what, SHOW(name),
                 (long long)removed);
    *total += ok ? removed : 0;
}

static bool sweep_run(Job *job, void *context, Text *result, Err *err) {
    App *app = context;
    OWNED(arena_close) Arena arena = {0};
    int64_t before_ms = clock_now_ms() - app->sweep_age_ms, total = 0, removed;
    Str *names;
    size_t count;
    if (!catalog_names(app->catalog, &arena, &names, &count, err)) return false;
    for (size_t i = 0; i < count && !job_cancelled(job); i++) {
        Err why = {0};
        bool ok = catalog_sweep(app->catalog, names[i], before_ms, &removed, &why);
        note("dataset", names[i], ok, removed, &why, &total);
        job_progress(job, (int64_t)i + 1, (int64_t)count, "datasets");
    }
    names = bucket_names(app->buckets, &arena, &count);
    for (size_t i = 0; i < count && !job_cancelled(job); i++) {
        Err why = {0};
        bool ok = indexes_sweep(app->indexes, names[i], before_ms, &removed, &why);
        note("bucket", names[i], ok, removed, &why, &total);
    }
    text_print(result, "{\"files_removed\":%lld}", (long long)total);
    return true;
}

/* The App outlives its jobs. */
static void keep(void *context) {
    (void)context;
}

bool app_sweep(App *app, Err *err) {
    OWNED(job_release) Job *job = NULL;
    if (app->sweep_age_ms == 0) return true;
    return jobs_start(app->jobs, "sweep", sweep_run, app, keep, &job, err);
}
