/* The slot is a small state machine behind one lock that is never held while anything is asked of
 * the provider or saved:
 *
 *     idle, active, failed -> swapping -> active (activate) or idle (deactivate), or failed
 *
 * Changes stand in a queue whose first one works. Requests are counted per model; a change first
 * shuts the models that it moves to new ones (slot_enter waits), then waits for the count to fall
 * to zero. `held` is every model that the slot may have left in memory: one joins it, durably,
 * before it is loaded, and leaves it when the provider has said that it is gone, so that after a
 * failure or a crash the next change knows what to look for. */
#include "ai/provider.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define HELD_MAX 16    /* models that the slot may have left in memory */
#define RUNNING_MAX 64 /* models that requests are under way to */
#define LOOK_MS 200    /* whether who waits was cancelled */
#define RECORD_FORMAT 1

typedef enum SlotState { SLOT_IDLE, SLOT_ACTIVE, SLOT_SWAPPING, SLOT_FAILED } SlotState;
static const char *const state_names[] = {"idle", "active", "swapping", "failed"};

typedef char ModelName[MODEL_NAME_MAX + 1];
typedef char HolderName[SLOT_HOLDER_MAX + 1];

typedef struct Waiter Waiter;
struct Waiter {
    Waiter *next;
};

typedef struct Running {
    ModelName model;
    int64_t count;
} Running;

struct Slot {
    Ai *ai;
    SlotHooks hooks;
    pthread_mutex_t lock; /* over what follows; never held while anything is asked or saved */
    pthread_cond_t changed;
    Waiter *first; /* of the changes: it works, the others wait behind it */
    SlotState state;
    HolderName holder, target; /* target: while swapping */
    ModelName model, coming;
    ModelName held[HELD_MAX];
    size_t held_count;
    Running running[RUNNING_MAX];
    size_t running_count;
    char failure[sizeof(((Err *)0)->message)];
    int64_t since_ms;
};

static void name_set(char *out, size_t size, Str text) {
    text = str_slice(text, 0, size - 1);
    memset(out, 0, size);
    if (text.len) memcpy(out, text.data, text.len);
}

/* ---- The record ---- */

static bool held_has(const Slot *slot, Str model) {
    for (size_t i = 0; i < slot->held_count; i++)
        if (model_same(str_from(slot->held[i]), model)) return true;
    return false;
}

static bool held_add(Slot *slot, Str model, Err *err) {
    if (model.len == 0 || held_has(slot, model)) return true;
    if (slot->held_count == HELD_MAX)
        return err_code(err, LH_CONFLICT, "slot_full",
                        "%d models may still be in memory: unload them with /admin/unload",
                        HELD_MAX);
    name_set(slot->held[slot->held_count++], sizeof(ModelName), model);
    return true;
}

static void held_remove(Slot *slot, Str model) {
    for (size_t i = 0; i < slot->held_count; i++)
        if (model_same(str_from(slot->held[i]), model)) {
            memmove(slot->held[i], slot->held[--slot->held_count], sizeof(ModelName));
            return;
        }
}

/* Saved before the first model moves and after the last one has: what a crash leaves between says
 * "swapping" and which models to look for. Only the change that is first writes it. */
static bool save(Slot *slot, Err *err) {
    OWNED(text_close) Text text = {0};
    JsonWriter w = {.out = &text};
    pthread_mutex_lock(&slot->lock);
    jw_object(&w);
    jw_member_int(&w, "format", RECORD_FORMAT);
    jw_member_text(&w, "state", str_from(state_names[slot->state]));
    jw_member_text(&w, "holder", str_from(slot->holder));
    jw_member_text(&w, "model", str_from(slot->model));
    jw_name(&w, "held");
    jw_array(&w);
    for (size_t i = 0; i < slot->held_count; i++) jw_cstr(&w, slot->held[i]);
    jw_end(&w);
    jw_member_time(&w, "since", slot->since_ms);
    jw_end(&w);
    pthread_mutex_unlock(&slot->lock);
    return slot->hooks.save(slot->hooks.context, text_bytes(&text), err);
}

static bool load(Slot *slot, Bytes record, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    const Json *json, *held;
    if (record.size == 0) return true;
    if (!json_read(str_of(record), &arena, &json, err)) return err_while(err, "the slot's record");
    Str state = json_get_text(json, "state", (Str){0});
    name_set(slot->holder, sizeof slot->holder, json_get_text(json, "holder", (Str){0}));
    name_set(slot->model, sizeof slot->model, json_get_text(json, "model", (Str){0}));
    held = json_get(json, "held");
    for (size_t i = 0; held && held->kind == JSON_ARRAY && i < MIN(held->len, (size_t)HELD_MAX);
         i++)
        if (held->items[i].kind == JSON_TEXT && !held_add(slot, held->items[i].text, err))
            return false;
    clock_read(json_get_text(json, "since", (Str){0}), &slot->since_ms);
    slot->state = str_is(state, "active") ? SLOT_ACTIVE : SLOT_IDLE;
    if (!str_is(state, "swapping") && !str_is(state, "failed")) return true;
    slot->state = SLOT_FAILED;
    slot->holder[0] = slot->model[0] = 0;
    name_set(slot->failure, sizeof slot->failure,
             STR("the server ended before a swap of profiles had: activate one again"));
    return true;
}

bool slot_open(Ai *ai, const SlotHooks *hooks, Bytes record, Slot **out, Err *err) {
    OWNED(slot_close) Slot *slot = calloc(1, sizeof *slot);
    pthread_condattr_t monotonic;
    if (!slot) abort();
    slot->ai = ai;
    slot->hooks = *hooks;
    pthread_mutex_init(&slot->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&slot->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (!load(slot, record, err)) return false;
    *out = TAKE(slot);
    return true;
}

void slot_close(Slot **slot) {
    if (!*slot) return;
    pthread_cond_destroy(&(*slot)->changed);
    pthread_mutex_destroy(&(*slot)->lock);
    free(*slot);
    *slot = NULL;
}

/* ---- Waiting ---- */

/* The lock is held. False at the deadline, and when the server stops. */
static bool wait_changed(Slot *slot, int64_t deadline_us) {
    int64_t until = MIN(deadline_us, clock_us() + LOOK_MS * 1000);
    struct timespec at = {.tv_sec = until / 1000000, .tv_nsec = until % 1000000 * 1000};
    pthread_cond_timedwait(&slot->changed, &slot->lock, &at);
    return clock_us() < deadline_us && !ai_stopped(slot->ai);
}

static bool too_long(const char *what, Err *err) {
    return err_code(err, LH_OFFLINE, "slot_busy", "the GPU slot is busy: %s", what);
}

static void queue_leave(Slot *slot, Waiter *waiter) {
    Waiter **at = &slot->first;
    while (*at != waiter) at = &(*at)->next;
    *at = waiter->next;
    pthread_cond_broadcast(&slot->changed);
}

/* Returns once the changes that came before have ended. */
static bool queue_enter(Slot *slot, Waiter *waiter, Err *err) {
    int64_t deadline = clock_us() + slot->ai->options.slot_wait_ms * 1000;
    Waiter **at = &slot->first;
    bool in_time = true;
    pthread_mutex_lock(&slot->lock);
    while (*at) at = &(*at)->next;
    *at = waiter;
    while (slot->first != waiter && in_time) in_time = wait_changed(slot, deadline);
    bool mine = slot->first == waiter;
    if (!mine) queue_leave(slot, waiter);
    pthread_mutex_unlock(&slot->lock);
    return mine || too_long("other changes of it are not done", err);
}

static void queue_end(Slot *slot, Waiter *waiter) {
    pthread_mutex_lock(&slot->lock);
    queue_leave(slot, waiter);
    pthread_mutex_unlock(&slot->lock);
}

/* ---- Requests ---- */

static Running *running_find(Slot *slot, Str model) {
    for (size_t i = 0; i < slot->running_count; i++)
        if (model_same(str_from(slot->running[i].model), model)) return &slot->running[i];
    return NULL;
}

static bool is_moving(const Slot *slot, Str model) {
    return slot->state == SLOT_SWAPPING &&
           (held_has(slot, model) || model_same(str_from(slot->coming), model));
}

static bool running_add(Slot *slot, Str model, Err *err) {
    Running *running = running_find(slot, model);
    for (size_t i = 0; !running && i < slot->running_count; i++)
        if (slot->running[i].count == 0) running = &slot->running[i];
    if (!running && slot->running_count < RUNNING_MAX)
        running = &slot->running[slot->running_count++];
    if (!running)
        return err_code(err, LH_BUSY, NULL, "requests to %d models are under way", RUNNING_MAX);
    if (running->count++ == 0) name_set(running->model, sizeof running->model, model);
    return true;
}

/* The lock is held. A request that names no model waits for whoever comes. */
static bool must_wait(const Slot *slot, Str model) {
    return model.len ? is_moving(slot, model) : slot->state == SLOT_SWAPPING;
}

static Str implied_model(const Slot *slot, Arena *arena) {
    Str model =
        slot->state == SLOT_ACTIVE ? str_from(slot->model) : slot->ai->options.generate_model;
    return arena_copy(arena, model);
}

bool slot_enter(Slot *slot, Str *model, bool (*cancelled)(void *context), void *context,
                Arena *arena, Err *err) {
    int64_t deadline = clock_us() + slot->ai->options.slot_wait_ms * 1000;
    bool in_time = true, gone = false;
    pthread_mutex_lock(&slot->lock);
    while (must_wait(slot, *model) && in_time && !gone) {
        in_time = wait_changed(slot, deadline);
        gone = cancelled && cancelled(context);
    }
    bool waits = must_wait(slot, *model);
    Str named = waits || model->len ? *model : implied_model(slot, arena);
    bool ok = !waits && running_add(slot, named, err);
    pthread_mutex_unlock(&slot->lock);
    if (ok) *model = named;
    if (gone && waits) return err_set(err, LH_CANCELLED, "the client went away");
    return ok || (waits && too_long("profiles are being swapped", err));
}

void slot_leave(Slot *slot, Str model) {
    pthread_mutex_lock(&slot->lock);
    Running *running = running_find(slot, model);
    assert(running && running->count > 0);
    running->count--;
    pthread_cond_broadcast(&slot->changed);
    pthread_mutex_unlock(&slot->lock);
}

/* ---- A change ---- */

typedef struct Change {
    Slot *slot;
    Str holder, model; /* to come; empty: nobody */
    Arena *arena;
    SlotModels models;
    Str *leaving;
    size_t leaving_count;
    Str unloaded[HELD_MAX];
    SlotSwap swap;
    SlotState was;
} Change;

static bool names_have(const Str *names, size_t count, Str model) {
    for (size_t i = 0; i < count; i++)
        if (model_same(names[i], model)) return true;
    return false;
}

static bool is_listed(Ai *ai, Str model, bool *listed, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    LoadedModel *list;
    size_t count;
    if (!ai_loaded(ai, &arena, &list, &count, err)) return false;
    *listed = false;
    for (size_t i = 0; i < count; i++) *listed = *listed || model_same(list[i].name, model);
    return true;
}

static bool any_runs(Change *c) {
    for (size_t i = 0; i < c->leaving_count; i++) {
        const Running *running = running_find(c->slot, c->leaving[i]);
        if (running && running->count > 0) return true;
    }
    return false;
}

static bool is_pinned(const Change *c, Str model) {
    return names_have(c->models.pins, c->models.pin_count, model);
}

/* What a server that died, or somebody else, has left of ours is found in the provider's list. */
static bool find_held(Change *c, Err *err) {
    int64_t deadline = clock_us() + c->slot->ai->options.slot_wait_ms * 1000;
    LoadedModel *list;
    size_t count;
    bool ok = true;
    /* The list waits for a load that is under way: that of somebody else, for we are alone here. */
    while (!ai_loaded(c->slot->ai, c->arena, &list, &count, err))
        if (err->kind != LH_TIMEOUT || clock_us() > deadline) return false;
    pthread_mutex_lock(&c->slot->lock);
    for (size_t i = 0; ok && i < count; i++)
        if (names_have(c->models.ours, c->models.our_count, list[i].name) &&
            !is_pinned(c, list[i].name))
            ok = held_add(c->slot, list[i].name, err);
    pthread_mutex_unlock(&c->slot->lock);
    return ok;
}

/* Pinned ones are no longer the slot's to unload. */
static void choose_leaving(Change *c) {
    Slot *slot = c->slot;
    c->leaving = arena_array(c->arena, Str, HELD_MAX);
    for (size_t i = 0; i < slot->held_count; i++) {
        Str model = arena_copy(c->arena, str_from(slot->held[i]));
        if (!is_pinned(c, model) && !model_same(model, c->model))
            c->leaving[c->leaving_count++] = model;
    }
}

/* From here on nobody enters; whoever is inside may end. */
static bool shut(Change *c, Err *err) {
    Slot *slot = c->slot;
    int64_t deadline = clock_us() + slot->ai->options.drain_ms * 1000;
    bool in_time = true;
    pthread_mutex_lock(&slot->lock);
    choose_leaving(c);
    c->was = slot->state;
    slot->state = SLOT_SWAPPING;
    name_set(slot->target, sizeof slot->target, c->holder);
    name_set(slot->coming, sizeof slot->coming, c->model);
    while (any_runs(c) && in_time) in_time = wait_changed(slot, deadline);
    bool ok = !any_runs(c);
    if (!ok) too_long("requests to its model are under way", err);
    bool added = ok && held_add(slot, c->model, err);
    if (!added) slot->state = c->was; /* as if nothing had been asked */
    pthread_cond_broadcast(&slot->changed);
    pthread_mutex_unlock(&slot->lock);
    return added;
}

static bool unload_leaving(Change *c, Err *err) {
    for (size_t i = 0; i < c->leaving_count; i++) {
        Unloaded unloaded = {0};
        /* One that the provider no longer has is not in memory either. */
        if (!ai_unload(c->slot->ai, c->leaving[i], &unloaded, err) && err->kind != LH_MISSING)
            return err_while(err, "unloading '%.*s'", SHOW(c->leaving[i]));
        pthread_mutex_lock(&c->slot->lock);
        held_remove(c->slot, c->leaving[i]);
        pthread_mutex_unlock(&c->slot->lock);
        if (unloaded.unloaded) c->unloaded[c->swap.unloaded_count++] = c->leaving[i];
        c->swap.freed_bytes += unloaded.freed_bytes;
    }
    return true;
}

static bool load_coming(Change *c, Err *err) {
    bool listed = false;
    if (c->model.len == 0) return true;
    if (!is_listed(c->slot->ai, c->model, &listed, err)) return false;
    if (listed) return true; /* left alone */
    if (!ai_preload(c->slot->ai, c->model, err) || !is_listed(c->slot->ai, c->model, &listed, err))
        return err_while(err, "loading '%.*s'", SHOW(c->model));
    c->swap.preloaded = true;
    return listed || err_code(err, LH_OFFLINE, "model_server_failed",
                              "model '%.*s' was loaded, and is not in memory", SHOW(c->model));
}

/* Who holds it from now on, and whether that is so. */
static void publish(Change *c, bool ok, const Err *err) {
    Slot *slot = c->slot;
    pthread_mutex_lock(&slot->lock);
    slot->state = !ok ? SLOT_FAILED : c->holder.len ? SLOT_ACTIVE : SLOT_IDLE;
    name_set(slot->holder, sizeof slot->holder, ok ? c->holder : (Str){0});
    name_set(slot->model, sizeof slot->model, ok ? c->model : (Str){0});
    name_set(slot->failure, sizeof slot->failure, ok ? (Str){0} : str_from(err->message));
    slot->target[0] = slot->coming[0] = 0;
    slot->since_ms = clock_now_ms();
    for (size_t i = 0; ok && i < c->models.pin_count; i++)
        if (!model_same(c->models.pins[i], c->model)) held_remove(slot, c->models.pins[i]);
    pthread_cond_broadcast(&slot->changed);
    pthread_mutex_unlock(&slot->lock);
}

static void give_up(Change *c) {
    pthread_mutex_lock(&c->slot->lock);
    c->slot->state = c->was;
    c->slot->target[0] = c->slot->coming[0] = 0;
    pthread_cond_broadcast(&c->slot->changed);
    pthread_mutex_unlock(&c->slot->lock);
}

/* The change is first in the queue. */
static bool change_run(Change *c, Err *err) {
    Slot *slot = c->slot;
    Err unsaved = {0};
    bool manages = slot->ai->ops && slot->ai->ops->load;
    if (!slot->hooks.models(slot->hooks.context, c->arena, &c->models, err)) return false;
    if (!find_held(c, err) || !shut(c, err)) return false;
    if (!save(slot, err)) {
        give_up(c);
        return false;
    }
    bool ok = !manages || (unload_leaving(c, err) && load_coming(c, err));
    publish(c, ok, err);
    c->swap.unloaded = c->unloaded;
    if (save(slot, &unsaved)) return ok;
    if (ok) *err = unsaved;
    return false;
}

static bool change(Slot *slot, Change *c, Err *err) {
    Waiter waiter = {0};
    if (!slot->ai->ops)
        return err_code(err, LH_IMPOSSIBLE, "no_model_server",
                        "there is no model server whose memory to share: set [ai] provider and "
                        "url");
    if (!queue_enter(slot, &waiter, err)) return false;
    bool ok = change_run(c, err);
    queue_end(slot, &waiter);
    return ok;
}

static void swap_copy(const Change *c, Arena *arena, SlotSwap *out) {
    Str *names = arena_array(arena, Str, HELD_MAX);
    memcpy(names, c->unloaded, sizeof c->unloaded);
    *out = c->swap;
    out->unloaded = names;
}

bool slot_activate(Slot *slot, Str holder, Str model, Arena *arena, SlotSwap *swap, Err *err) {
    Change c = {.slot = slot, .holder = holder, .model = model, .arena = arena};
    assert(holder.len > 0 && holder.len <= SLOT_HOLDER_MAX && model.len <= MODEL_NAME_MAX);
    if (!change(slot, &c, err)) return false;
    swap_copy(&c, arena, swap);
    return true;
}

bool slot_is_held(Slot *slot, Str holder) {
    pthread_mutex_lock(&slot->lock);
    bool held = (slot->state == SLOT_ACTIVE && str_is(holder, slot->holder)) ||
                (slot->state == SLOT_SWAPPING &&
                 (str_is(holder, slot->holder) || str_is(holder, slot->target)));
    pthread_mutex_unlock(&slot->lock);
    return held;
}

bool slot_deactivate(Slot *slot, Str holder, bool *was, Arena *arena, SlotSwap *swap, Err *err) {
    Change c = {.slot = slot, .arena = arena};
    Waiter waiter = {0};
    if (!queue_enter(slot, &waiter, err)) return false;
    *was = slot_is_held(slot, holder);
    bool ok = !*was || change_run(&c, err);
    queue_end(slot, &waiter);
    swap_copy(&c, arena, swap);
    return ok;
}

/* ---- Telling ---- */

Str slot_holder(Slot *slot, Arena *arena) {
    pthread_mutex_lock(&slot->lock);
    Str holder = slot->state == SLOT_ACTIVE ? arena_copy(arena, str_from(slot->holder)) : (Str){0};
    pthread_mutex_unlock(&slot->lock);
    return holder;
}

static void member_or_null(JsonWriter *w, const char *name, const char *text) {
    jw_name(w, name);
    jw_cstr(w, text[0] ? text : NULL);
}

/* The holder's model among those in memory; NULL: it is not. */
static const LoadedModel *write_models(const LoadedModel *list, size_t count, Str model,
                                       JsonWriter *w) {
    const LoadedModel *found = NULL;
    jw_array(w);
    for (size_t i = 0; i < count; i++) {
        jw_text(w, list[i].name);
        if (model_same(list[i].name, model)) found = &list[i];
    }
    jw_end(w);
    return found;
}

/* Whether the holder's model is in memory is asked now: it leaves by itself when nobody uses it,
 * and less of it on the GPU than it is large means that the rest runs on the CPU. */
static void write_listed(const Slot *copy, Arena *arena, JsonWriter *w) {
    LoadedModel *list = NULL;
    const LoadedModel *loaded = NULL;
    size_t count = 0;
    Err why = {0};
    bool asked =
        copy->ai->ops && copy->ai->ops->loaded && ai_loaded(copy->ai, arena, &list, &count, &why);
    jw_name(w, "models");
    if (asked)
        loaded = write_models(list, count, str_from(copy->model), w);
    else
        jw_null(w);
    jw_name(w, "loaded");
    if (asked && copy->model[0])
        jw_flag(w, loaded != NULL);
    else
        jw_null(w);
    jw_member_int(w, "size_bytes", loaded ? loaded->size_bytes : 0);
    jw_member_int(w, "vram_bytes", loaded ? loaded->vram_bytes : 0);
    jw_name(w, "error");
    jw_cstr(w, copy->failure[0] ? copy->failure : why.kind != LH_OK ? why.message : NULL);
}

void slot_write(Slot *slot, Arena *arena, JsonWriter *w) {
    Slot *copy = arena_new(arena, Slot);
    int64_t waiting = 0;
    pthread_mutex_lock(&slot->lock);
    *copy = *slot;
    for (const Waiter *waiter = slot->first; waiter; waiter = waiter->next) waiting++;
    pthread_mutex_unlock(&slot->lock);
    bool swapping = copy->state == SLOT_SWAPPING;
    member_or_null(w, "active", copy->state == SLOT_ACTIVE ? copy->holder : "");
    jw_member_text(w, "state", str_from(state_names[copy->state]));
    member_or_null(w, "ollama_name", copy->state == SLOT_ACTIVE ? copy->model : "");
    member_or_null(w, "from", swapping ? copy->holder : "");
    member_or_null(w, "to", swapping ? copy->target : "");
    jw_member_int(w, "waiting", swapping && waiting > 0 ? waiting - 1 : waiting);
    jw_member_time(w, "since", copy->since_ms);
    write_listed(copy, arena, w);
}
