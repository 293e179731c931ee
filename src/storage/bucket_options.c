/* What a bucket is described by: checked, resolved, compared, and written to buckets.json. A key
 * pair is never part of it, only the name of one. */
#include "storage/bucket_registry.h"

#include "base/base.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_name_byte(char c, bool first) {
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) return true;
    return !first && c && strchr("._:-", c);
}

static bool name_check(Str name, Err *err) {
    bool ok = name.len >= 1 && name.len <= BUCKET_NAME_MAX;
    for (size_t i = 0; ok && i < name.len; i++) ok = is_name_byte(name.data[i], i == 0);
    return ok || err_code(err, LH_INVALID, "bad_bucket_name",
                          "'%.*s' is not a bucket name: 1 to %d of a-z, 0-9 and, not first, '._:-'",
                          (int)MIN(name.len, (size_t)100), name.data, BUCKET_NAME_MAX);
}

static bool local_check(const BucketOptions *options, Err *err) {
    if (str_trim(options->root).len == 0)
        return err_code(err, LH_INVALID, "bad_root", "the local bucket '%.*s' needs a root",
                        SHOW(options->name));
    if (options->root.len >= PATH_MAX - 64 || memchr(options->root.data, 0, options->root.len))
        return err_code(err, LH_INVALID, "bad_root",
                        "the root of bucket '%.*s' is no path of at most %d bytes",
                        SHOW(options->name), PATH_MAX - 65);
    if (options->bucket.len || options->endpoint.len || options->secret_ref.len)
        return err_code(err, LH_INVALID, "bad_bucket",
                        "the local bucket '%.*s' takes a 'root' and nothing of s3",
                        SHOW(options->name));
    return true;
}

static Str without_slash(Str text) {
    while (text.len > 0 && text.data[text.len - 1] == '/') text.len--;
    return text;
}

static S3Options s3_options(const Buckets *buckets, const BucketOptions *options) {
    return (S3Options){.bucket = options->bucket,
                       .endpoint = without_slash(options->endpoint),
                       .region = options->region,
                       .prefix = without_slash(options->prefix),
                       .secret_ref = options->secret_ref,
                       .path_style = options->path_style,
                       .limits = buckets->options.s3,
                       .secrets = buckets->options.secrets,
                       .cache = buckets->cache};
}

static bool s3_check(const Buckets *buckets, const BucketOptions *options, Err *err) {
    if (options->root.len)
        return err_code(err, LH_INVALID, "bad_bucket", "the s3 bucket '%.*s' has no 'root'",
                        SHOW(options->name));
    if (!buckets->cache || !buckets->options.secrets)
        return err_code(err, LH_INVALID, "bad_bucket",
                        "the s3 bucket '%.*s' needs a server with a state folder and secrets",
                        SHOW(options->name));
    /* Said without the endpoint, for what stands before the '@' may be a password. */
    if (options->endpoint.len && memchr(options->endpoint.data, '@', options->endpoint.len))
        return err_code(err, LH_INVALID, "bad_bucket",
                        "the endpoint of bucket '%.*s' must not hold a user: name the key pair "
                        "with 'secret_ref'",
                        SHOW(options->name));
    S3Options s3 = s3_options(buckets, options);
    return store_s3_check(&s3, err) || err_while(err, "the bucket '%.*s'", SHOW(options->name));
}

bool bucket_options_check(const Buckets *buckets, const BucketOptions *options, Err *err) {
    if (!name_check(options->name, err)) return false;
    if (str_is(options->backend, "local")) return local_check(options, err);
    if (str_is(options->backend, "s3")) return s3_check(buckets, options, err);
    return err_code(err, LH_INVALID, "bad_backend",
                    "the backend of bucket '%.*s' is 'local' or 's3', not '%.*s'",
                    SHOW(options->name), (int)MIN(options->backend.len, (size_t)100),
                    options->backend.data);
}

/* Making one. */

static Store *guard_ready(void *context, Err *err) {
    Bucket *bucket = context;
    return bucket_ready(bucket, err) ? bucket->store : NULL;
}

static void copy_s3(Bucket *bucket, const S3Options *s3) {
    Arena *arena = &bucket->arena;
    bucket->s3 = *s3;
    bucket->s3.bucket = arena_copy(arena, s3->bucket);
    bucket->s3.endpoint = arena_copy(arena, s3->endpoint);
    bucket->s3.region = arena_copy(arena, s3->region);
    bucket->s3.prefix = arena_copy(arena, s3->prefix);
    bucket->s3.secret_ref = arena_copy(arena, s3->secret_ref);
    bucket->location = arena_print(arena, "s3://%.*s%s%.*s", SHOW(s3->bucket),
                                   s3->prefix.len ? "/" : "", SHOW(s3->prefix));
}

Bucket *bucket_new(Buckets *buckets, const BucketOptions *options, BucketRole role, bool configured,
                   GuardReport *report) {
    Bucket *bucket = calloc(1, sizeof *bucket);
    if (!bucket) abort();
    bucket->holders = 1;
    bucket->role = role;
    bucket->configured = configured;
    bucket->local = str_is(options->backend, "local");
    bucket->shared = buckets->options.shared;
    snprintf(bucket->name, sizeof bucket->name, "%.*s", SHOW(options->name));
    snprintf(bucket->root, sizeof bucket->root, "%.*s", SHOW(options->root));
    pthread_mutex_init(&bucket->lock, NULL);
    S3Options s3 = s3_options(buckets, options);
    if (bucket->local)
        bucket->location = arena_print(&bucket->arena, "file://%s", bucket->root);
    else
        copy_s3(bucket, &s3);
    bucket->guard = store_guard_new(&(GuardOptions){.name = options->name,
                                                    .location = bucket->location,
                                                    .local = bucket->local,
                                                    .failures = buckets->options.breaker_failures,
                                                    .ready = guard_ready,
                                                    .ready_context = bucket,
                                                    .report = report,
                                                    .report_context = buckets});
    return bucket;
}

/* Even where it does not exist yet: the part that does exist is resolved, the rest must not climb.
 */
static bool root_resolve(const char *root, char out[PATH_MAX], Err *err) {
    char path[PATH_MAX], resolved[PATH_MAX], rest[PATH_MAX] = "", here[PATH_MAX] = "";
    if (root[0] != '/' && !getcwd(here, sizeof here))
        return err_errno(err, "cannot find the current folder");
    if (snprintf(path, sizeof path, "%s%s%s", here, root[0] == '/' ? "" : "/", root) >= PATH_MAX)
        return err_code(err, LH_INVALID, "bad_root", "the root '%s' is too long", root);
    while (!realpath(path, resolved)) {
        char *slash = strrchr(path, '/'), longer[PATH_MAX];
        if (!strcmp(slash + 1, "..") || !strcmp(slash + 1, "."))
            return err_code(err, LH_INVALID, "bad_root",
                            "the root '%s' has a '%s' below a folder that does not exist", root,
                            slash + 1);
        if (snprintf(longer, sizeof longer, "/%s%s", slash + 1, rest) >= PATH_MAX)
            return err_code(err, LH_INVALID, "bad_root", "the root '%s' is too long", root);
        memcpy(rest, longer, sizeof rest);
        slash[slash == path] = 0; /* "/" itself always resolves */
    }
    const char *base = strcmp(resolved, "/") == 0 ? "" : resolved;
    if (snprintf(out, PATH_MAX, "%s%s", base, rest) >= PATH_MAX)
        return err_code(err, LH_INVALID, "bad_root", "the root '%s' is too long", root);
    return true;
}

bool bucket_options_resolve(BucketOptions *options, char root[PATH_MAX], Err *err) {
    char asked[PATH_MAX];
    if (!str_is(options->backend, "local")) return true;
    snprintf(asked, sizeof asked, "%.*s", SHOW(options->root));
    if (!root_resolve(asked, root, err)) return false;
    size_t len = str_from(root).len;
    while (len > 1 && root[len - 1] == '/') root[--len] = 0;
    options->root = (Str){root, len};
    return true;
}

/* Overlaps: two buckets over the same files would see each other's objects, and one's rescue copy
 * would be the other's original. */

static bool is_below(Str inner, Str outer) {
    if (outer.len == 0 || str_is(outer, "/")) return true;
    if (!str_starts(inner, outer)) return false;
    return inner.len == outer.len || inner.data[outer.len] == '/';
}

static Str without_port(Str endpoint) {
    bool plain = str_starts(endpoint, STR("http://")) && str_ends(endpoint, STR(":80"));
    bool secure = str_starts(endpoint, STR("https://")) && str_ends(endpoint, STR(":443"));
    return str_slice(endpoint, 0, endpoint.len - (plain ? 3 : secure ? 4 : 0));
}

static bool same_target(const S3Options *a, const S3Options *b) {
    return str_equal(a->bucket, b->bucket) &&
           str_equal_nocase(without_port(a->endpoint), without_port(b->endpoint));
}

bool bucket_is_apart(const Bucket *bucket, const Bucket *other, Err *err) {
    if (bucket->local != other->local) return true;
    if (bucket->local) {
        Str mine = str_from(bucket->root), its = str_from(other->root);
        return (!is_below(mine, its) && !is_below(its, mine)) ||
               err_code(err, LH_CONFLICT, "root_overlaps",
                        "the root '%s' overlaps that of bucket '%s'", bucket->root, other->name);
    }
    if (!same_target(&bucket->s3, &other->s3)) return true;
    Str mine = bucket->s3.prefix, its = other->s3.prefix;
    return (!is_below(mine, its) && !is_below(its, mine)) ||
           err_code(err, LH_CONFLICT, "root_overlaps", "'%.*s' overlaps '%.*s' of bucket '%s'",
                    SHOW(bucket->location), SHOW(other->location), other->name);
}

/* As JSON. */

void bucket_options_write(const Bucket *bucket, JsonWriter *w) {
    jw_object(w);
    jw_member_text(w, "name", str_from(bucket->name));
    jw_member_text(w, "backend", bucket->local ? STR("local") : STR("s3"));
    if (bucket->local) {
        jw_member_text(w, "root", str_from(bucket->root));
    } else {
        jw_member_text(w, "bucket", bucket->s3.bucket);
        jw_member_text(w, "endpoint", bucket->s3.endpoint);
        jw_member_text(w, "region", bucket->s3.region);
        jw_member_text(w, "prefix", bucket->s3.prefix);
        jw_member_text(w, "secret_ref", bucket->s3.secret_ref);
        jw_member_flag(w, "path_style", bucket->s3.path_style);
    }
    jw_end(w);
}

BucketOptions bucket_options_read(const Json *item) {
    return (BucketOptions){.name = json_get_text(item, "name", (Str){0}),
                           .backend = json_get_text(item, "backend", STR("local")),
                           .root = json_get_text(item, "root", (Str){0}),
                           .bucket = json_get_text(item, "bucket", (Str){0}),
                           .endpoint = json_get_text(item, "endpoint", (Str){0}),
                           .region = json_get_text(item, "region", (Str){0}),
                           .prefix = json_get_text(item, "prefix", (Str){0}),
                           .secret_ref = json_get_text(item, "secret_ref", (Str){0}),
                           .path_style = json_get_flag(item, "path_style", false)};
}
