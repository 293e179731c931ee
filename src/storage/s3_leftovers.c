/* Uploads in parts that could not be aborted when they failed, for the server was away, and those
 * that a lost answer to their creation may have left. They take space that nobody sees, so they are
 * remembered while the process lives, and aborted after a later write succeeded. What a process
 * leaves when it dies is the business of the bucket's own rule for incomplete uploads.
 *
 * One whose creation was not answered has no id: it is the upload of that key which was begun
 * meanwhile and is none of this process. (Another server's, of the same key in the same seconds,
 * would fail, which its writer is told; no object is ever touched.) */
#include "storage/s3_client.h"

#include <stdlib.h>
#include <string.h>

#define LEFTOVERS_MAX 256
#define UPLOADS_MAX 1000

struct S3Leftover {
    S3Leftover *next;
    Arena arena;
    Str key, id;
    int64_t due_us, since_ms, until_ms;
};

static void leftover_free(S3Leftover *leftover) {
    Arena arena = leftover->arena;
    arena_close(&arena);
}

void s3_leave(S3Client *client, Str key, Str id, int64_t wait_us, int64_t since_ms,
              int64_t until_ms) {
    Arena arena = {0};
    size_t count = 0;
    S3Leftover *leftover = arena_new(&arena, S3Leftover);
    *leftover = (S3Leftover){.key = arena_copy(&arena, key),
                             .id = arena_copy(&arena, id),
                             .due_us = clock_us() + wait_us,
                             .since_ms = since_ms,
                             .until_ms = until_ms};
    leftover->arena = arena;
    pthread_mutex_lock(&client->lock);
    for (S3Leftover *one = client->leftovers; one; one = one->next) count++;
    if (count < LEFTOVERS_MAX) {
        leftover->next = client->leftovers;
        client->leftovers = leftover;
        client->has_leftovers = true;
    }
    pthread_mutex_unlock(&client->lock);
    if (count >= LEFTOVERS_MAX) leftover_free(leftover);
}

void s3_leftovers_close(S3Client *client) {
    while (client->leftovers) {
        S3Leftover *leftover = client->leftovers;
        client->leftovers = leftover->next;
        leftover_free(leftover);
    }
}

void s3_live_add(S3Client *client, S3Live *live) {
    pthread_mutex_lock(&client->lock);
    live->next = client->live;
    client->live = live;
    pthread_mutex_unlock(&client->lock);
}

void s3_live_remove(S3Client *client, S3Live *live) {
    pthread_mutex_lock(&client->lock);
    for (S3Live **at = &client->live; *at; at = &(*at)->next) {
        if (*at != live) continue;
        *at = live->next;
        break;
    }
    pthread_mutex_unlock(&client->lock);
}

static bool is_live(S3Client *client, Str id) {
    bool found = false;
    pthread_mutex_lock(&client->lock);
    for (S3Live *live = client->live; live; live = live->next) found |= str_equal(live->id, id);
    pthread_mutex_unlock(&client->lock);
    return found;
}

bool s3_abort(S3Client *client, Str key, Str id, bool once, Err *err) {
    OWNED(s3_answer_close) S3Answer answer = {0};
    S3Pair query = {STR("uploadId"), id};
    S3Call call = {.method = "DELETE", .key = key, .query = &query, .query_count = 1};
    if (!(once ? s3_send : s3_call)(client, &call, &answer, err)) return false;
    return answer.status / 100 == 2 || answer.status == 404 ||
           s3_refused(client, &answer, key, err);
}

static bool is_ours(S3Client *client, const S3Leftover *leftover, const S3UploadEntry *upload) {
    bool same_key =
        str_equal(upload->key, leftover->key) || str_equal(upload->raw_key, leftover->key);
    return same_key && upload->id.len && upload->since_ms >= leftover->since_ms &&
           upload->since_ms <= leftover->until_ms && !is_live(client, upload->id);
}

static bool abort_unnamed(S3Client *client, const S3Leftover *leftover) {
    OWNED(s3_answer_close) S3Answer answer = {0};
    OWNED(arena_close) Arena arena = {0};
    Err err;
    S3UploadEntry *uploads;
    size_t count;
    S3Pair query[] = {
        {STR("uploads"),       {0}          },
        {STR("prefix"),        leftover->key},
        {STR("encoding-type"), STR("url")   }
    };
    S3Call call = {.method = "GET", .query = query, .query_count = COUNT(query)};
    if (!s3_send(client, &call, &answer, &err)) return false;
    if (answer.status != 200) return answer.status < 500; /* not allowed: that stays so */
    Bytes body = text_bytes(&answer.reply.body);
    if (!s3_xml_uploads(body, UPLOADS_MAX, &arena, &uploads, &count, &err)) return true;
    bool ok = true;
    for (size_t i = 0; i < count; i++)
        if (is_ours(client, leftover, &uploads[i]))
            ok &= s3_abort(client, leftover->key, uploads[i].id, true, &err);
    return ok;
}

static S3Leftover *take_due(S3Client *client) {
    S3Leftover *due = NULL;
    pthread_mutex_lock(&client->lock);
    for (S3Leftover **at = &client->leftovers; *at; at = &(*at)->next) {
        if ((*at)->due_us > clock_us()) continue;
        due = *at;
        *at = due->next;
        break;
    }
    client->has_leftovers = client->leftovers != NULL;
    pthread_mutex_unlock(&client->lock);
    return due;
}

void s3_sweep(S3Client *client) {
    while (client->has_leftovers) {
        Err err;
        S3Leftover *leftover = take_due(client);
        if (!leftover) return;
        bool done = leftover->id.len ? s3_abort(client, leftover->key, leftover->id, true, &err)
                                     : abort_unnamed(client, leftover);
        if (!done) /* again after a while, not at once */
            s3_leave(client, leftover->key, leftover->id, client->limits.answer_timeout_ms * 1000,
                     leftover->since_ms, leftover->until_ms);
        leftover_free(leftover);
        if (!done) return;
    }
}
