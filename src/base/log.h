/* One line to standard error per event: time, level, request id, what happened. Only app, gateway
 * and background loops log errors, so that each is logged once. Thread safe. */
#pragma once

#include "base/str.h"

typedef enum LogLevel { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR } LogLevel;

void log_setup(LogLevel level, bool json);
void log_request_id(Str id); /* of this thread's current request; empty ends it. Borrowed */
void log_line(LogLevel level, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
