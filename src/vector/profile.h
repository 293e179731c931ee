/* Internal: a profile as it was read. */
#pragma once

#include "vector/indexes.h"

#define PROFILE_BUCKET_PREFIX "profile:" /* of the buckets that activating makes */

typedef struct Profile {
    ProfileSpec spec; /* in the arena that it was read into */
    int64_t created_ms, updated_ms;
} Profile;

Indexes *profiles_indexes(Profiles *profiles);
bool profile_load(Profiles *profiles, Str id, Arena *arena, Profile *out, Err *err);
/* The same for who asks: LH_DENIED "out_of_scope" where the thread is bound to another. */
bool profile_find(Profiles *profiles, Str id, Arena *arena, Profile *out, Err *err);
/* LH_DENIED "out_of_scope" by the profile that the calling thread is bound to, if any. */
bool profile_bound_admits(const IndexMeta *meta, Err *err);
/* LH_DENIED "out_of_scope", LH_IMPOSSIBLE "wrong_backend" and "wrong_model". */
bool profile_admits(const Profile *profile, const IndexMeta *meta, Err *err);
/* The datasets that a search of the index may read in its filter. */
const Str *profile_datasets(const Profile *profile, const IndexMeta *meta, Arena *arena,
                            size_t *count);
