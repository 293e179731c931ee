/* A visit of the agent: one index is leased, brought to its dataset's version, and configurations
 * are tried on it; the lease goes with the visit. */
#include "vector/agent.h"

#include <stdio.h>

/* ---- The lease ---- */

#define LEASE_SIZE_MAX 4096

/* Whether somebody else's lease holds. */
static bool lease_is_taken(const Agent *agent, Bytes text, Arena *arena) {
    const Json *json;
    Err ignored;
    if (!json_read(str_of(text), arena, &json, &ignored)) return false;
    return !str_is(json_get_text(json, "owner", (Str){0}), agent->owner) &&
           json_get_int(json, "until_ms", 0) > clock_now_ms();
}

static bool lease_write(Agent *agent, Store *store, Str key, const PutCondition *condition,
                        Err *err) {
    OWNED(text_close) Text text = {0};
    JsonWriter w = {.out = &text};
    jw_object(&w);
    jw_member_text(&w, "owner", str_from(agent->owner));
    jw_member_int(&w, "until_ms", clock_now_ms() + agent->options.lease_s * 1000);
    jw_end(&w);
    return store_write(store, key, text_bytes(&text), condition, err);
}

/* LH_CONFLICT: another server tunes this index now. */
static bool lease_take(Agent *agent, Store *store, Str index, Err *err) {
    OWNED(object_close) ObjectReader *reader = NULL;
    OWNED(arena_close) Arena arena = {0};
    Bytes text;
    Str key = meta_key(index, "agent.lease", &arena);
    PutCondition condition = {.if_absent = true};
    if (store_open(store, key, NULL, &reader, err)) {
        condition = (PutCondition){.if_match = str_from(object_info(reader)->etag)};
        if (!store_read(store, key, LEASE_SIZE_MAX, &arena, &text, err)) return false;
        if (lease_is_taken(agent, text, &arena))
            return err_set(err, LH_CONFLICT, "another server tunes it");
    } else if (err->kind != LH_MISSING) {
        return false;
    }
    return lease_write(agent, store, key, &condition, err) ||
           (err->kind == LH_PRECONDITION && err_set(err, LH_CONFLICT, "another server tunes it"));
}

static void lease_drop(Store *store, Str index) {
    OWNED(arena_close) Arena arena = {0};
    Err ignored;
    store_remove(store, meta_key(index, "agent.lease", &arena), &ignored);
}

/* ---- A visit ---- */

typedef struct Visit {
    Agent *agent;
    Str index;
    Arena arena;
    IndexEntry *entry;
    Bucket *bucket;
    int64_t leased_ms; /* when the lease was last written; 0: it is not ours */
    Trial tried;
} Visit;

static void visit_close(Visit *visit) {
    if (visit->leased_ms) lease_drop(bucket_store(visit->bucket), visit->index);
    bucket_release(&visit->bucket);
    index_entry_release(&visit->entry);
    arena_close(&visit->arena);
}

static bool ensure_eval(Visit *visit, Err *err) {
    OWNED(text_close) Text ignored = {0};
    EvalSet set;
    const AgentOptions *options = &visit->agent->options;
    const EvalSpec spec = {.sample = options->sample, .seed = 1};
    Str index = visit->entry->meta.index;
    if (eval_load(visit->agent->indexes, visit->entry, options->eval, &visit->arena, &set, err))
        return true;
    return err->kind == LH_MISSING &&
           index_eval_put(visit->agent->indexes, index, options->eval, &spec, &ignored, err);
}

static void note_tried(void *context, const Trial *trial) {
    Visit *visit = context;
    visit->tried = *trial;
}

static void note_decision(Visit *visit, const Trial *trial, bool promoted, Str why) {
    AgentNote note = {.trial = trial->number,
                      .at_ms = clock_now_ms(),
                      .config = trial->config,
                      .backend = str_is(visit->entry->meta.vector_backend, "lance")
                                     ? STR("lance")
                                     : STR("parquet"),
                      .recall = trial->measured.recall,
                      .p50_us = trial->measured.p50_us,
                      .promoted = promoted};
    snprintf(note.index, sizeof note.index, "%.*s", SHOW(visit->entry->meta.index));
    snprintf(note.why, sizeof note.why, "%.*s", SHOW(why));
    agent_note_decision(visit->agent, &note);
    log_info("agent: index '%.*s', trial %lld %s: %.*s", SHOW(visit->entry->meta.index),
             (long long)trial->number, promoted ? "is promoted" : "is not promoted", SHOW(why));
}

/* The entry as it is now: a promotion published another. */
static bool reload(Visit *visit, Err *err) {
    index_entry_release(&visit->entry);
    return indexes_find(visit->agent->indexes, visit->index, &visit->entry, err);
}

static TuneGoal goal_of(const Visit *visit) {
    const IndexMeta *meta = &visit->entry->meta;
    const AgentOptions *options = &visit->agent->options;
    return (TuneGoal){.backend = meta->vector_backend,
                      .eval = options->eval,
                      .rows = index_rows(visit->entry),
                      .k = options->k,
                      .champion = meta->config,
                      .min_recall = options->min_recall,
                      .min_gain = options->min_gain};
}

/* Takes the lease, or writes it anew in time. */
static bool lease_hold(Visit *visit, Err *err) {
    int64_t now = clock_now_ms();
    if (visit->leased_ms && now - visit->leased_ms < visit->agent->options.lease_s * 1000 / 3)
        return true;
    if (!lease_take(visit->agent, bucket_store(visit->bucket), visit->index, err)) return false;
    visit->leased_ms = now;
    return true;
}

/* Asked all along a trial, by the threads of its build as well: the lease is the agent's own. */
static bool must_end(void *context) {
    Visit *visit = context;
    Err ignored;
    if (agent_must_stop(visit->agent)) return true;
    return pthread_equal(pthread_self(), visit->agent->thread) && !lease_hold(visit, &ignored);
}

/* One trial and what becomes of it. *more: whether there was one to try. */
static bool try_one(Visit *visit, bool *more, Err *err) {
    OWNED(text_close) Text ignored = {0};
    Agent *agent = visit->agent;
    IndexConfig config;
    Trial *trials;
    size_t count;
    Str why;
    const TuneGoal goal = goal_of(visit);

    if (!trials_load(agent->indexes, visit->entry, &visit->arena, &trials, &count, err))
        return false;
    *more = propose(&goal, trials, count, &config);
    if (!*more) return true;
    TrialRun run = {
        .index = visit->entry->meta.index,
        .eval = goal.eval,
        .k = goal.k,
        .configs = &config,
        .count = 1,
        .watch = {must_end, visit},
        .done = note_tried,
        .context = visit
    };
    if (!agent_wait_turn(agent)) return err_set(err, LH_CANCELLED, "the agent stops");
    if (!lease_hold(visit, err)) return false;
    agent_set_state(agent, "trial");
    agent_note_trial(agent);
    if (!trials_run(agent->indexes, &run, err)) return false;
    const Trial *champion = champion_trial(&goal, trials, count);
    bool promoted =
        judge(&goal, champion ? champion : &visit->tried, &visit->tried, &visit->arena, &why);
    if (promoted && !index_promote(agent->indexes, run.index, visit->tried.number, STR("agent"),
                                   NULL, &ignored, err))
        return false;
    note_decision(visit, &visit->tried, promoted, why);
    return !promoted || reload(visit, err);
}

/* An index that is being changed by somebody else is tuned as it is. */
static bool refresh(Visit *visit, Err *err) {
    OWNED(text_close) Text ignored = {0};
    if (!visit->agent->options.refresh) return true;
    agent_set_state(visit->agent, "refresh");
    if (!index_refresh(visit->agent->indexes, visit->index, NULL, &ignored, err) &&
        err->kind != LH_CONFLICT)
        return false;
    return reload(visit, err);
}

static bool visit_run(Visit *visit, Err *err) {
    Agent *agent = visit->agent;
    Str index = visit->index;
    bool more = true;
    if (!indexes_find(agent->indexes, index, &visit->entry, err) ||
        !bucket_find(agent->indexes->buckets, visit->entry->meta.bucket, &visit->bucket, err))
        return false;
    if (visit->entry->index->count == 0) return true;
    if (!agent_wait_turn(agent)) return err_set(err, LH_CANCELLED, "the agent stops");
    if (!lease_hold(visit, err) || !refresh(visit, err) || !ensure_eval(visit, err)) return false;
    for (int64_t i = 0; more && i < agent->options.trials_per_visit; i++)
        if (!try_one(visit, &more, err)) return false;
    return true;
}

bool agent_visit(Agent *agent, Str index, Err *err) {
    OWNED(visit_close) Visit visit = {.agent = agent, .index = index};
    return visit_run(&visit, err);
}
