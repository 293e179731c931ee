/* Between the files of the PostgreSQL connector:
 *
 *     postgres_conn.c   a connection: its deadlines, its session, its words when it fails
 *     postgres_value.c  rows of COPY's binary format -> values of a batch
 *     postgres_types.c  the one table of types, and a column's place in it
 *     postgres_plan.c   a request -> columns and a statement
 *     postgres_parts.c  the statement of each part
 *     postgres.c        the Source
 *
 * Source: PostgreSQL, "COPY, Binary Format", and the send functions of its types. Thread rule: a
 * PgConn and a PgReader belong to one thread at a time. */
#pragma once

#include "ingest/source.h"

#include <libpq-fe.h>
#include <stdatomic.h>
#include <stdlib.h>

/* postgres_value.c */

/* What a value could not be. Those from LOSS_MALFORMED on end the part. */
typedef enum PgLoss {
    LOSS_NONE,
    LOSS_NOT_FINITE,
    LOSS_RANGE,
    LOSS_MIDNIGHT,
    LOSS_BOUNDS,  /* the value is there all the same */
    LOSS_COUNTED, /* how many of them are counted, as warnings */
    LOSS_MALFORMED = LOSS_COUNTED,
    LOSS_DIMENSIONS,
} PgLoss;
extern const char *const pg_loss_words[LOSS_COUNTED];

/* Where a column's values go: of the batch that is being filled, or of a list in it. */
typedef struct PgSlot {
    BatchVector *vector;
    void *values; /* NULL for bytes and lists */
} PgSlot;

typedef struct PgColumn PgColumn;
/* Sets the cell, or leaves it NULL and says why. Any bytes may come. */
typedef PgLoss PgDecode(const PgColumn *column, const PgSlot *slot, size_t row, Bytes value);
struct PgColumn {
    Str name, declared;
    Type type;
    PgDecode *decode;
    const PgColumn *element; /* of a list */
    Str before, after;       /* around the column, as it is asked for: "" and "::text" */
    Str notice;              /* a warning about the column as a whole; empty: none */
    bool not_null;           /* as declared */
};

PgDecode pg_bool, pg_int2, pg_int4, pg_int8, pg_uint4, pg_uint8, pg_float4, pg_float8, pg_numeric,
    pg_money, pg_date, pg_time, pg_timestamp, pg_uuid, pg_bytea, pg_text, pg_bpchar, pg_char,
    pg_jsonb, pg_inet, pg_list;

/* A stream of COPY TO STDOUT (FORMAT binary). After the columns may come one more value, which is
 * kept as the text it is: of the cursor column. */
typedef struct PgReader {
    const PgColumn *columns;
    size_t count;
    bool has_last;
    bool has_header, ended;
    PgSlot *slots;
    int64_t (*losses)[LOSS_COUNTED]; /* per column */
    int64_t rows;                    /* read so far, for messages */
    Text last;
} PgReader;
/* One message of CopyData: a header, a row, or the trailer; or several. At most `room` rows, to
 * `row` and on; *message moves past what was read. LH_CORRUPT, or LH_INVALID for what cannot be
 * kept. */
bool pg_read(PgReader *reader, Bytes *message, size_t row, size_t room, size_t *rows, Err *err);
/* The cursor's value of the row that a message begins with; its data is NULL when it is NULL, or
 * there is no such row. */
Str pg_peek_last(const PgReader *reader, Bytes message);

/* postgres_types.c */

/* A row of docs/postgresql.md and of the mapping. */
typedef struct PgType {
    unsigned oid;        /* 0: by the name, or the rule that postgres_types.c tells */
    const char *name;    /* as in CREATE TABLE */
    const char *becomes; /* SQL spelling; what people read when `decode` is NULL */
    TypeKind kind, plain;
    PgDecode *decode; /* NULL: made by a rule of its own */
    bool as_text;     /* asked for as ::text */
    const char *note;
} PgType;
extern const PgType pg_types[];
extern const size_t pg_type_count;

/* What the catalog says of a column's type. */
typedef struct PgDeclared {
    unsigned oid;
    int typmod;
    char kind;             /* pg_type.typtype: b base, e enum, c composite, r range, ... */
    Str name, space, text; /* typname, its schema; format_type() */
    unsigned element;      /* of an array, domains seen through; 0: none */
    char element_kind;
    Str element_name, element_space;
    int element_typmod;
    int dimensions;   /* as declared, of a table's column; else 0 */
    int money_digits; /* of lc_monetary */
} PgDeclared;
void pg_map(const PgDeclared *declared, TypeMapping mapping, Arena *arena, PgColumn *out);
/* The type that a user wants instead: a cast. LH_INVALID for what there is no cast to. */
bool pg_map_to(Str sql, Arena *arena, PgColumn *out, Err *err);
void pg_types_write(Text *out); /* the rows of docs/postgresql.md */

/* postgres_conn.c */

typedef struct PgConn {
    PGconn *pg;
    Str password; /* so that no message holds it */
    int64_t idle_ms;
    int wake; /* readable once the source is cancelled */
    const atomic_bool *cancelled;
} PgConn;
typedef struct PgDial {
    Str dsn, allow_hosts;
    int64_t connect_ms, idle_ms;
    int wake;
    const atomic_bool *cancelled;
} PgDial;
bool pgconn_check(const PgDial *dial, Err *err); /* the dsn, and its hosts against the list */
/* `arena` keeps the password. */
bool pgconn_open(const PgDial *dial, Arena *arena, PgConn *out, Err *err);
void pgconn_close(PgConn *conn);
void pgresult_close(PGresult **result);
/* A statement with text parameters. A refusal is LH_INVALID "source_refused" or LH_DENIED
 * "source_denied", a silence LH_OFFLINE "source_unreachable". */
bool pgconn_run(PgConn *conn, const char *sql, const char *const *params, int count, PGresult **out,
                Err *err);
/* What a statement would give, without running it. */
bool pgconn_describe(PgConn *conn, const char *sql, PGresult **out, Err *err);
bool pgconn_copy(PgConn *conn, const char *sql, Err *err); /* begins it */
/* The next message, to be freed by PQfreemem; *size 0 at the end, which was checked. */
bool pgconn_next(PgConn *conn, char **data, size_t *size, Err *err);
bool pgconn_unreachable(const char *words, Err *err);

/* postgres_plan.c */

/* A table of its own, or a partition, or one that inherits: with pages of its own. */
typedef struct PgPiece {
    Str sql; /* its name, quoted */
    int64_t pages;
} PgPiece;

typedef struct PgPlan {
    PgColumn *columns;
    size_t count;
    Str table; /* schema.table, for people; empty: a query */
    Str *key;  /* columns of its primary key */
    size_t key_count;
    bool has_last;   /* rows end with the cursor column once more, as text */
    Str values;      /* SELECT q.c1, ... */
    Str select;      /* values FROM ... AS q, without an end */
    Str ending;      /* WHERE and ORDER BY of the cursor; empty: none */
    PgPiece *pieces; /* that parts may share, all that there are; none: there is one part */
    size_t piece_count;
    int64_t pages;   /* of all pieces */
    Str piece_names; /* "id" AS c1, ... */
    int64_t rows_estimate;
} PgPlan;
/* In the transaction that `conn` has begun. */
bool pg_plan(PgConn *conn, const SourceRequest *request, Arena *arena, PgPlan *out, Err *err);
Str pg_quoted(PgConn *conn, const char *name, Arena *arena);
static inline int64_t pg_number_at(const PGresult *result, int row, int column) {
    return strtoll(PQgetvalue(result, row, column), NULL, 10);
}

/* postgres_parts.c */

/* None, when there is something against reading in parts. */
bool pg_plan_pieces(PgConn *conn, Str oid, Arena *arena, PgPlan *plan, Err *err);
size_t pg_plan_parts(const PgPlan *plan, int64_t wanted);
/* COPY (...) of one of `parts`. */
const char *pg_plan_copy(const PgPlan *plan, size_t part, size_t parts, Arena *arena);
