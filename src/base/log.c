#include "base/log.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/owned.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

static _Atomic(int) level_min = LOG_INFO;
static atomic_bool as_json;
static _Thread_local Str request_id;

void log_setup(LogLevel level, bool json) {
    atomic_store(&level_min, level);
    atomic_store(&as_json, json);
}

void log_request_id(Str id) {
    request_id = id;
}

static void line_json(Text *line, Str time, const char *level, Str message) {
    JsonWriter w = {.out = line};
    jw_object(&w);
    jw_member_text(&w, "time", time);
    jw_member_text(&w, "level", str_from(level));
    if (request_id.len) jw_member_text(&w, "request_id", request_id);
    jw_member_text(&w, "message", message);
    jw_end(&w);
}

static void line_plain(Text *line, Str time, const char *level, Str message) {
    text_print(line, "%.*s %-5s %s%.*s%s", SHOW(time), level, request_id.len ? "[" : "",
               SHOW(request_id), request_id.len ? "] " : "");
    for (size_t i = 0; i < message.len; i++) /* one line each, whatever came from outside */
        text_add_byte(line, (unsigned char)message.data[i] < ' ' ? ' ' : message.data[i]);
}

void log_line(LogLevel level, const char *format, ...) {
    static const char *const names[] = {"debug", "info", "warn", "error"};
    if ((int)level < atomic_load_explicit(&level_min, memory_order_relaxed)) return;
    char message[1024], time[CLOCK_TEXT_SIZE];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    Str text = {message, len < 0 ? 0 : MIN((size_t)len, sizeof message - 1)};
    OWNED(text_close) Text line = {0};
    (atomic_load(&as_json) ? line_json : line_plain)(&line, clock_text(clock_now_ms(), time),
                                                     names[level], text);
    text_add_byte(&line, '\n');
    if (write(2, line.data, line.len) < 0) return; /* nowhere left to say it */
}
