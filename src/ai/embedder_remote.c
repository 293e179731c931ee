/* A provider's embedder. Texts that the cache has are copied; the others go in batches, at most
 * `parallel` of them at a time over the whole server. A batch fails as a whole for one bad text, so
 * a refused one is halved until the text that is refused stands alone and is named. Vectors are
 * checked: their number, their length, that they are finite; then scaled to length 1.
 *
 * An embedder of an index expects the digest that its vectors were made with. The provider is asked
 * for its digest again after model_check_ms, so that a model that was replaced under its name is
 * told from the old one at most that much later. */
#include "ai/embedder.h"
#include "ai/provider.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEARCH_RETRY_MS 1000 /* somebody waits for the answer */

typedef struct Remote {
    Embedder embedder;
    Ai *ai;
    char digest[MODEL_DIGEST_SIZE];
    bool pinned; /* to the digest, by expect */
    Patience patience;
} Remote;

static Str remote_digest(const Embedder *embedder) {
    return str_from(((const Remote *)embedder)->digest);
}

static void remote_close(Embedder *embedder) {
    free(embedder);
}

static void remote_watch(Embedder *embedder, bool (*cancelled)(void *context), void *context) {
    Remote *remote = (Remote *)embedder;
    remote->patience = (Patience){remote->ai->options.retry_ms, cancelled, context};
}

static bool remote_expect(Embedder *embedder, Str digest, size_t dimensions, Err *err) {
    Remote *remote = (Remote *)embedder;
    (void)err;
    char copy[MODEL_DIGEST_SIZE] = ""; /* `digest` may be our own */
    snprintf(copy, sizeof copy, "%.*s", SHOW(digest));
    memcpy(remote->digest, copy, sizeof copy);
    embedder->dimensions = dimensions;
    remote->pinned = true;
    return true;
}

/* ---- One request ---- */

static bool turn_take(Ai *ai, const Patience *patience, Err *err) {
    pthread_mutex_lock(&ai->lock);
    while (ai->embedding >= ai->options.parallel) pthread_cond_wait(&ai->freed, &ai->lock);
    ai->embedding++;
    pthread_mutex_unlock(&ai->lock);
    return !patience->cancelled || !patience->cancelled(patience->context) ||
           err_set(err, LH_CANCELLED, "cancelled");
}

static void turn_give(Ai *ai) {
    pthread_mutex_lock(&ai->lock);
    ai->embedding--;
    pthread_cond_signal(&ai->freed);
    pthread_mutex_unlock(&ai->lock);
}

static void write_request(const ProviderOps *ops, const EmbedBatch *batch, JsonWriter *w) {
    jw_object(w);
    jw_member_text(w, "model", batch->model);
    jw_name(w, "input");
    jw_array(w);
    for (size_t i = 0; i < batch->count; i++) jw_text(w, batch->texts[i]);
    jw_end(w);
    jw_name(w, ops->embed_option);
    jw_raw(w, str_from(ops->embed_value));
    jw_end(w);
}

static bool ask(Remote *remote, const EmbedBatch *batch, Arena *arena, const Json **answer,
                Err *err) {
    OWNED(text_close) Text body = {0};
    Ai *ai = remote->ai;
    bool patient = batch->patience.cancelled != NULL; /* a build: the model may be loaded first */
    write_request(ai->ops, batch, &(JsonWriter){.out = &body});
    const ProviderCall call = {.method = "POST",
                               .path = ai->ops->embed_path,
                               .model = batch->model,
                               .body = text_bytes(&body),
                               .timeout_ms = patient ? ai->options.load_timeout_ms
                                                     : ai->options.embed_timeout_ms,
                               .patience = batch->patience};
    bool ok = turn_take(ai, &batch->patience, err) && provider_call(ai, &call, arena, answer, err);
    turn_give(ai);
    return ok;
}

static bool bad_answer(const Remote *remote, const char *what, Err *err) {
    return err_code(err, LH_OFFLINE, "model_server_failed",
                    "the model server's vectors from model '%s' %s", remote->embedder.model, what);
}

static bool take_vector(const Remote *remote, const Json *vector, size_t dimensions, float *out,
                        Err *err) {
    double sum = 0, number;
    if (!vector || vector->kind != JSON_ARRAY) return bad_answer(remote, "are too few", err);
    if (vector->len != dimensions) {
        if (remote->pinned) return wrong_model(&remote->embedder, "number of dimensions", err);
        return bad_answer(remote, "are not of one length", err);
    }
    for (size_t i = 0; i < dimensions; i++) {
        if (!json_number(&vector->items[i], &number) || !isfinite((float)number))
            return bad_answer(remote, "hold what is no finite number", err);
        out[i] = (float)number;
        sum += number * number;
    }
    float scale = sum > 0 ? (float)(1 / sqrt(sum)) : 0;
    for (size_t i = 0; i < dimensions; i++) out[i] *= scale;
    return true;
}

static bool embed_batch(Remote *remote, const EmbedBatch *batch, float *rows, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    const Json *answer;
    size_t dimensions = remote->embedder.dimensions;
    if (!ask(remote, batch, &arena, &answer, err)) return false;
    for (size_t i = 0; i < batch->count; i++)
        if (!take_vector(remote, remote->ai->ops->embedding(answer, i), dimensions,
                         rows + i * dimensions, err))
            return false;
    return !remote->ai->ops->embedding(answer, batch->count) ||
           bad_answer(remote, "are more than its texts", err);
}

/* The first text that is refused ends it: where[i] is its place among the caller's. */
static bool embed_halving(Remote *remote, EmbedBatch batch, const size_t *where, float *rows,
                          Err *err) {
    if (embed_batch(remote, &batch, rows, err)) return true;
    bool refused = str_is(str_from(err->code), "model_refused");
    if (!refused) return false;
    if (batch.count == 1) return err_while(err, "text %zu (%zu bytes)", *where, batch.texts->len);
    EmbedBatch left = batch, right = batch;
    left.count = batch.count / 2;
    right.texts += left.count;
    right.count -= left.count;
    return embed_halving(remote, left, where, rows, err) &&
           embed_halving(remote, right, where + left.count,
                         rows + left.count * remote->embedder.dimensions, err);
}

/* ---- Digest and dimensions ---- */

static bool probe(Remote *remote, size_t *dimensions, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    const Str text = STR("dimensions");
    const EmbedBatch batch = {str_from(remote->embedder.model), &text, 1, remote->patience};
    const Json *answer;
    if (!ask(remote, &batch, &arena, &answer, err)) return false;
    const Json *vector = remote->ai->ops->embedding(answer, 0);
    if (!vector || vector->kind != JSON_ARRAY || vector->len == 0 ||
        vector->len > EMBED_DIMENSIONS_MAX)
        return bad_answer(remote, "have no length that we take", err);
    *dimensions = vector->len;
    return true;
}

static bool remote_ready(Embedder *embedder, Err *err) {
    Remote *remote = (Remote *)embedder;
    Str model = str_from(embedder->model);
    ModelInfo info;
    if (!model_info(remote->ai, model, false, &info, err)) return false;
    if (remote->pinned)
        return str_is(str_from(info.digest), remote->digest) ||
               wrong_model(embedder, "digest", err);
    if (info.dimensions == 0) {
        if (!probe(remote, &info.dimensions, err)) return false;
        model_has_dimensions(remote->ai, model, info.dimensions);
    }
    memcpy(remote->digest, info.digest, sizeof remote->digest);
    embedder->dimensions = info.dimensions;
    return true;
}

/* ---- Texts ---- */

static bool check_lengths(const Remote *remote, const Str *texts, size_t count, Err *err) {
    int64_t most = remote->ai->options.text_bytes_max;
    for (size_t i = 0; i < count; i++)
        if (most && texts[i].len > (size_t)most)
            return err_code(err, LH_IMPOSSIBLE, "text_too_long",
                            "text %zu has %zu bytes, [ai] text_bytes_max allows %lld", i,
                            texts[i].len, (long long)most);
    return true;
}

/* Those that neither the cache has nor are empty (these are zeros). */
static size_t find_missing(Remote *remote, uint64_t model, const Str *texts, size_t count,
                           float *out, size_t *missing) {
    size_t dimensions = remote->embedder.dimensions, found = 0;
    for (size_t i = 0; i < count; i++) {
        float *row = out + i * dimensions;
        if (str_trim(texts[i]).len == 0)
            memset(row, 0, dimensions * sizeof *row);
        else if (!embed_cache_get(remote->ai->cache, model, texts[i], row, dimensions))
            missing[found++] = i;
    }
    return found;
}

static bool embed_missing(Remote *remote, uint64_t model, const Str *texts, const size_t *missing,
                          size_t count, float *out, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    size_t dimensions = remote->embedder.dimensions;
    Str *some = arena_array(&arena, Str, count);
    float *rows = arena_array(&arena, float, count *dimensions);
    for (size_t i = 0; i < count; i++) some[i] = texts[missing[i]];
    const EmbedBatch batch = {str_from(remote->embedder.model), some, count, remote->patience};
    if (!embed_halving(remote, batch, missing, rows, err)) return false;
    for (size_t i = 0; i < count; i++) {
        memcpy(out + missing[i] * dimensions, rows + i * dimensions, dimensions * sizeof *rows);
        embed_cache_put(remote->ai->cache, model, some[i], rows + i * dimensions, dimensions);
    }
    return true;
}

static bool remote_embed(Embedder *embedder, const Str *texts, size_t count, float *out, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    Remote *remote = (Remote *)embedder;
    if (!check_lengths(remote, texts, count, err)) return false;
    if (remote->pinned && !remote_ready(embedder, err)) return false;
    uint64_t model = hash64(bytes_of(str_from(remote->digest)));
    size_t *missing = arena_array(&arena, size_t, count + 1), most;
    size_t left = find_missing(remote, model, texts, count, out, missing);
    atomic_fetch_add(&remote->ai->cached, (long long)(count - left));
    atomic_fetch_add(&remote->ai->embedded, (long long)left);
    for (size_t done = 0; done < left; done += most) {
        most = MIN(left - done, (size_t)remote->ai->options.batch);
        if (!embed_missing(remote, model, texts, missing + done, most, out, err)) return false;
    }
    return true;
}

static const EmbedderOps remote_ops = {
    .digest = remote_digest,
    .ready = remote_ready,
    .expect = remote_expect,
    .embed = remote_embed,
    .watch = remote_watch,
    .close = remote_close,
};

bool embedder_remote_open(Ai *ai, Str model, Embedder **out, Err *err) {
    if (!model_name_check(model, err)) return false;
    Remote *remote = calloc(1, sizeof *remote);
    if (!remote) abort();
    remote->embedder.ops = &remote_ops;
    memcpy(remote->embedder.model, model.data, model.len);
    remote->ai = ai;
    remote->patience = (Patience){.retry_ms = SEARCH_RETRY_MS};
    *out = &remote->embedder;
    return true;
}
