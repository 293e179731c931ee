/* Errors and answers as HTTP: the one place where an Err becomes a status and JSON. */
#include "gateway/route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int status_of(ErrKind kind) {
    static const int statuses[LH_KIND_COUNT] = {
        [LH_OK] = 200,           [LH_INVALID] = 400, [LH_UNKNOWN_USER] = 401, [LH_DENIED] = 403,
        [LH_MISSING] = 404,      [LH_METHOD] = 405,  [LH_CONFLICT] = 409,     [LH_NO_LENGTH] = 411,
        [LH_PRECONDITION] = 412, [LH_TOO_BIG] = 413, [LH_MEDIA_TYPE] = 415,   [LH_RANGE] = 416,
        [LH_IMPOSSIBLE] = 422,   [LH_BUSY] = 429,    [LH_CANCELLED] = 499,    [LH_BUG] = 500,
        [LH_CORRUPT] = 500,      [LH_OFFLINE] = 503, [LH_TIMEOUT] = 504,      [LH_FULL] = 507,
    };
    return statuses[kind];
}

const char *status_title(int status) {
    static const struct {
        int status;
        const char *title;
    } titles[] = {
        {400, "Bad Request"                    },
        {401, "Unauthorized"                   },
        {403, "Forbidden"                      },
        {404, "Not Found"                      },
        {405, "Method Not Allowed"             },
        {408, "Request Timeout"                },
        {409, "Conflict"                       },
        {411, "Length Required"                },
        {412, "Precondition Failed"            },
        {413, "Content Too Large"              },
        {414, "URI Too Long"                   },
        {415, "Unsupported Media Type"         },
        {416, "Range Not Satisfiable"          },
        {417, "Expectation Failed"             },
        {422, "Unprocessable Content"          },
        {429, "Too Many Requests"              },
        {431, "Request Header Fields Too Large"},
        {499, "Cancelled"                      },
        {500, "Internal Server Error"          },
        {501, "Not Implemented"                },
        {503, "Service Unavailable"            },
        {504, "Gateway Timeout"                },
        {505, "HTTP Version Not Supported"     },
        {507, "Insufficient Storage"           },
    };
    for (size_t i = 0; i < COUNT(titles); i++)
        if (titles[i].status == status) return titles[i].title;
    return "Error";
}

void answer_problem(Response *response, int status, const char *code, const char *detail) {
    Text text = {0};
    JsonWriter w = {.out = &text};
    jw_object(&w);
    jw_member_text(&w, "type", STR("about:blank"));
    jw_member_text(&w, "title", str_from(status_title(status)));
    jw_member_int(&w, "status", status);
    jw_member_text(&w, "code", str_from(code));
    jw_member_text(&w, "detail", str_from(detail));
    jw_end(&w);
    response_status(response, status);
    if (status == 401) response_header(response, "WWW-Authenticate", STR("Bearer"));
    if (status == 429 || status == 503) response_header(response, "Retry-After", STR("1"));
    response_take(response, "application/problem+json", &text);
}

void answer_error(Response *response, const Err *err) {
    int status = status_of(err->kind);
    if (status >= 500) log_error("%d: %s", status, err->message);
    if (response_started(response))
        response_abort(response);
    else
        answer_problem(response, status, err_word(err), err->message);
}

void answer_json(Call *call, int status, Text *json) {
    response_status(call->response, status);
    response_take(call->response, "application/json", json);
}

bool client_is_gone(void *request) {
    return request_gone(request);
}

Str http_date(int64_t unix_ms, char buffer[HTTP_DATE_SIZE]) {
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm t;
    gmtime_r(&seconds, &t);
    return (Str){buffer, strftime(buffer, HTTP_DATE_SIZE, "%a, %d %b %Y %H:%M:%S GMT", &t)};
}

bool http_date_read(Str text, int64_t *unix_ms) {
    char buffer[HTTP_DATE_SIZE] = "";
    struct tm t = {0};
    if (text.len == 0 || text.len >= sizeof buffer) return false;
    memcpy(buffer, text.data, text.len);
    const char *end = strptime(buffer, "%a, %d %b %Y %H:%M:%S GMT", &t);
    if (!end || *end) return false;
    *unix_ms = (int64_t)timegm(&t) * 1000;
    return true;
}
