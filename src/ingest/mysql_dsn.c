/* mysql://user:password@host:port/schema?options, and mariadb://. Each piece is percent-decoded; an
 * IPv6 address stands in brackets. What is said about a DSN never repeats it. */
#include "ingest/mysql.h"

#include "net/net.h"

#include <string.h>

#define OPTIONS                                                                                    \
    "socket, tls, ssl-ca, ssl-capath, ssl-cert, ssl-key" /* dsn_options[], for messages */

static const Option dsn_options[] = {
    {"socket",                               LH_TEXT, AT(MyDsn, socket), NULL, "path of the server's unix socket"},
    {"tls",                              LH_TEXT, AT(MyDsn, tls), "preferred", "whether the connection is encrypted",
     .choices = "false|preferred|true|skip-verify"},
    {"ssl-ca",                                  LH_TEXT, AT(MyDsn, ssl_ca), NULL, "file of the authorities to trust"},
    {"ssl-capath",                                      LH_TEXT, AT(MyDsn, ssl_capath), NULL, "directory of the authorities to trust"},
    {"ssl-cert",  LH_TEXT, AT(MyDsn, ssl_cert), NULL, "our own certificate"},
    {"ssl-key",                                  LH_TEXT, AT(MyDsn, ssl_key), NULL, "its key"},
    {0}
};

static bool malformed(const char *why, Err *err) {
    return err_code(err, LH_INVALID, "bad_dsn",
                    "%s: a dsn is mysql://user:password@host:port/schema, special characters "
                    "percent-encoded",
                    why);
}

static bool piece(Str text, Arena *arena, Str *out, Err *err) {
    Str decoded;
    if (!url_decode(text, arena, &decoded, err)) return malformed("a '%' has no two digits", err);
    *out = arena_copy(arena, decoded);
    return true;
}

static bool has(Str text, char byte) {
    return text.len && memchr(text.data, byte, text.len);
}

/* [user[:password]@]host[:port], the password may hold an @ that nobody encoded. */
static void split_user(Str *authority, Str *user, Str *password) {
    size_t at = authority->len;
    while (at > 0 && authority->data[at - 1] != '@') at--;
    *user = *password = (Str){0};
    if (at == 0) return;
    *password = str_slice(*authority, 0, at - 1);
    *user = str_until(password, ':');
    *authority = str_slice(*authority, at, authority->len);
}

static bool split_port(Str *host, int64_t *port, Err *err) {
    size_t close = 0;
    bool brackets = str_starts(*host, STR("["));
    if (brackets && !str_find(*host, STR("]"), &close))
        return malformed("the host's bracket is not closed", err);
    Str rest = str_slice(*host, brackets ? close + 1 : 0, host->len), name = *host;
    if (brackets)
        name = str_slice(*host, 1, close);
    else
        name = str_until(&rest, ':');
    if (brackets && rest.len && rest.data[0] != ':')
        return malformed("something stands between the host and its port", err);
    if (brackets) rest = str_slice(rest, 1, rest.len);
    *host = name;
    *port = 3306;
    if (rest.len && (!str_to_i64(rest, port) || *port < 1 || *port > 65535))
        return malformed("the port is not a number from 1 to 65535", err);
    return true;
}

static bool read_options(Str query, Arena *arena, MyDsn *out, Err *err) {
    Str name, value;
    options_defaults(dsn_options, out);
    while (url_query_next(&query, arena, &name, &value, err)) {
        const Option *option = option_find(dsn_options, name);
        if (!option)
            return err_code(err, LH_INVALID, "bad_dsn",
                            "the dsn has an option that is none of: " OPTIONS);
        if (!option_set(option, arena_copy(arena, value), out, err)) return false;
    }
    return err->kind == LH_OK;
}

static void make_locator(MyDsn *dsn, Arena *arena) {
    OWNED(text_close) Text text = {0};
    bool is_v6 = has(dsn->host, ':');
    text_add(&text, STR("mysql://"));
    url_encode(&text, dsn->user);
    text_print(&text, is_v6 ? "@[%.*s]" : "@%.*s", SHOW(dsn->host));
    if (!dsn->socket.len) text_print(&text, ":%lld", (long long)dsn->port);
    text_add_byte(&text, '/');
    url_encode(&text, dsn->database);
    dsn->locator = arena_copy(arena, text_str(&text));
}

bool mydsn_read(Str text, Arena *arena, MyDsn *out, Err *err) {
    MyDsn dsn = {0};
    size_t scheme;
    if (!str_find(text, STR("://"), &scheme) || (!str_is(str_slice(text, 0, scheme), "mysql") &&
                                                 !str_is(str_slice(text, 0, scheme), "mariadb")))
        return malformed("the dsn does not begin with mysql:// or mariadb://", err);
    Str query = str_slice(text, scheme + 3, text.len), user, password;
    Str path = str_until(&query, '?');
    Str authority = str_until(&path, '/');
    /* What looks like a host with a schema may be the halves of a password. */
    if (has(path, '@') || has(path, '/') || has(query, '@'))
        return malformed("a '/', '?' or '@' stands where none can", err);
    split_user(&authority, &user, &password);
    if (!split_port(&authority, &dsn.port, err) || !piece(authority, arena, &dsn.host, err) ||
        !piece(user, arena, &dsn.user, err) || !piece(password, arena, &dsn.password, err) ||
        !piece(path, arena, &dsn.database, err) || !read_options(query, arena, &dsn, err))
        return false;
    if (dsn.socket.len) dsn.host = STR("localhost");
    if (!dsn.host.len) return malformed("the dsn names no host", err);
    make_locator(&dsn, arena);
    *out = dsn;
    return true;
}

bool mydsn_allowed(const MyDsn *dsn, Str allow_hosts, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    Str with_port = arena_print(&arena, "%.*s:%lld", SHOW(dsn->host), (long long)dsn->port);
    Str rest = allow_hosts;
    if (!str_trim(rest).len) return true;
    while (rest.len) {
        Str one = str_trim(str_until(&rest, ','));
        if (str_equal_nocase(one, dsn->host) || str_equal_nocase(one, with_port)) return true;
    }
    return err_code(err, LH_DENIED, "host_not_allowed",
                    "the host '%.*s' is not in the list of hosts that may be read from",
                    SHOW(dsn->host));
}
