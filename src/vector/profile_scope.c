/* What a profile reaches: searches within it, and all that is done for a key that is bound to it.
 *
 * The latter goes with the thread, not with parameters: every index is found by indexes_find_any
 * and every dataset by catalog_load, which ask here, so that no route can forget to. */
#include "vector/profile.h"

static bool is_listed(const Json *list) {
    return list && list->len > 0;
}

static bool list_admits(const Json *list, Str name) {
    for (size_t i = 0; is_listed(list) && i < list->len; i++)
        if (str_equal(list->items[i].text, name)) return true;
    return !is_listed(list);
}

static bool is_foreign(const ProfileSpec *spec, Str bucket) {
    return str_starts(bucket, STR(PROFILE_BUCKET_PREFIX)) && !str_equal(bucket, spec->bucket);
}

/* Each list narrows. What lives in another profile's own bucket is that profile's, unless it is
 * named. */
static bool in_scope(const ProfileSpec *spec, const IndexMeta *meta) {
    return list_admits(spec->indexes, meta->index) && list_admits(spec->datasets, meta->dataset) &&
           (is_listed(spec->indexes) || !is_foreign(spec, meta->bucket));
}

static bool scope_check(const ProfileSpec *spec, const IndexMeta *meta, Err *err) {
    return in_scope(spec, meta) ||
           err_code(err, LH_DENIED, "out_of_scope",
                    "index '%.*s' is outside of the scope of profile '%.*s'", SHOW(meta->index),
                    SHOW(spec->id));
}

bool profile_admits(const Profile *profile, const IndexMeta *meta, Err *err) {
    const ProfileSpec *spec = &profile->spec;
    if (!scope_check(spec, meta, err)) return false;
    if (!str_equal(spec->vector_backend, meta->vector_backend))
        return err_code(err, LH_IMPOSSIBLE, "wrong_backend",
                        "index '%.*s' has backend '%.*s', profile '%.*s' searches '%.*s'",
                        SHOW(meta->index), SHOW(meta->vector_backend), SHOW(spec->id),
                        SHOW(spec->vector_backend));
    return meta->model.len == 0 || model_same(meta->model, spec->embed_model) ||
           err_code(err, LH_IMPOSSIBLE, "wrong_model",
                    "index '%.*s' was made by model '%.*s', profile '%.*s' embeds with '%.*s'",
                    SHOW(meta->index), SHOW(meta->model), SHOW(spec->id), SHOW(spec->embed_model));
}

const Str *profile_datasets(const Profile *profile, const IndexMeta *meta, Arena *arena,
                            size_t *count) {
    const Json *list = profile->spec.datasets;
    size_t listed = list ? list->len : 0;
    Str *names = arena_array(arena, Str, listed + 1);
    names[0] = meta->dataset;
    for (size_t i = 0; i < listed; i++) names[i + 1] = list->items[i].text;
    *count = listed + 1;
    return names;
}

/* ---- Threads that work for somebody who is bound ---- */

typedef struct Bound {
    Profile profile;
    Indexes *indexes;
} Bound;

static __thread const Bound *bound; /* NULL: nobody */

/* Whether it feeds an index in the scope of this thread: then it comes with that. */
static bool feeds_index(Indexes *indexes, Str dataset) {
    OWNED(arena_close) Arena arena = {0};
    Str *names;
    size_t count, i = 0;
    indexes_of_dataset(indexes, dataset, &arena, &names, &count);
    while (i < count && !index_is_known(indexes, names[i])) i++;
    return i < count;
}

/* Those that are listed; else those of the indexes that are listed; else what is nobody else's. */
static bool admits_dataset(const void *context, Str dataset, Str bucket) {
    const Bound *by = context;
    const ProfileSpec *spec = &by->profile.spec;
    if (is_listed(spec->datasets)) return list_admits(spec->datasets, dataset);
    return (!is_listed(spec->indexes) && !is_foreign(spec, bucket)) ||
           feeds_index(by->indexes, dataset);
}

bool profile_bound_admits(const IndexMeta *meta, Err *err) {
    return !bound || scope_check(&bound->profile.spec, meta, err);
}

bool profile_enter(Profiles *profiles, Str id, Arena *arena, Err *err) {
    Bound *entered = arena_new(arena, Bound);
    entered->indexes = profiles_indexes(profiles);
    if (!profile_load(profiles, id, arena, &entered->profile, err)) {
        if (err->kind != LH_MISSING) return false;
        return err_code(err, LH_DENIED, "profile_not_found",
                        "the key is bound to profile '%.*s', which is not there", SHOW(id));
    }
    bound = entered;
    catalog_bound(admits_dataset, entered);
    return true;
}

void profile_leave(void) {
    bound = NULL;
    catalog_bound(NULL, NULL);
}

bool profile_find(Profiles *profiles, Str id, Arena *arena, Profile *out, Err *err) {
    if (bound && !str_equal(bound->profile.spec.id, id))
        return err_code(err, LH_DENIED, "out_of_scope",
                        "profile '%.*s' is not '%.*s', which the key is bound to",
                        (int)MIN(id.len, 80), id.data, SHOW(bound->profile.spec.id));
    return profile_load(profiles, id, arena, out, err);
}

bool profile_search(Profiles *profiles, Str id, const Search *search, Text *result, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    Search within = *search;
    IndexConfig config = {0};
    Profile profile;
    if (!profile_find(profiles, id, &arena, &profile, err) ||
        !config_read(STR("parquet"), profile.spec.hnsw, &config, err))
        return false;
    within.within = &profile;
    if (within.ef == 0) within.ef = config.ef_search;
    return index_search(profiles_indexes(profiles), &within, result, err);
}
