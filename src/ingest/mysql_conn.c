/* A connection of libmariadb's with deadlines of ours, and its errors as ours.
 *
 * Rows are read with mysql_net_read_packet, packet by packet as they come: mysql_stmt_fetch would
 * have the same bytes, but neither it nor its result callback says where a row ends, and what a
 * server sends is not to be trusted so far. The library still sees a statement whose result was
 * read to its end: myconn_row tells it so.
 *
 * The server is asked for nothing that could turn against this machine: LOAD DATA LOCAL is off, so
 * is the plugin that sends the password as it is, and so are option files and environment. */
#include "ingest/mysql.h"

#include <errmsg.h>
#include <fcntl.h>
#include <ma_pvio.h>
#include <mysqld_error.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PACKET_MAX (1ul << 30) /* the protocol's own limit of a row */
#define PARAMS_MAX 4
#define SECRET_MIN 4 /* shorter ones would take every second letter out of a message */
#define PLUGINS_ALLOWED "mysql_native_password,client_ed25519,caching_sha2_password,sha256_password"

/* Errors. */

/* Numbers of the server and the library that mean more than a refused statement. */
static const struct MyError {
    unsigned number;
    ErrKind kind;
    const char *code;
} my_errors[] = {
    {ER_ACCESS_DENIED_ERROR,              LH_DENIED,   "source_denied"     },
    {ER_DBACCESS_DENIED_ERROR,            LH_DENIED,   "source_denied"     },
    {ER_TABLEACCESS_DENIED_ERROR,         LH_DENIED,   "source_denied"     },
    {ER_COLUMNACCESS_DENIED_ERROR,        LH_DENIED,   "source_denied"     },
    {ER_SPECIFIC_ACCESS_DENIED_ERROR,     LH_DENIED,   "source_denied"     },
    {ER_ACCESS_DENIED_NO_PASSWORD_ERROR,  LH_DENIED,   "source_denied"     },
    {ER_HOST_NOT_PRIVILEGED,              LH_DENIED,   "source_denied"     },
    {ER_MUST_CHANGE_PASSWORD,             LH_DENIED,   "source_denied"     },
    {CR_AUTH_PLUGIN_CANNOT_LOAD,          LH_DENIED,   "source_denied"     },
    {CR_AUTH_PLUGIN_ERR,                  LH_DENIED,   "source_denied"     },
    {ER_CON_COUNT_ERROR,                  LH_OFFLINE,  "source_unreachable"},
    {ER_TOO_MANY_USER_CONNECTIONS,        LH_OFFLINE,  "source_unreachable"},
    {ER_SERVER_SHUTDOWN,                  LH_OFFLINE,  "source_unreachable"},
    {ER_CONNECTION_KILLED,                LH_OFFLINE,  "source_unreachable"},
    {ER_QUERY_INTERRUPTED,                LH_OFFLINE,  "source_unreachable"},
    {ER_TABLE_DEF_CHANGED,                LH_CONFLICT, NULL                },
    {ER_LOCK_WAIT_TIMEOUT,                LH_BUSY,     NULL                },
    {1969 /* ER_STATEMENT_TIMEOUT */,     LH_TIMEOUT,  NULL                },
    {3024 /* MySQL's ER_QUERY_TIMEOUT */, LH_TIMEOUT,  NULL                },
};

static struct MyError error_of(unsigned number) {
    for (size_t i = 0; i < COUNT(my_errors); i++)
        if (my_errors[i].number == number) return my_errors[i];
    if (number >= CR_MIN_ERROR && number <= 2999)
        return (struct MyError){number, LH_OFFLINE, "source_unreachable"};
    if (number >= 5000 && number <= 5999) /* of MariaDB's library */
        return (struct MyError){number, LH_OFFLINE, "source_unreachable"};
    return (struct MyError){number, LH_INVALID, "source_refused"};
}

/* One line, and without the password should the words hold it. */
static Str said(const char *words, Str password, char *out, size_t size) {
    Str rest = str_from(words);
    size_t len = 0;
    while (rest.len && len + 4 < size) {
        if (password.len >= SECRET_MIN && str_starts(rest, password)) {
            for (int i = 0; i < 3; i++) out[len++] = '*';
            rest = str_slice(rest, password.len, rest.len);
            continue;
        }
        out[len++] = (unsigned char)rest.data[0] < ' ' ? ' ' : rest.data[0];
        rest = str_slice(rest, 1, rest.len);
    }
    return str_trim((Str){out, len});
}

static bool cancelled(Err *err) {
    return err_set(err, LH_CANCELLED, "reading from the source was cancelled");
}

static bool fail(const MyConn *conn, unsigned number, const char *words, Err *err) {
    char line[400];
    struct MyError known = error_of(number);
    Str text = said(words, conn->dsn->password, line, sizeof line);
    if (atomic_load(conn->cancelled)) return cancelled(err);
    if (known.kind == LH_OFFLINE)
        return err_code(err, known.kind, known.code,
                        "the MySQL server '%.*s' is out of reach: %.*s", SHOW(conn->dsn->host),
                        SHOW(text));
    return err_code(err, known.kind, known.code, "the MySQL server says: %.*s", SHOW(text));
}

bool myconn_failed(MyConn *conn, MYSQL_STMT *stmt, Err *err) {
    if (stmt && mysql_stmt_errno(stmt))
        return fail(conn, mysql_stmt_errno(stmt), mysql_stmt_error(stmt), err);
    return fail(conn, mysql_errno(conn->mysql), mysql_error(conn->mysql), err);
}

/* Connections. */

static void library_open(void) {
    mysql_library_init(0, NULL, NULL);
}

static unsigned seconds(int64_t ms) {
    return (unsigned)MAX((ms + 999) / 1000, 1);
}

static void set_flag(MYSQL *mysql, enum mysql_option option, bool value) {
    my_bool flag = value;
    mysql_optionsv(mysql, option, &flag);
}

static void set_path(MYSQL *mysql, enum mysql_option option, Str path) {
    if (path.len) mysql_optionsv(mysql, option, path.data);
}

static void set_tls(MYSQL *mysql, const MyDsn *dsn) {
    bool verify = str_is(dsn->tls, "true");
    set_path(mysql, MYSQL_OPT_SSL_CA, dsn->ssl_ca);
    set_path(mysql, MYSQL_OPT_SSL_CAPATH, dsn->ssl_capath);
    set_path(mysql, MYSQL_OPT_SSL_CERT, dsn->ssl_cert);
    set_path(mysql, MYSQL_OPT_SSL_KEY, dsn->ssl_key);
    /* ENFORCE with true asks for TLS; whether it is there is looked at afterwards. */
    set_flag(mysql, MYSQL_OPT_SSL_ENFORCE, !str_is(dsn->tls, "false"));
    set_flag(mysql, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, verify);
}

static void set_options(MYSQL *mysql, const MyDsn *dsn, int64_t connect_ms) {
    unsigned timeout = seconds(connect_ms), off = 0;
    unsigned protocol = dsn->socket.len ? MYSQL_PROTOCOL_SOCKET : MYSQL_PROTOCOL_TCP;
    unsigned long packet_max = PACKET_MAX;
    mysql_optionsv(mysql, MYSQL_OPT_CONNECT_TIMEOUT, &timeout);
    mysql_optionsv(mysql, MYSQL_OPT_READ_TIMEOUT, &timeout);
    mysql_optionsv(mysql, MYSQL_OPT_WRITE_TIMEOUT, &timeout);
    mysql_optionsv(mysql, MYSQL_OPT_PROTOCOL, &protocol);
    mysql_optionsv(mysql, MYSQL_OPT_LOCAL_INFILE, &off);
    mysql_optionsv(mysql, MYSQL_OPT_MAX_ALLOWED_PACKET, &packet_max);
    mysql_optionsv(mysql, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    mysql_optionsv(mysql, MARIADB_OPT_RESTRICTED_AUTH, PLUGINS_ALLOWED);
    mysql_options4(mysql, MYSQL_OPT_CONNECT_ATTR_ADD, "program_name", "lakehouse");
    set_flag(mysql, MYSQL_OPT_RECONNECT, false);
    if (!dsn->socket.len) set_tls(mysql, dsn);
}

/* Reading may take longer than connecting: what was asked for may have to be computed first. */
static void set_idle(MyConn *conn) {
    MARIADB_PVIO *io = conn->mysql->net.pvio;
    io->methods->set_timeout(io, PVIO_READ_TIMEOUT, (int)seconds(conn->idle_ms));
    io->methods->set_timeout(io, PVIO_WRITE_TIMEOUT, (int)seconds(conn->idle_ms));
}

static bool is_encrypted(const MyConn *conn, Err *err) {
    const MyDsn *dsn = conn->dsn;
    if (dsn->socket.len || str_is(dsn->tls, "false") || str_is(dsn->tls, "preferred")) return true;
    return mysql_get_ssl_cipher(conn->mysql) ||
           err_code(err, LH_DENIED, "source_denied",
                    "the MySQL server '%.*s' offers no TLS, which the dsn asks for",
                    SHOW(dsn->host));
}

static bool dial(MyConn *conn, int64_t connect_ms, Err *err) {
    const MyDsn *dsn = conn->dsn;
    set_options(conn->mysql, dsn, connect_ms);
    if (!mysql_real_connect(conn->mysql, dsn->host.data, dsn->user.data, dsn->password.data,
                            dsn->database.len ? dsn->database.data : NULL, (unsigned)dsn->port,
                            dsn->socket.len ? dsn->socket.data : NULL, 0))
        return myconn_failed(conn, NULL, err);
    conn->id = mysql_thread_id(conn->mysql);
    conn->socket = fcntl((int)mysql_get_socket(conn->mysql), F_DUPFD_CLOEXEC, 0);
    if (conn->socket < 0) return err_errno(err, "cannot keep the connection's descriptor");
    set_idle(conn);
    return is_encrypted(conn, err);
}

/* Times are UTC; a reader that waits for its own disk is not cut off, nor a statement that takes
 * longer than others may (each system's comment is nothing to the other); a server that is set to
 * give only so many rows gives all of them; and what was read stays as it was (a server may be set
 * to READ COMMITTED, which takes no snapshot). sql_mode stays the user's. */
static bool prepare_session(MyConn *conn, Err *err) {
    return myconn_run(conn, "SET NAMES utf8mb4", err) &&
           myconn_run(conn,
                      "SET SESSION time_zone = '+00:00', net_write_timeout = 86400, "
                      "net_read_timeout = 86400, wait_timeout = 86400, "
                      "/*!50708 max_execution_time = 0, */ /*M!100101 max_statement_time = 0, */ "
                      "sql_select_limit = 18446744073709551615",
                      err) &&
           myconn_run(conn, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", err);
}

bool myconn_open(const MyDsn *dsn, int64_t connect_ms, int64_t idle_ms, const atomic_bool *stop,
                 MyConn *out, Err *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, library_open);
    MyConn conn = {.socket = -1, .dsn = dsn, .idle_ms = idle_ms, .cancelled = stop};
    conn.mysql = mysql_init(NULL);
    if (!conn.mysql) abort();
    if (!dial(&conn, connect_ms, err) || !prepare_session(&conn, err))
        return myconn_close(&conn), false;
    *out = conn;
    return true;
}

bool myconn_again(const MyConn *like, int64_t connect_ms, MyConn *out, Err *err) {
    return myconn_open(like->dsn, connect_ms, like->idle_ms, like->cancelled, out, err);
}

/* The library would first read what a statement left on the wire, to its end. */
void myconn_close(MyConn *conn) {
    if (conn->mysql) {
        if (conn->mysql->status != MYSQL_STATUS_READY) myconn_stop(conn);
        mysql_close(conn->mysql);
    }
    fd_close(&conn->socket);
    *conn = (MyConn){.socket = -1};
}

void myconn_stop(MyConn *conn) {
    if (conn->socket >= 0) shutdown(conn->socket, SHUT_RDWR);
}

/* Statements. */

bool myconn_run(MyConn *conn, const char *sql, Err *err) {
    if (atomic_load(conn->cancelled)) return cancelled(err);
    return mysql_real_query(conn->mysql, sql, strlen(sql)) == 0 || myconn_failed(conn, NULL, err);
}

/* The library would first read what is left of the rows, to their end: then the connection goes. */
void mystmt_close(MYSQL_STMT **stmt) {
    if (!*stmt) return;
    if ((*stmt)->mysql && (*stmt)->mysql->status != MYSQL_STATUS_READY)
        shutdown((int)mysql_get_socket((*stmt)->mysql), SHUT_RDWR);
    mysql_stmt_close(*stmt);
    *stmt = NULL;
}

bool myconn_prepare(MyConn *conn, Str sql, MYSQL_STMT **out, Err *err) {
    OWNED(mystmt_close) MYSQL_STMT *stmt = mysql_stmt_init(conn->mysql);
    if (!stmt) abort();
    if (atomic_load(conn->cancelled)) return cancelled(err);
    if (mysql_stmt_prepare(stmt, sql.data, sql.len)) return myconn_failed(conn, stmt, err);
    if (mysql_stmt_field_count(stmt) > MY_COLUMNS_MAX)
        return err_set(err, LH_INVALID, "the source gives %u columns, at most %d",
                       mysql_stmt_field_count(stmt), MY_COLUMNS_MAX);
    *out = TAKE(stmt);
    return true;
}

bool myconn_execute(MyConn *conn, MYSQL_STMT *stmt, const Str *params, size_t count, Err *err) {
    MYSQL_BIND binds[PARAMS_MAX] = {0};
    if (count > PARAMS_MAX) return err_set(err, LH_BUG, "%zu parameters", count);
    if (mysql_stmt_param_count(stmt) != count)
        return err_code(err, LH_INVALID, "source_refused",
                        "the query has %lu parameters ('?'), and nothing to put there",
                        mysql_stmt_param_count(stmt));
    for (size_t i = 0; i < count; i++) {
        binds[i].buffer_type = MYSQL_TYPE_STRING;
        binds[i].buffer = (void *)params[i].data;
        binds[i].buffer_length = params[i].len;
        binds[i].length_value = params[i].len;
    }
    if (count && mysql_stmt_bind_param(stmt, binds)) return myconn_failed(conn, stmt, err);
    if (atomic_load(conn->cancelled)) return cancelled(err);
    return mysql_stmt_execute(stmt) == 0 || myconn_failed(conn, stmt, err);
}

bool myconn_row(MyConn *conn, MYSQL_STMT *stmt, Bytes *row, bool *more, Err *err) {
    MYSQL *mysql = conn->mysql;
    unsigned long size = mysql_net_read_packet(mysql);
    if (size == packet_error) return myconn_failed(conn, NULL, err);
    const uint8_t *data = mysql->net.read_pos;
    if (size > 0 && data[0] == 0) {
        *row = (Bytes){data, size};
        return *more = true;
    }
    if (size == 0 || data[0] != 0xfe || size > 8)
        return err_set(err, LH_CORRUPT, "the MySQL server sent what is neither a row nor its end");
    mysql->status = MYSQL_STATUS_READY;
    stmt->state = MYSQL_STMT_FETCH_DONE;
    *more = false;
    return true;
}

bool myconn_warning(MyConn *conn, Arena *arena, Str *out, Err *err) {
    if (!myconn_run(conn, "SHOW WARNINGS LIMIT 1", err)) return false;
    MYSQL_RES *result = mysql_store_result(conn->mysql);
    if (!result) return myconn_failed(conn, NULL, err);
    MYSQL_ROW row = mysql_fetch_row(result);
    char line[300];
    *out = (Str){0};
    if (row && mysql_num_fields(result) == 3 && row[2])
        *out = arena_copy(arena, said(row[2], conn->dsn->password, line, sizeof line));
    mysql_free_result(result);
    return true;
}
