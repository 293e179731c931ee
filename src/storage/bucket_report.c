/* What the registry tells without asking a bucket: health from recent events and breakers, and
 * Prometheus lines. */
#include "storage/bucket_registry.h"

#include "base/base.h"

/* All buckets, held, in the order of their names. */
typedef struct Held {
    Bucket *items[BUCKET_COUNT_MAX];
    size_t len;
} Held;

static void held_close(Held *held) {
    for (size_t i = 0; i < held->len; i++) bucket_release(&held->items[i]);
    held->len = 0;
}

static void hold_all(Buckets *buckets, Held *out) {
    OWNED(arena_close) Arena arena = {0};
    size_t count;
    Str *names = bucket_names(buckets, &arena, &count);
    out->len = 0;
    for (size_t i = 0; i < count; i++) {
        Bucket *bucket = bucket_hold_listed(buckets, names[i]);
        if (bucket) out->items[out->len++] = bucket; /* else it was removed meanwhile */
    }
}

bool buckets_health(Buckets *buckets, int64_t minutes, JsonWriter *w, Err *err) {
    OWNED(held_close) Held held;
    HealthOf of[BUCKET_COUNT_MAX];
    hold_all(buckets, &held);
    for (size_t i = 0; i < held.len; i++)
        of[i] = (HealthOf){bucket_name(held.items[i]), guard_is_open(held.items[i]->guard)};
    return errors_health(buckets->errors, of, held.len, minutes, w, err);
}

void buckets_write_unreachable(Buckets *buckets, JsonWriter *w) {
    OWNED(held_close) Held held;
    hold_all(buckets, &held);
    jw_array(w);
    for (size_t i = 0; i < held.len; i++)
        if (guard_is_open(held.items[i]->guard)) jw_text(w, bucket_name(held.items[i]));
    jw_end(w);
}

static void metric_head(Text *out, const char *name, const char *kind, const char *help) {
    text_print(out, "# HELP lakehouse_%s %s\n# TYPE lakehouse_%s %s\n", name, help, name, kind);
}

static void metric_flags(const Held *held, const GuardState *states, const char *name, bool up,
                         Text *out) {
    for (size_t i = 0; i < held->len; i++)
        text_print(out, "lakehouse_%s{bucket=\"%s\"} %d\n", name, held->items[i]->name,
                   up ? !states[i].failing : states[i].open);
}

void buckets_metrics(Buckets *buckets, Text *out) {
    OWNED(held_close) Held held;
    OWNED(arena_close) Arena arena = {0};
    hold_all(buckets, &held);
    GuardState *states = arena_array(&arena, GuardState, held.len);
    for (size_t i = 0; i < held.len; i++) guard_state(held.items[i]->guard, &states[i]);
    metric_head(out, "bucket_up", "gauge", "whether the bucket answered when it was last asked");
    metric_flags(&held, states, "bucket_up", true, out);
    metric_head(out, "bucket_breaker_open", "gauge", "whether the bucket is not asked any more");
    metric_flags(&held, states, "bucket_breaker_open", false, out);
    metric_head(out, "bucket_errors_total", "counter", "failed storage operations since start");
    for (size_t i = 0; i < held.len; i++)
        for (int op = 0; op < GUARD_OP_COUNT; op++)
            text_print(out, "lakehouse_bucket_errors_total{bucket=\"%s\",op=\"%s\"} %lld\n",
                       held.items[i]->name, guard_op_names[op], (long long)states[i].errors[op]);
    metric_head(out, "bucket_rescues_total", "counter", "reads answered from the rescue bucket");
    for (size_t i = 0; i < held.len; i++)
        text_print(out, "lakehouse_bucket_rescues_total{bucket=\"%s\"} %lld\n", held.items[i]->name,
                   (long long)states[i].rescues);
}
