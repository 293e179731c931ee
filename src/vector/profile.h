/* Internal: a profile as it was read. */
#pragma once

#include "vector/indexes.h"

#define PROFILE_BUCKET_PREFIX "profile:" /* of the buckets that activating makes */

typedef struct Profile {
    ProfileSpec spec; /* in the arena that it was read into */
    int64_t created_ms, updated_ms;
} Profile;

/* LH_DENIED "out_of_scope", LH_IMPOSSIBLE "wrong_backend" and "wrong_model". */
bool profile_admits(const Profile *profile, const IndexMeta *meta, Err *err);
/* The datasets that a search of the index may read in its filter. */
const Str *profile_datasets(const Profile *profile, const IndexMeta *meta, Arena *arena,
                            size_t *count);
