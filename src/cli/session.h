/* A command's session with a server: where it is, the key, one HTTP client, memory for the whole
 * command. Thread rule: one thread. */
#pragma once

#include "cli/cli.h"
#include "net/net.h"

typedef struct SessionOptions {
    Str url, key_file;
    bool json;
} SessionOptions;

struct Cli {
    Arena arena; /* everything a command makes; a long one may empty it between its steps */
    Arena kept;  /* the key */
    HttpClient *http;
    Str url, key; /* the url without a slash at its end */
    bool json;
};

bool session_open(const SessionOptions *options, Cli **out, Err *err);
void session_close(Cli **cli);

/* A call with the session's key; `path` is in call->url. False for any status but 2xx: err bears
 * the problem's `detail`. The reply is the caller's to close. */
bool session_call(Cli *cli, HttpCall call, HttpReply *out, Err *err);
/* The same with a JSON answer, which lives as long as the session; *raw may be NULL. */
bool session_get(Cli *cli, Str path, const Json **out, Str *raw, Err *err);
bool session_send(Cli *cli, const char *method, Str path, Str body, const Json **out, Str *raw,
                  Err *err);
/* Follows a job to its end with a progress bar on a terminal; an interrupt cancels it. */
bool session_follow(Cli *cli, Str job, const Json **result, Str *raw, Err *err);

/* With --json prints the server's JSON and says true; else the command prints its table. */
bool session_prints(const Cli *cli, Str raw);

/* Paths are made of words that users wrote: each %-encoded. path_of(cli, "/jobs/", id, "") */
Str path_of(Cli *cli, const char *before, Str name, const char *after);
Str path_of_object(Cli *cli, Str bucket, Str key);
/* Adds name=value, encoded, when the value is not empty. */
void query_add(Cli *cli, Str *path, const char *name, Str value);
