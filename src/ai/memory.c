/* Models into and out of the GPU's memory. An unload is answered before it is done: the model
 * leaves the list of loaded ones when its last request ended, and its memory comes back later
 * still, so that both are waited for before another model may take the room. */
#include "ai/provider.h"

#include <unistd.h>

#define LISTED_LOOK_MS_MIN 10 /* doubled after each look */
#define LISTED_LOOK_MS_MAX 200
#define MEMORY_LOOK_MS 250
#define MEMORY_WAIT_MS 10000
#define MEMORY_SHARE 0.75 /* as Ollama's own scheduler waits for */

static bool check_manages(const Ai *ai, Err *err) {
    if (!ai->ops)
        return err_code(err, LH_IMPOSSIBLE, "no_model_server",
                        "there is no model server: set [ai] provider and url");
    return ai->ops->load ||
           err_code(err, LH_IMPOSSIBLE, "not_supported",
                    "a server of provider '%s' manages its own memory", ai->ops->name);
}

bool ai_loaded(Ai *ai, Arena *arena, LoadedModel **out, size_t *count, Err *err) {
    *out = NULL;
    *count = 0;
    return !ai->ops || !ai->ops->loaded || ai->ops->loaded(ai, arena, out, count, err);
}

bool ai_preload(Ai *ai, Str model, Err *err) {
    return check_manages(ai, err) && model_name_check(model, err) && ai->ops->load(ai, model, err);
}

/* Its bytes in the GPU's memory while it is listed, else -1. */
static bool look(Ai *ai, Str model, int64_t *vram_bytes, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    LoadedModel *list;
    size_t count;
    if (!ai_loaded(ai, &arena, &list, &count, err)) return false;
    *vram_bytes = -1;
    for (size_t i = 0; i < count; i++)
        if (model_same(list[i].name, model)) *vram_bytes = list[i].vram_bytes;
    return true;
}

static int64_t free_bytes(const Vram *vram) {
    int64_t sum = 0;
    for (size_t i = 0; i < vram->count; i++) sum += vram->gpus[i].free_bytes;
    return sum;
}

/* A list that comes late is asked for again: a load under way holds it up. */
static bool wait_gone(Ai *ai, Str model, int64_t deadline_us, Err *err) {
    for (useconds_t pause_ms = LISTED_LOOK_MS_MIN;;
         pause_ms = MIN(pause_ms * 2, LISTED_LOOK_MS_MAX)) {
        int64_t bytes = 0;
        if (!look(ai, model, &bytes, err) && err->kind != LH_TIMEOUT) return false;
        if (bytes < 0) return true;
        if (ai_stopped(ai)) return err_set(err, LH_CANCELLED, "the server stops");
        if (clock_us() > deadline_us)
            return err_code(err, LH_TIMEOUT, "still_loaded",
                            "model '%.*s' has not left memory in %lld ms: requests may be under "
                            "way",
                            SHOW(model), (long long)ai->options.unload_ms);
        usleep(pause_ms * 1000);
    }
}

/* Where the GPU can be read. Memory that stays away is no error: another process may have it. */
static int64_t wait_memory(const Ai *ai, const Vram *before, int64_t bytes) {
    int64_t deadline = clock_us() + MEMORY_WAIT_MS * 1000, freed;
    if (before->count == 0) return bytes;
    for (;;) {
        Vram now;
        vram_read(&now);
        freed = free_bytes(&now) - free_bytes(before);
        if ((double)freed >= MEMORY_SHARE * (double)bytes || clock_us() > deadline ||
            ai_stopped(ai))
            break;
        usleep(MEMORY_LOOK_MS * 1000);
    }
    return MAX(freed, 0);
}

bool ai_unload(Ai *ai, Str model, Unloaded *out, Err *err) {
    int64_t deadline = clock_us() + ai->options.unload_ms * 1000, bytes;
    Vram before;
    if (!check_manages(ai, err) || !model_name_check(model, err) || !look(ai, model, &bytes, err))
        return false;
    vram_read(&before);
    if (!ai->ops->unload(ai, model, err)) return false;
    if (bytes < 0) {
        *out = (Unloaded){0};
        return true;
    }
    if (!wait_gone(ai, model, deadline, err)) return false;
    *out = (Unloaded){.unloaded = true, .freed_bytes = wait_memory(ai, &before, bytes)};
    return true;
}
