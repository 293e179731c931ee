/* Internal to the agent: agent.c queues indexes, waits for its turn and tells what it did;
 * agent_visit.c is what it does with one index. */
#pragma once

#include "vector/propose.h"

#define AGENT_QUEUE_MAX 1024
#define AGENT_NOTES_MAX 50 /* decisions that the status tells */
#define AGENT_WHY_MAX 200

typedef struct AgentNote {
    char index[INDEX_NAME_MAX + 1];
    int64_t trial, at_ms;
    IndexConfig config;
    Str backend;
    double recall, p50_us;
    bool promoted;
    char why[AGENT_WHY_MAX];
} AgentNote;

struct Agent {
    AgentOptions options;
    Indexes *indexes;
    char owner[UUID_SIZE];
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* over all below */
    pthread_cond_t wake;
    bool closing, paused;
    char queue[AGENT_QUEUE_MAX][INDEX_NAME_MAX + 1];
    size_t queued;
    char index[INDEX_NAME_MAX + 1]; /* being tuned; empty: none */
    const char *state;
    int64_t *times; /* of the last max_trials_per_hour trials, a ring */
    size_t time_count;
    int64_t next_ms; /* no trial before */
    AgentNote notes[AGENT_NOTES_MAX];
    size_t note_count; /* ever */
    int64_t trials, promotions;
    char error[AGENT_WHY_MAX]; /* of the last visit that failed */
};

/* agent_visit.c. The index's turn, from its lease to what its trials came to. LH_CONFLICT: another
 * server or a change is at it; LH_CANCELLED: the agent stops. */
bool agent_visit(Agent *agent, Str index, Err *err);

/* Until a trial may begin and nobody waits for a search. False: the agent stops. */
bool agent_wait_turn(Agent *agent);
bool agent_must_stop(Agent *agent); /* it closes, or is paused */
void agent_set_state(Agent *agent, const char *state);
void agent_note_trial(Agent *agent); /* one begins: it counts for when the next may */
void agent_note_decision(Agent *agent, const AgentNote *note);
