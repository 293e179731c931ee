/* GET /storage/bucket-health: counts per bucket over a window. A bucket with no event is healthy;
 * one whose last event is a failed probe, or with many failures that rescue could not mend, is
 * down; the rest are degraded. */
#include "storage/errors_health.h"

static void count_op(BucketHealth *health, Str op, Arena *arena) {
    for (size_t i = 0; i < health->op_count; i++)
        if (str_equal(health->ops[i].op, op)) {
            health->ops[i].count++;
            return;
        }
    if (health->op_count == HEALTH_OPS_MAX) return;
    health->ops[health->op_count].op = arena_copy(arena, op);
    health->ops[health->op_count++].count = 1;
}

void health_add(BucketHealth *health, size_t count, const KeptEvent *event, Arena *arena) {
    BucketHealth *found = NULL;
    for (size_t i = 0; i < count; i++)
        if (str_equal(health[i].bucket, event->bucket)) found = &health[i];
    if (!found) return;
    if (found->last_ms == 0) {
        found->last_ms = event->at_ms;
        found->last_error = arena_copy(arena, event->error);
        found->probe_failed_last = str_is(event->op, "probe");
    }
    found->errors += !event->rescued;
    found->rescues += event->rescued;
    count_op(found, event->op, arena);
}

static const char *status_of(const BucketHealth *health) {
    if (health->out_of_reach) return "down";
    if (health->errors + health->rescues == 0) return "healthy";
    if (health->probe_failed_last || health->errors >= HEALTH_DOWN_ERRORS) return "down";
    return "degraded";
}

static void bucket_health_write(const BucketHealth *health, JsonWriter *w) {
    jw_object(w);
    jw_member_text(w, "bucket", health->bucket);
    jw_member_int(w, "errors", health->errors);
    jw_member_int(w, "rescues", health->rescues);
    jw_name(w, "by_op");
    jw_object(w);
    for (size_t i = 0; i < health->op_count; i++) {
        jw_name_str(w, health->ops[i].op);
        jw_int(w, health->ops[i].count);
    }
    jw_end(w);
    jw_name(w, "last_error");
    if (health->last_ms)
        jw_text(w, health->last_error);
    else
        jw_null(w);
    jw_member_time(w, "last_ts", health->last_ms);
    jw_name(w, "status"), jw_cstr(w, status_of(health));
    jw_end(w);
}

void health_write(const BucketHealth *health, size_t count, int64_t minutes, JsonWriter *w) {
    jw_object(w);
    jw_member_int(w, "minutes", minutes);
    jw_name(w, "buckets");
    jw_array(w);
    for (size_t i = 0; i < count; i++) bucket_health_write(&health[i], w);
    jw_end(w);
    jw_end(w);
}
