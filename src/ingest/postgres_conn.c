/* Connections to a PostgreSQL that is somebody else's. Nothing here waits without an end: every
 * wait looks at the socket, at a deadline, and at whether the source was cancelled. The password is
 * in no message; libpq's own words about a dsn that it cannot read would repeat it, and are not
 * used.
 *
 * The session is set so that text reads back: ISO dates, UTC, ISO 8601 intervals, floats with all
 * their digits. Its own time limits are lifted: ours count. */
#include "ingest/postgres.h"

#include <ctype.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define SHORT_PASSWORD 3 /* a shorter one is not looked for: it is part of many words */

void pgresult_close(PGresult **result) {
    PQclear(*result);
    *result = NULL;
}

void pgconn_close(PgConn *conn) {
    if (conn->pg) PQfinish(conn->pg);
    conn->pg = NULL;
}

/* Words. */

static bool is_sqlstate(const char *text) {
    for (int i = 0; i < 5; i++)
        if (!isdigit((unsigned char)text[i]) && !(text[i] >= 'A' && text[i] <= 'Z')) return false;
    return text[5] == ':' && text[6] == ' ';
}

/* "FATAL:  28P01: password ..." of a verbose message: its code, which is then cut out. */
static void take_sqlstate(char *text, char state[6]) {
    state[0] = 0;
    for (char *at = strstr(text, ":  "); at; at = strstr(at + 1, ":  ")) {
        if (!is_sqlstate(at + 3)) continue;
        memcpy(state, at + 3, 5);
        state[5] = 0;
        memmove(at + 2, at + 10, strlen(at + 10) + 1);
        return;
    }
}

static void hide(char *text, Str secret) {
    if (secret.len < SHORT_PASSWORD) return;
    for (char *at = text; (at = strstr(at, secret.data)); at += secret.len)
        memset(at, '*', secret.len);
}

/* The first line, with nothing that a terminal would act on. */
static void first_line(char *text) {
    text[strcspn(text, "\r\n")] = 0;
    for (char *at = text; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f) *at = ' ';
}

bool pgconn_unreachable(const char *words, Err *err) {
    return err_code(err, LH_OFFLINE, "source_unreachable", "PostgreSQL is out of reach: %s", words);
}

static bool stopped(Err *err) {
    return err_set(err, LH_CANCELLED, "the ingest was cancelled");
}

static bool is_cancelled(const PgConn *conn) {
    return atomic_load_explicit(conn->cancelled, memory_order_relaxed);
}

/* Who may not come in, what is not there, and what is busy or broken. */
static bool refused_entry(const char *state, const char *words, Err *err) {
    if (strncmp(state, "28", 2) == 0 || strcmp(state, "42501") == 0)
        return err_code(err, LH_DENIED, "source_denied", "PostgreSQL does not let us in: %s",
                        words);
    if (strncmp(state, "3D", 2) == 0 || strncmp(state, "22", 2) == 0)
        return err_code(err, LH_INVALID, "source_refused", "PostgreSQL refuses: %s", words);
    return pgconn_unreachable(words, err);
}

static bool lost(PgConn *conn, Err *err) {
    char words[400];
    snprintf(words, sizeof words, "%s", PQerrorMessage(conn->pg));
    first_line(words);
    hide(words, conn->password);
    if (is_cancelled(conn)) return stopped(err);
    return pgconn_unreachable(words[0] ? words : "the connection broke", err);
}

/* What a statement was answered with. */
static bool refused(PgConn *conn, const PGresult *result, Err *err) {
    char words[400];
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *at = PQresultErrorField(result, PG_DIAG_STATEMENT_POSITION);
    if (is_cancelled(conn)) return stopped(err);
    if (!state || !text || PQstatus(conn->pg) != CONNECTION_OK) return lost(conn, err);
    snprintf(words, sizeof words, "%.300s%s%.20s%s", text, at ? " (at character " : "",
             at ? at : "", at ? ")" : "");
    first_line(words);
    hide(words, conn->password);
    if (strncmp(state, "53", 2) == 0 || strncmp(state, "57", 2) == 0 ||
        strncmp(state, "08", 2) == 0)
        return pgconn_unreachable(words, err);
    if (strcmp(state, "42501") == 0 || strncmp(state, "28", 2) == 0)
        return err_code(err, LH_DENIED, "source_denied", "PostgreSQL does not allow it: %s", words);
    return err_code(err, LH_INVALID, "source_refused", "PostgreSQL refuses: %s", words);
}

/* The dsn. */

static void options_close(PQconninfoOption **options) {
    PQconninfoFree(*options);
    *options = NULL;
}

static bool dsn_parse(Str dsn, Arena *arena, PQconninfoOption **out, Err *err) {
    char *words = NULL;
    bool has_nul = memchr(dsn.data ? dsn.data : "", 0, dsn.len) != NULL;
    PQconninfoOption *options = has_nul ? NULL : PQconninfoParse(arena_cstr(arena, dsn), &words);
    PQfreemem(words); /* they would repeat the dsn */
    if (!options)
        return err_set(
            err, LH_INVALID,
            "the dsn is neither postgresql://user@host/database nor host=... dbname=...");
    *out = options;
    return true;
}

static Str option_of(const PQconninfoOption *options, const char *name) {
    for (; options->keyword; options++)
        if (strcmp(options->keyword, name) == 0) return str_from(options->val);
    return (Str){0};
}

static bool list_has(Str list, Str host) {
    while (list.len > 0)
        if (str_equal_nocase(str_trim(str_until(&list, ',')), host)) return true;
    return false;
}

static bool hosts_allowed(Str hosts, Str allowed, Err *err) {
    while (hosts.len > 0) {
        Str host = str_trim(str_until(&hosts, ','));
        if (host.len == 0 || !list_has(allowed, host))
            return err_code(err, LH_DENIED, "source_denied",
                            "host '%.*s' is not one of those that databases may be read from",
                            (int)MIN(host.len, (size_t)200), host.data);
    }
    return true;
}

/* With a list, the dsn itself must say where it leads: not a service file, nor the environment. */
bool pgconn_check(const PgDial *dial, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(options_close) PQconninfoOption *options = NULL;
    if (!dsn_parse(dial->dsn, &arena, &options, err)) return false;
    if (str_trim(dial->allow_hosts).len == 0) return true;
    Str host = option_of(options, "host"), address = option_of(options, "hostaddr");
    if ((host.len == 0 && address.len == 0) || option_of(options, "service").len > 0)
        return err_code(err, LH_DENIED, "source_denied",
                        "the dsn names no host, and only some may be read from");
    if (str_ends(host, STR(",")) || str_ends(address, STR(","))) host = STR(",");
    return hosts_allowed(host, dial->allow_hosts, err) &&
           hosts_allowed(address, dial->allow_hosts, err);
}

/* Waiting. */

/* Until the socket has what is wanted. False: cancelled, or nothing within `ms`. */
static bool await_socket(PgConn *conn, short events, int64_t ms, Err *err) {
    int64_t deadline = clock_us() + ms * 1000;
    for (;;) {
        struct pollfd fds[2] = {
            {.fd = PQsocket(conn->pg), .events = events},
            {.fd = conn->wake,         .events = POLLIN}
        };
        int64_t left_ms = (deadline - clock_us() + 999) / 1000;
        if (is_cancelled(conn)) return stopped(err);
        int ready = poll(fds, 2, left_ms > 0 ? (int)MIN(left_ms, INT32_MAX) : 0);
        if (is_cancelled(conn)) return stopped(err);
        if (ready > 0 && fds[0].revents) return true;
        if (left_ms <= 0) {
            char words[80];
            snprintf(words, sizeof words, "nothing came from it within %lld ms", (long long)ms);
            return pgconn_unreachable(words, err);
        }
    }
}

/* Until a result is there, or libpq has something to say. */
static bool await_result(PgConn *conn, Err *err) {
    while (PQflush(conn->pg) == 1)
        if (!await_socket(conn, POLLOUT, conn->idle_ms, err)) return false;
    while (PQisBusy(conn->pg)) {
        if (!await_socket(conn, POLLIN, conn->idle_ms, err)) return false;
        if (!PQconsumeInput(conn->pg)) return lost(conn, err);
    }
    return true;
}

/* Opening. */

static void ignore_notice(void *context, const PGresult *result) {
    (void)context, (void)result;
}

/* One deadline for all of it: names, TLS, passwords, and all hosts of the dsn. */
static bool connect_poll(PgConn *conn, int64_t connect_ms, Err *err) {
    int64_t deadline = clock_us() + connect_ms * 1000;
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;
    while (state != PGRES_POLLING_OK) {
        short events = state == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        int64_t left_ms = (deadline - clock_us()) / 1000;
        if (!await_socket(conn, events, MAX(left_ms, 0), err)) return false;
        state = PQconnectPoll(conn->pg);
        if (state == PGRES_POLLING_FAILED) {
            char words[400], code[6];
            snprintf(words, sizeof words, "%s", PQerrorMessage(conn->pg));
            take_sqlstate(words, code);
            first_line(words);
            hide(words, conn->password);
            if (PQconnectionNeedsPassword(conn->pg)) memcpy(code, "28P01", 6);
            return refused_entry(code, words, err);
        }
    }
    return true;
}

/* Each that this server knows. */
static bool set_session(PgConn *conn, Err *err) {
    OWNED(pgresult_close) PGresult *result = NULL;
    static const char *const sql =
        "SELECT set_config(s.name, v.value, false) FROM (VALUES "
        "('statement_timeout', '0'), ('lock_timeout', '0'), ('idle_session_timeout', '0'), "
        "('transaction_timeout', '0'), ('idle_in_transaction_session_timeout', '0'), "
        "('DateStyle', 'ISO, YMD'), ('IntervalStyle', 'iso_8601'), ('TimeZone', 'UTC'), "
        "('bytea_output', 'hex'), ('extra_float_digits', '3'), ('xmloption', 'content')) "
        "AS v(name, value) JOIN pg_catalog.pg_settings AS s ON s.name = v.name";
    return pgconn_run(conn, sql, NULL, 0, &result, err);
}

/* libpq expands the dsn where dbname stands; later words win: what is before it are our defaults,
 * what is after it is not the user's to choose. */
static PGconn *start(const char *dsn) {
    const char *const names[] = {
        "keepalives_idle", "keepalives_interval", "keepalives_count", "fallback_application_name",
        "dbname",          "client_encoding",     "replication",      NULL};
    const char *const values[] = {"30", "10", "3", "lakehouse", dsn, "UTF8", "false", NULL};
    return PQconnectStartParams(names, values, 1);
}

bool pgconn_open(const PgDial *dial, Arena *arena, PgConn *out, Err *err) {
    OWNED(options_close) PQconninfoOption *options = NULL;
    OWNED(pgconn_close)
    PgConn conn = {.idle_ms = dial->idle_ms, .wake = dial->wake, .cancelled = dial->cancelled};
    int64_t timeout_s, connect_ms = dial->connect_ms;
    if (!dsn_parse(dial->dsn, arena, &options, err)) return false;
    conn.password = arena_copy(arena, option_of(options, "password"));
    if (str_to_i64(option_of(options, "connect_timeout"), &timeout_s) && timeout_s > 0)
        connect_ms = MIN(connect_ms, timeout_s * 1000);
    conn.pg = start(arena_cstr(arena, dial->dsn));
    if (!conn.pg) return pgconn_unreachable("no memory for a connection", err);
    if (PQstatus(conn.pg) == CONNECTION_BAD) return lost(&conn, err);
    PQsetNoticeReceiver(conn.pg, ignore_notice, NULL);
    PQsetErrorVerbosity(conn.pg, PQERRORS_VERBOSE); /* for the code of who was refused */
    if (!connect_poll(&conn, connect_ms, err)) return false;
    PQsetErrorVerbosity(conn.pg, PQERRORS_DEFAULT);
    PQsetnonblocking(conn.pg, 1);
    if (!set_session(&conn, err)) return false;
    *out = conn;
    conn.pg = NULL;
    return true;
}

/* Statements. */

/* The last result, once all are there. */
static bool finish(PgConn *conn, PGresult **out, Err *err) {
    OWNED(pgresult_close) PGresult *result = NULL;
    for (;;) {
        if (!await_result(conn, err)) return false;
        PGresult *next = PQgetResult(conn->pg);
        if (!next) break;
        pgresult_close(&result);
        result = next;
        if (PQresultStatus(result) == PGRES_COPY_OUT) break;
    }
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_BAD_RESPONSE || status == PGRES_FATAL_ERROR || status == PGRES_EMPTY_QUERY)
        return status == PGRES_EMPTY_QUERY
                   ? err_code(err, LH_INVALID, "source_refused", "the query is empty")
                   : refused(conn, result, err);
    *out = TAKE(result);
    return true;
}

bool pgconn_run(PgConn *conn, const char *sql, const char *const *params, int count, PGresult **out,
                Err *err) {
    if (!PQsendQueryParams(conn->pg, sql, count, NULL, params, NULL, NULL, 0))
        return lost(conn, err);
    return finish(conn, out, err);
}

/* The extended protocol takes one statement: "a; b" is refused by the server. */
bool pgconn_describe(PgConn *conn, const char *sql, PGresult **out, Err *err) {
    OWNED(pgresult_close) PGresult *prepared = NULL;
    if (!PQsendPrepare(conn->pg, "", sql, 0, NULL)) return lost(conn, err);
    if (!finish(conn, &prepared, err)) return false;
    if (!PQsendDescribePrepared(conn->pg, "")) return lost(conn, err);
    return finish(conn, out, err);
}

bool pgconn_copy(PgConn *conn, const char *sql, Err *err) {
    OWNED(pgresult_close) PGresult *result = NULL;
    if (!PQsendQuery(conn->pg, sql)) return lost(conn, err);
    if (!finish(conn, &result, err)) return false;
    if (PQresultStatus(result) != PGRES_COPY_OUT || !PQbinaryTuples(result))
        return err_set(err, LH_CORRUPT, "PostgreSQL does not copy in its binary format");
    return true;
}

bool pgconn_next(PgConn *conn, char **data, size_t *size, Err *err) {
    for (;;) {
        char *buffer = NULL;
        int len = PQgetCopyData(conn->pg, &buffer, 1);
        if (len > 0) return *data = buffer, *size = (size_t)len, true;
        if (len == -2) return lost(conn, err);
        if (len == -1) break;
        if (!await_socket(conn, POLLIN, conn->idle_ms, err)) return false;
        if (!PQconsumeInput(conn->pg)) return lost(conn, err);
    }
    OWNED(pgresult_close) PGresult *result = NULL;
    if (!finish(conn, &result, err)) return false;
    *data = NULL;
    *size = 0;
    return true;
}
