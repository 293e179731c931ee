/* The agent's queue, its thread, when it may begin, and what it says it did. What it does with one
 * index is agent_visit.c. */
#include "vector/agent.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOUR_MS 3600000

#define QUIET_LOOK_MS 50

const Option agent_options[] = {
    {"enabled",                                    LH_FLAG, AT(AgentOptions, enabled), "false", "tune indexes in the background"},
    {"period_s",                             LH_INT, AT(AgentOptions, period_s), "3600",
     "time between looks at every index; 0: none", .max = 1e9},
    {"max_trials_per_hour",                                     LH_INT, AT(AgentOptions, max_trials_per_hour), "30", "of all indexes",
     .min = 1, .max = 1e6},
    {"cooldown_s",                                            LH_INT, AT(AgentOptions, cooldown_s), "10", "between two trials", .max = 1e6},
    {"trials_per_visit",          LH_INT, AT(AgentOptions, trials_per_visit), "8",
     "trials of one index in a row", .min = 1, .max = 1000},
    {"min_recall",                                   LH_REAL, AT(AgentOptions, min_recall), "0.95", "no champion below it", .max = 1},
    {"min_gain", LH_REAL, AT(AgentOptions, min_gain), "0.05",
     "share of the latency that a new champion saves", .max = 1},
    {"refresh",                                            LH_FLAG, AT(AgentOptions, refresh), "true",
     "bring an index to its dataset's version before it is tuned"},
    {"lease_s",  LH_INT, AT(AgentOptions, lease_s), "60",
     "after which what a dead server tuned is free", .min = 3, .max = 86400},
    {"k",                        LH_INT, AT(AgentOptions, k), "10", "answers that count", .min = 1, .max = EVAL_DEPTH},
    {"eval",                            LH_TEXT, AT(AgentOptions, eval), "agent", "eval set that it measures with"},
    {"sample",                                  LH_INT, AT(AgentOptions, sample), "100", "queries of that set where it must be made",
     .min = 1, .max = EVAL_QUERIES_MAX},
    {0                                },
};

/* ---- The queue ---- */

static bool queue_add(Agent *agent, Str index) {
    bool room = true, known = false;
    pthread_mutex_lock(&agent->lock);
    for (size_t i = 0; i < agent->queued; i++) known |= str_is(index, agent->queue[i]);
    room = known || agent->queued < AGENT_QUEUE_MAX;
    if (!known && room)
        snprintf(agent->queue[agent->queued++], INDEX_NAME_MAX + 1, "%.*s", SHOW(index));
    pthread_cond_signal(&agent->wake);
    pthread_mutex_unlock(&agent->lock);
    return room;
}

bool agent_enqueue(Agent *agent, Str index, Err *err) {
    OWNED(index_entry_release) IndexEntry *entry = NULL;
    if (!indexes_find(agent->indexes, index, &entry, err)) return false;
    if (!agent->options.enabled)
        return err_code(err, LH_CONFLICT, "agent_disabled",
                        "the agent is off: set enabled = true in [agent] and restart");
    return queue_add(agent, index) ||
           err_set(err, LH_BUSY, "%d indexes wait for the agent already", AGENT_QUEUE_MAX);
}

static void on_event(void *context, const CatalogEvent *event) {
    Agent *agent = context;
    OWNED(arena_close) Arena arena = {0};
    Str *names;
    size_t count;
    if (!agent->options.enabled || event->kind == DATASET_DROPPED) return;
    indexes_of_dataset(agent->indexes, event->dataset, &arena, &names, &count);
    for (size_t i = 0; i < count; i++) {
        if (!queue_add(agent, names[i]) || !event->enqueued ||
            !index_is_known(agent->indexes, names[i]))
            continue;
        if (event->enqueued->len) text_add_byte(event->enqueued, ',');
        json_escape(event->enqueued, names[i]);
    }
}

static void enqueue_all(Agent *agent) {
    OWNED(arena_close) Arena arena = {0};
    size_t count;
    IndexEntry **all = indexes_hold_all(agent->indexes, &arena, &count);
    for (size_t i = 0; i < count; i++) {
        if (all[i]->index) queue_add(agent, all[i]->meta.index);
        index_entry_release(&all[i]);
    }
}

/* ---- Waiting ---- */

void agent_set_state(Agent *agent, const char *state) {
    pthread_mutex_lock(&agent->lock);
    agent->state = state;
    pthread_mutex_unlock(&agent->lock);
}

bool agent_must_stop(Agent *agent) {
    pthread_mutex_lock(&agent->lock);
    bool stop = agent->closing || agent->paused;
    pthread_mutex_unlock(&agent->lock);
    return stop;
}

/* With the lock held; true when it was woken. */
static bool wait_ms(Agent *agent, int64_t ms) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ms / 1000);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    return pthread_cond_timedwait(&agent->wake, &agent->lock, &until) != ETIMEDOUT;
}

/* When the next trial may begin, by the cool-down and by the trials of the last hour. */
static int64_t next_trial_ms(const Agent *agent) {
    size_t most = (size_t)agent->options.max_trials_per_hour;
    int64_t hourly =
        agent->time_count >= most ? agent->times[agent->time_count % most] + HOUR_MS : 0;
    return MAX(agent->next_ms, hourly);
}

bool agent_wait_turn(Agent *agent) {
    agent_set_state(agent, "waiting");
    while (!agent_must_stop(agent)) {
        pthread_mutex_lock(&agent->lock);
        int64_t left = next_trial_ms(agent) - clock_now_ms();
        if (left > 0) wait_ms(agent, MIN(left, 1000));
        pthread_mutex_unlock(&agent->lock);
        if (left > 0) continue;
        if (atomic_load(&agent->indexes->searching) < parallel_threads()) return true;
        pthread_mutex_lock(&agent->lock);
        wait_ms(agent, QUIET_LOOK_MS);
        pthread_mutex_unlock(&agent->lock);
    }
    return false;
}

/* The next index of the queue. False: the agent closes. */
static bool next_index(Agent *agent, char index[INDEX_NAME_MAX + 1]) {
    int64_t period = agent->options.period_s * 1000, looked = clock_now_ms();
    pthread_mutex_lock(&agent->lock);
    agent->index[0] = 0;
    while (!agent->closing && (agent->queued == 0 || agent->paused)) {
        agent->state = agent->paused ? "paused" : "idle";
        wait_ms(agent, period ? MAX(looked + period - clock_now_ms(), 1) : HOUR_MS);
        if (!period || clock_now_ms() < looked + period) continue;
        looked = clock_now_ms();
        pthread_mutex_unlock(&agent->lock);
        enqueue_all(agent);
        pthread_mutex_lock(&agent->lock);
    }
    bool have = !agent->closing;
    if (have) {
        memcpy(index, agent->queue[0], INDEX_NAME_MAX + 1);
        memcpy(agent->index, index, INDEX_NAME_MAX + 1);
        memmove(agent->queue[0], agent->queue[1], --agent->queued * sizeof agent->queue[0]);
    }
    pthread_mutex_unlock(&agent->lock);
    return have;
}

/* ---- The thread ---- */

void agent_note_trial(Agent *agent) {
    size_t most = (size_t)agent->options.max_trials_per_hour;
    pthread_mutex_lock(&agent->lock);
    agent->times[agent->time_count++ % most] = clock_now_ms();
    agent->next_ms = clock_now_ms() + agent->options.cooldown_s * 1000;
    agent->trials++;
    pthread_mutex_unlock(&agent->lock);
}

/* Before the next trial: what another server does takes a while. */
static void note_pause(Agent *agent) {
    pthread_mutex_lock(&agent->lock);
    agent->next_ms = clock_now_ms() + MAX(agent->options.cooldown_s, 1) * 1000;
    pthread_mutex_unlock(&agent->lock);
}

void agent_note_decision(Agent *agent, const AgentNote *note) {
    pthread_mutex_lock(&agent->lock);
    agent->notes[agent->note_count++ % AGENT_NOTES_MAX] = *note;
    agent->promotions += note->promoted;
    pthread_mutex_unlock(&agent->lock);
}

static void visit_index(Agent *agent, Str index) {
    Err err = {0};
    if (agent_visit(agent, index, &err) || err.kind == LH_MISSING)
        return; /* it was deleted meanwhile */
    if (err.kind == LH_CANCELLED || err.kind == LH_CONFLICT) queue_add(agent, index); /* later */
    if (err.kind == LH_CANCELLED) return;
    if (err.kind == LH_CONFLICT) note_pause(agent);
    log_warn("agent: index '%.*s': %s", SHOW(index), err.message);
    pthread_mutex_lock(&agent->lock);
    snprintf(agent->error, sizeof agent->error, "index '%.*s': %.150s", SHOW(index), err.message);
    pthread_mutex_unlock(&agent->lock);
}

static void *agent_run(void *context) {
    Agent *agent = context;
    char index[INDEX_NAME_MAX + 1];
    /* The threads of its builds inherit it: searches take the processor from them at once. */
    const struct sched_param none = {0};
    if (pthread_setschedparam(pthread_self(), SCHED_IDLE, &none))
        log_warn("agent: it runs at the priority of everything else");
    while (next_index(agent, index)) visit_index(agent, str_from(index));
    return NULL;
}

/* ---- Life ---- */

bool agent_open(const AgentOptions *options, Indexes *indexes, Catalog *catalog, Agent **out,
                Err *err) {
    Agent *agent = calloc(1, sizeof *agent);
    pthread_condattr_t monotonic;
    if (!agent) abort();
    *agent = (Agent){.options = *options, .indexes = indexes, .state = "off"};
    agent->times = calloc((size_t)options->max_trials_per_hour, sizeof *agent->times);
    if (!agent->times) abort();
    random_uuid(agent->owner);
    pthread_mutex_init(&agent->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&agent->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    *out = agent;
    catalog_subscribe(catalog, on_event, agent);
    if (!options->enabled) return true;
    agent->started = pthread_create(&agent->thread, NULL, agent_run, agent) == 0;
    return agent->started || err_set(err, LH_BUSY, "the system gives no thread to the agent");
}

void agent_close(Agent **agent) {
    if (!*agent) return;
    pthread_mutex_lock(&(*agent)->lock);
    (*agent)->closing = true;
    pthread_cond_broadcast(&(*agent)->wake);
    pthread_mutex_unlock(&(*agent)->lock);
    if ((*agent)->started) pthread_join((*agent)->thread, NULL);
    pthread_cond_destroy(&(*agent)->wake);
    pthread_mutex_destroy(&(*agent)->lock);
    free((*agent)->times);
    free(*agent);
    *agent = NULL;
}

void agent_pause(Agent *agent, bool paused) {
    pthread_mutex_lock(&agent->lock);
    agent->paused = paused;
    pthread_cond_broadcast(&agent->wake);
    pthread_mutex_unlock(&agent->lock);
}

static void note_write(const AgentNote *note, JsonWriter *w) {
    jw_object(w);
    jw_member_text(w, "index", str_from(note->index));
    jw_member_int(w, "trial", note->trial);
    jw_name(w, "config");
    config_write(note->backend, &note->config, w);
    jw_member_real(w, "recall", note->recall);
    jw_member_tenths(w, "p50_us", note->p50_us);
    jw_member_flag(w, "promoted", note->promoted);
    jw_member_text(w, "why", str_from(note->why));
    jw_member_time(w, "at", note->at_ms);
    jw_end(w);
}

static int64_t trials_last_hour(const Agent *agent) {
    int64_t count = 0, since = clock_now_ms() - HOUR_MS;
    size_t most = (size_t)agent->options.max_trials_per_hour;
    for (size_t i = 0; i < MIN(agent->time_count, most); i++) count += agent->times[i] > since;
    return count;
}

void agent_write(Agent *agent, JsonWriter *w) {
    pthread_mutex_lock(&agent->lock);
    jw_object(w);
    jw_member_flag(w, "enabled", agent->options.enabled);
    jw_member_flag(w, "paused", agent->paused);
    jw_member_text(w, "state", str_from(agent->state));
    jw_name(w, "index");
    jw_cstr(w, agent->index[0] ? agent->index : NULL);
    jw_name(w, "queue"), jw_array(w);
    for (size_t i = 0; i < agent->queued; i++) jw_cstr(w, agent->queue[i]);
    jw_end(w);
    jw_member_int(w, "trials", agent->trials);
    jw_member_int(w, "promotions", agent->promotions);
    jw_member_int(w, "trials_last_hour", trials_last_hour(agent));
    jw_member_int(w, "max_trials_per_hour", agent->options.max_trials_per_hour);
    jw_member_int(w, "cooldown_s", agent->options.cooldown_s);
    jw_member_time(w, "next_trial_at", next_trial_ms(agent));
    jw_member_real(w, "min_recall", agent->options.min_recall);
    jw_member_real(w, "min_gain", agent->options.min_gain);
    jw_name(w, "error");
    jw_cstr(w, agent->error[0] ? agent->error : NULL);
    jw_name(w, "decisions"), jw_array(w); /* newest first */
    for (size_t i = 0; i < MIN(agent->note_count, AGENT_NOTES_MAX); i++)
        note_write(&agent->notes[(agent->note_count - 1 - i) % AGENT_NOTES_MAX], w);
    jw_end(w);
    jw_end(w);
    pthread_mutex_unlock(&agent->lock);
}
