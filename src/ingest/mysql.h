/* Between the files of the MySQL and MariaDB connector:
 *
 *     mysql_dsn.c    mysql://user:password@host:port/schema?options
 *     mysql_conn.c   a connection: its deadlines, its session, its words when it fails
 *     mysql_value.c  bytes of the binary protocol -> values of a batch
 *     mysql_types.c  the one table of types, and a column's place in it
 *     mysql_plan.c   a request -> the statement of each part
 *     mysql.c        the Source
 *
 * Source: MySQL client/server protocol, "Binary Protocol Resultset Row". Thread rule: a MyConn and
 * what it reads into belong to one thread at a time; myconn_stop may come from any. */
#pragma once

#include "ingest/source.h"

#include <mysql.h>
#include <stdatomic.h>

#define MY_COLUMNS_MAX 4096 /* of the server */

/* mysql_dsn.c */
typedef struct MyDsn {
    Str host, user, password, database; /* decoded; each is followed by a NUL */
    int64_t port;
    Str socket; /* of a unix socket; empty: TCP */
    Str tls;    /* false preferred true skip-verify */
    Str ssl_ca, ssl_capath, ssl_cert, ssl_key;
    Str locator; /* without password and options */
} MyDsn;
bool mydsn_read(Str text, Arena *arena, MyDsn *out, Err *err);
/* LH_DENIED unless the list is empty or names the host, with or without its port. */
bool mydsn_allowed(const MyDsn *dsn, Str allow_hosts, Err *err);

/* mysql_conn.c */
typedef struct MyConn {
    MYSQL *mysql;
    unsigned long id; /* of the server's thread */
    int socket;       /* a second descriptor of its socket, ours until it is closed; -1: none */
    const MyDsn *dsn;
    int64_t idle_ms;
    const atomic_bool *cancelled;
} MyConn;
bool myconn_open(const MyDsn *dsn, int64_t connect_ms, int64_t idle_ms,
                 const atomic_bool *cancelled, MyConn *out, Err *err);
bool myconn_again(const MyConn *like, int64_t connect_ms, MyConn *out, Err *err); /* one more */
void myconn_close(MyConn *conn); /* at once, whatever the server still has to say */
void myconn_stop(MyConn *conn);  /* whoever waits for it is told that it is over */
bool myconn_run(MyConn *conn, const char *sql, Err *err); /* a statement without rows */
/* What went wrong last, on the statement when there is one: kind and code by the server's number,
 * its words in one line, never the password. */
bool myconn_failed(MyConn *conn, MYSQL_STMT *stmt, Err *err);
bool myconn_prepare(MyConn *conn, Str sql, MYSQL_STMT **out, Err *err);
bool myconn_execute(MyConn *conn, MYSQL_STMT *stmt, const Str *params, size_t count, Err *err);
/* The next row as the server sent it, valid until the next call; *more false at the end. */
bool myconn_row(MyConn *conn, MYSQL_STMT *stmt, Bytes *row, bool *more, Err *err);
void mystmt_close(MYSQL_STMT **stmt);
/* The first thing that the server noted about the last statement; empty: nothing. */
bool myconn_warning(MyConn *conn, Arena *arena, Str *out, Err *err);

/* mysql_value.c */

/* How a value lies on the wire. */
typedef enum MyShape {
    SHAPE_INT,    /* 1, 2, 4 or 8 bytes, whatever fits 64 bits with a sign */
    SHAPE_UINT64, /* 8 bytes */
    SHAPE_FLOAT,
    SHAPE_DOUBLE,
    SHAPE_DECIMAL, /* text */
    SHAPE_BIT,     /* up to 8 bytes, big endian */
    SHAPE_YEAR,
    SHAPE_DATE,
    SHAPE_DATETIME,
    SHAPE_TIME,
    SHAPE_TEXT,
    SHAPE_BYTES,
    SHAPE_GEOMETRY, /* four bytes of SRID, WKB */
    SHAPE_NULL,     /* no bytes: the column of a bare NULL */
    SHAPE_COUNT
} MyShape;

/* What a value could not be; each is a warning of its column. */
typedef enum MyOdd { ODD_ZERO_DATE, ODD_INVALID_DATE, ODD_SRID, ODD_WIDE, ODD_COUNT } MyOdd;
extern const char *const my_odd_names[ODD_COUNT];

typedef struct MyColumn {
    Str name, declared;
    MyShape shape;
    int width;        /* bytes, of integers */
    bool is_unsigned; /* of an integer below 64 bits */
    int decimals;     /* of seconds; above 6: as many as there are */
    bool is_checked;  /* a boolean that no query of ours and no user said it is */
    bool is_wide;     /* a decimal that no decimal of ours holds */
    Type type;
} MyColumn;

typedef struct MyBytes { /* what is left of a row */
    const uint8_t *at, *end;
} MyBytes;

/* One column of the part that is read: where values go and what was odd about them. */
typedef struct MyCell {
    const MyColumn *column;
    BatchVector *vector;
    void *values; /* of the vector; NULL for bytes */
    int64_t odd[ODD_COUNT];
    Text text; /* scratch */
} MyCell;

typedef bool MyDecode(MyCell *cell, MyBytes *in, size_t row, Err *err);
/* NULL when values of the shape never become that kind. */
MyDecode *my_decoder(MyShape shape, TypeKind kind);
/* LH_CORRUPT: the bytes are none of the protocol's. LH_INVALID: the value is none of the type's,
 * which only types that the user gave can be. */
bool my_value_text(const MyColumn *column, MyBytes *in, Text *out, Err *err); /* exact */
/* A row packet into row `row` of the vectors. `last`, when not NULL, gets the bytes of the value of
 * column `last_column`, as they were sent, unless it is NULL. */
typedef struct MyRow {
    MyCell *cells;
    MyDecode **decode;
    size_t count;
    size_t last_column; /* count: none */
    Text last;
} MyRow;
bool my_row_decode(MyRow *row, Bytes packet, size_t at, Err *err);
/* The bytes of the cursor's value, as row->last has them; data NULL: it is NULL, or malformed. */
Str my_row_peek(const MyRow *row, Bytes packet);
/* A row of text, for questions to the catalog: NULL is {NULL, 0}; in the arena. */
bool my_row_texts(const MyColumn *columns, size_t count, Bytes packet, Arena *arena, Str *out,
                  Err *err);

/* The parts of it that are worth a test of their own. */
bool my_decimal(Str text, int precision, int scale, __int128 *out);
bool my_uuid(Str text, __int128 *out);
bool my_date_valid(int year, int month, int day);
int32_t my_date_days(int year, int month, int day); /* since 1970 */

/* mysql_types.c */

/* A row of docs/mysql.md and of the mapping; the first whose wire type and conditions hold. */
typedef struct MyRule {
    const char *declared;      /* as in CREATE TABLE */
    const char *exact, *plain; /* what it becomes, for people */
    const char *note;
    int wire;      /* enum enum_field_types; -1: the others */
    unsigned when; /* MY_... that all hold */
    MyShape shape;
    int width;
    TypeKind exact_kind, plain_kind;
} MyRule;
extern const MyRule my_rules[];
extern const size_t my_rule_count;

/* The columns of a prepared statement. LH_INVALID when it gives none. */
bool my_columns(MYSQL_STMT *stmt, TypeMapping mapping, Arena *arena, MyColumn **out, size_t *count,
                Err *err);
/* True: tinyint(1), which may or may not be a boolean. */
bool my_is_maybe_boolean(const MyColumn *column);
void my_make_int(MyColumn *column);
/* The wanted type: *cast is empty when the column's own values become it without loss, else the
 * expression with %s where the column stands. LH_INVALID when nothing makes it. */
bool my_cast(MyColumn *column, const Type *wanted, Arena *arena, const char **cast, Err *err);

/* Once the server was asked what the cast gives: how that lies on the wire. */
bool my_cast_made(MyColumn *column, const MyColumn *made, Arena *arena, Err *err);
bool my_same_wire(const MyColumn *a, const MyColumn *b);

/* mysql_plan.c */
typedef struct MyPlan {
    Str schema, table; /* as the server spells them; empty for a query */
    Str *key;          /* columns of the primary key */
    size_t key_count;
    MyColumn *columns;
    size_t column_count, cursor; /* cursor: column_count when there is none */
    Str *sql;                    /* per part */
    size_t parts;
    Str after;
    bool has_after, has_casts;
    int64_t rows_estimate;
    const char *one_part; /* why there is but one, when more were asked for; or NULL */
} MyPlan;
/* conns[0] is open; the plan opens those of the other parts, each in a snapshot of its own of one
 * state. The caller closes all, SOURCE_PARTS_MAX of them, also when this fails. */
bool my_plan(const SourceRequest *request, MyConn *conns, Arena *arena, MyPlan *out, Err *err);
