#include "ingest/pg.h"
#include "ingest/postgres.h"

#include <stdlib.h>

/* ---- Values: what PostgreSQL prints is what arrives ---- */

typedef struct Case {
    const char *value, *type;
    const char *text; /* as DuckDB prints it; NULL: as psql does */
    const char *warning;
} Case;
#define IS_NULL "(null)"
#define NOT_FINITE "1 NaN and infinite numbers became NULL"
#define OUT_OF_RANGE "1 infinite dates and times, and those out of range, became NULL"

static const Case cases[] = {
    {"true",                                                               "BOOLEAN",                  "true",                       NULL                             },
    {"false",                                                              "BOOLEAN",                  "false",                      NULL                             },
    {"NULL::boolean",                                                      "BOOLEAN",                  IS_NULL,                      NULL                             },
    {"32767::int2",                                                        "INTEGER",                  NULL,                         NULL                             },
    {"'-32768'::int2",                                                     "INTEGER",                  NULL,                         NULL                             },
    {"'-2147483648'::int4",                                                "INTEGER",                  NULL,                         NULL                             },
    {"2147483647",                                                         "INTEGER",                  NULL,                         NULL                             },
    {"'-9223372036854775808'::int8",                                       "BIGINT",                   NULL,                         NULL                             },
    {"9223372036854775807::int8",                                          "BIGINT",                   NULL,                         NULL                             },
    {"4294967295::oid",                                                    "BIGINT",                   NULL,                         NULL                             },
    {"'4294967295'::xid",                                                  "BIGINT",                   NULL,                         NULL                             },
    {"'4294967294'::cid",                                                  "BIGINT",                   NULL,                         NULL                             },
    {"'18446744073709551615'::xid8",                                       "DECIMAL(20,0)",            NULL,                         NULL                             },
    {"'FFFFFFFF/FFFFFFFF'::pg_lsn",                                        "DECIMAL(20,0)",            "18446744073709551615",       NULL                             },
    {"'3.4028235e38'::float4",                                             "FLOAT",                    NULL,                         NULL                             },
    {"'1e-45'::float4",                                                    "FLOAT",                    NULL,                         NULL                             },
    {"'NaN'::float4",                                                      "FLOAT",                    "nan",                        NULL                             },
    {"'-0'::float4",                                                       "FLOAT",                    "-0.0",                       NULL                             },
    {"'1.7976931348623157e308'::float8",                                   "DOUBLE",                   NULL,                         NULL                             },
    {"'5e-324'::float8",                                                   "DOUBLE",                   NULL,                         NULL                             },
    {"'-Infinity'::float8",                                                "DOUBLE",                   "-inf",                       NULL                             },
    {"0.1::float8",                                                        "DOUBLE",                   NULL,                         NULL                             },
    {"9999999999.99::numeric(12,2)",                                       "DECIMAL(12,2)",            NULL,                         NULL                             },
    {"'-0.01'::numeric(12,2)",                                             "DECIMAL(12,2)",            NULL,                         NULL                             },
    {"0::numeric(12,2)",                                                   "DECIMAL(12,2)",            NULL,                         NULL                             },
    {"9.9::numeric(2,1)",                                                  "DECIMAL(2,1)",             NULL,                         NULL                             },
    {"'-9999'::numeric(4,0)",                                              "DECIMAL(4,0)",             NULL,                         NULL                             },
    {"123456.789::numeric(9,3)",                                           "DECIMAL(9,3)",             NULL,                         NULL                             },
    {"100000000::numeric(9,0)",                                            "DECIMAL(9,0)",             NULL,                         NULL                             },
    {"0.00000001::numeric(18,8)",                                          "DECIMAL(18,8)",            NULL,                         NULL                             },
    {"'-9999999999999999999999999999.9999999999'::numeric(38,10)",         "DECIMAL(38,10)",           NULL,                         NULL                             },
    {"99999999999999999999999999999999999999::numeric(38,0)",              "DECIMAL(38,0)",            NULL,                         NULL                             },
    {"0.00000000000000000000000000000000000001::numeric(38,38)",           "DECIMAL(38,38)",
     ".00000000000000000000000000000000000001",                                                                                      NULL                             },
    {"'NaN'::numeric(12,2)",                                               "DECIMAL(12,2)",            IS_NULL,                      NOT_FINITE                       },
    {"12345::numeric(5,-2)",                                               "DECIMAL(7,0)",             NULL,                         NULL                             },
    {"0.00123::numeric(3,5)",                                              "DECIMAL(5,5)",             ".00123",                     NULL                             },
    {"123456789012345678901234567890123456789012345.12345::numeric(50,5)", "VARCHAR",                  NULL,
     "1 numbers of more than 38 digits became text"                                                                                                                   },
    {"'1e-40'::numeric + 1e60",                                            "VARCHAR",                  NULL,                         NULL                             },
    {"'NaN'::numeric",                                                     "VARCHAR",                  NULL,                         NULL                             },
    {"'-Infinity'::numeric",                                               "VARCHAR",                  NULL,                         NULL                             },
    {"1.50::numeric",                                                      "VARCHAR",                  NULL,                         NULL                             },
    {"'92233720368547758.07'::money",                                      "DECIMAL(19,2)",            "92233720368547758.07",       NULL                             },
    {"'-92233720368547758.08'::money",                                     "DECIMAL(19,2)",            "-92233720368547758.08",      NULL                             },
    {"'2024-02-29'::date",                                                 "DATE",                     NULL,                         NULL                             },
    {"'5874897-12-31'::date",                                              "DATE",                     NULL,                         NULL                             },
    {"'4713-01-01 BC'::date",                                              "DATE",                     "4713-01-01 (BC)",            NULL                             },
    {"'infinity'::date",                                                   "DATE",                     IS_NULL,                      OUT_OF_RANGE                     },
    {"'-infinity'::date",                                                  "DATE",                     IS_NULL,                      OUT_OF_RANGE                     },
    {"'23:59:59.999999'::time",                                            "TIME",                     NULL,                         NULL                             },
    {"'00:00'::time",                                                      "TIME",                     NULL,                         NULL                             },
    {"'24:00:00'::time",                                                   "TIME",                     IS_NULL,                      "1 times of 24:00:00 became NULL"},
    {"'23:59:59.999999+15:59'::timetz",                                    "VARCHAR",                  NULL,                         NULL                             },
    {"'2024-02-29 12:00:00.000001'::timestamp",                            "TIMESTAMP",                NULL,                         NULL                             },
    {"'1969-12-31 23:59:59.999999'::timestamp",                            "TIMESTAMP",                NULL,                         NULL                             },
    {"'294246-12-31 23:59:59.999999'::timestamp",                          "TIMESTAMP",                NULL,                         NULL                             },
    {"'294276-12-31 23:59:59.999999'::timestamp",                          "TIMESTAMP",                IS_NULL,                      OUT_OF_RANGE                     },
    {"'4713-01-01 BC'::timestamp",                                         "TIMESTAMP",                "4713-01-01 (BC) 00:00:00",   NULL                             },
    {"'infinity'::timestamp",                                              "TIMESTAMP",                IS_NULL,                      OUT_OF_RANGE                     },
    {"'-infinity'::timestamptz",                                           "TIMESTAMP WITH TIME ZONE", IS_NULL,                      OUT_OF_RANGE                     },
    {"'2024-06-01 12:00+02'::timestamptz",                                 "TIMESTAMP WITH TIME ZONE", "2024-06-01 10:00:00+00",
     NULL                                                                                                                                                             },
    {"'178000000 years 11 mons 30 days 23:59:59.999999'::interval",        "VARCHAR",                  NULL,                         NULL                             },
    {"'1 mon -1 days +01:00:00.5'::interval",                              "VARCHAR",                  "P1M-1DT1H0.5S",              NULL                             },
    {"'3 years 2 mons'::interval year to month",                           "VARCHAR",                  "P3Y2M",                      NULL                             },
    {"'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid",                       "UUID",                     NULL,                         NULL                             },
    {"'00000000-0000-0000-0000-000000000000'::uuid",                       "UUID",                     NULL,                         NULL                             },
    {"'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid",                       "UUID",                     NULL,                         NULL                             },
    {"'\\x00ff10'::bytea",                                                 "BLOB",                     "\\x00\\xFF\\x10",            NULL                             },
    {"''::bytea",                                                          "BLOB",                     "",                           NULL                             },
    {"'té😀xt'",                                                        "VARCHAR",                  NULL,                         NULL                             },
    {"''::text",                                                           "VARCHAR",                  "",                           NULL                             },
    {"repeat('ü', 70000)",                                                "VARCHAR",                  NULL,                         NULL                             },
    {"'héllo'::varchar(10)",                                              "VARCHAR",                  NULL,                         NULL                             },
    {"'ab'::char(5)",                                                      "VARCHAR",                  "ab",                         NULL                             },
    {"'c'::\"char\"",                                                      "VARCHAR",                  NULL,                         NULL                             },
    {"'nm'::name",                                                         "VARCHAR",                  NULL,                         NULL                             },
    {"'{\"a\": 1, \"a\" : 2}'::json",                                      "VARCHAR",                  NULL,                         NULL                             },
    {"'{\"b\":1e400,\"a\":[1,2]}'::jsonb",                                 "VARCHAR",                  NULL,                         NULL                             },
    {"'$.a'::jsonpath",                                                    "VARCHAR",                  NULL,                         NULL                             },
    {"'<a>x</a>'::xml",                                                    "VARCHAR",                  NULL,                         NULL                             },
    {"'192.168.1.5/24'::inet",                                             "VARCHAR",                  NULL,                         NULL                             },
    {"'192.168.1.5'::inet",                                                "VARCHAR",                  NULL,                         NULL                             },
    {"'::1'::inet",                                                        "VARCHAR",                  NULL,                         NULL                             },
    {"'::ffff:1.2.3.4'::inet",                                             "VARCHAR",                  NULL,                         NULL                             },
    {"'2001:db8::/32'::cidr",                                              "VARCHAR",                  NULL,                         NULL                             },
    {"'10.1.2.3/32'::cidr",                                                "VARCHAR",                  NULL,                         NULL                             },
    {"'08:00:2b:01:02:03'::macaddr",                                       "VARCHAR",                  NULL,                         NULL                             },
    {"'08:00:2b:01:02:03:04:05'::macaddr8",                                "VARCHAR",                  NULL,                         NULL                             },
    {"b'101'",                                                             "VARCHAR",                  NULL,                         NULL                             },
    {"''::varbit",                                                         "VARCHAR",                  "",                           NULL                             },
    {"'(1.5,-2)'::point",                                                  "VARCHAR",                  NULL,                         NULL                             },
    {"'{1,2,3}'::line",                                                    "VARCHAR",                  NULL,                         NULL                             },
    {"'[(1,2),(3,4)]'::lseg",                                              "VARCHAR",                  NULL,                         NULL                             },
    {"'(3,4),(1,2)'::box",                                                 "VARCHAR",                  NULL,                         NULL                             },
    {"'[(1,1),(2,2)]'::path",                                              "VARCHAR",                  NULL,                         NULL                             },
    {"'((0,0),(1,1),(1,0))'::polygon",                                     "VARCHAR",                  NULL,                         NULL                             },
    {"'<(1,2),3>'::circle",                                                "VARCHAR",                  NULL,                         NULL                             },
    {"'a fat cat'::tsvector",                                              "VARCHAR",                  NULL,                         NULL                             },
    {"'fat & cat'::tsquery",                                               "VARCHAR",                  NULL,                         NULL                             },
    {"'[1,10)'::int4range",                                                "VARCHAR",                  NULL,                         NULL                             },
    {"'empty'::numrange",                                                  "VARCHAR",                  NULL,                         NULL                             },
    {"'[2024-01-01 00:00+00,)'::tstzrange",                                "VARCHAR",                  NULL,                         NULL                             },
    {"'{[1,3),[5,7)}'::int4multirange",                                    "VARCHAR",                  NULL,                         NULL                             },
    {"'pg_class'::regclass",                                               "VARCHAR",                  NULL,                         NULL                             },
    {"'(5,7)'::tid",                                                       "VARCHAR",                  NULL,                         NULL                             },
    {"'10:20:10,14'::pg_snapshot",                                         "VARCHAR",                  NULL,                         NULL                             },
    {"makeaclitem(10, 10, 'SELECT', false)",                               "VARCHAR",                  NULL,                         NULL                             },
    {"'b,\"c'::mood",                                                      "VARCHAR",                  NULL,                         NULL                             },
    {"'(1,\"x y\")'::comp",                                                "VARCHAR",                  NULL,                         NULL                             },
    {"ROW(1, NULL, 'a')",                                                  "VARCHAR",                  NULL,                         NULL                             },
    {"5::posint",                                                          "INTEGER",                  NULL,                         NULL                             },
    {"1.25::price",                                                        "DECIMAL(10,2)",            NULL,                         NULL                             },
    {"'a=>1,b=>NULL'::hstore",                                             "VARCHAR",                  NULL,                         NULL                             },
    {"'CiText'::citext",                                                   "VARCHAR",                  NULL,                         NULL                             },
    {"'a.b.c'::ltree",                                                     "VARCHAR",                  NULL,                         NULL                             },
    {"'{1,NULL,3}'::int4[]",                                               "INTEGER[]",                "[1, NULL, 3]",               NULL                             },
    {"'{}'::int4[]",                                                       "INTEGER[]",                "[]",                         NULL                             },
    {"NULL::int4[]",                                                       "INTEGER[]",                IS_NULL,                      NULL                             },
    {"'[0:1]={7,8}'::int8[]",                                              "BIGINT[]",                 "[7, 8]",
     "1 lower bounds of arrays other than 1 were dropped"                                                                                                             },
    {"ARRAY['a,b', 'q\"uo', NULL, '']",                                    "VARCHAR[]",                "['a,b', 'q\"uo', NULL, '']", NULL                             },
    {"'{1.50,-2}'::numeric(5,2)[]",                                        "DECIMAL(5,2)[]",           "[1.50, -2.00]",              NULL                             },
    {"'{NaN,1}'::numeric(5,2)[]",                                          "DECIMAL(5,2)[]",           "[NULL, 1.00]",               NOT_FINITE                       },
    {"'{1.5,NaN}'::numeric[]",                                             "VARCHAR[]",                "[1.5, NaN]",                 NULL                             },
    {"'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'::uuid[]",                   "UUID[]",
     "[a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11]",                                                                                       NULL                             },
    {"ARRAY['2024-02-29'::date]",                                          "DATE[]",                   "[2024-02-29]",               NULL                             },
    {"ARRAY['ok'::mood, NULL]",                                            "VARCHAR[]",                "[ok, NULL]",                 NULL                             },
    {"ARRAY[3::posint]",                                                   "INTEGER[]",                "[3]",                        NULL                             },
    {"ARRAY[1.5::price]",                                                  "DECIMAL(10,2)[]",          "[1.50]",                     NULL                             },
    {"ARRAY['(1,z)'::comp]",                                               "VARCHAR[]",                "['(1,z)']",                  NULL                             },
    {"ARRAY['10.0.0.1'::inet]",                                            "VARCHAR[]",                "[10.0.0.1]",                 NULL                             },
    {"ARRAY['1 day'::interval]",                                           "VARCHAR[]",                "[P1D]",                      NULL                             },
    {"ARRAY[true, NULL]",                                                  "BOOLEAN[]",                "[true, NULL]",               NULL                             },
    {"ARRAY[0.5::float4]",                                                 "FLOAT[]",                  "[0.5]",                      NULL                             },
    {"'1 2'::int2vector",                                                  "INTEGER[]",                "[1, 2]",
     "1 lower bounds of arrays other than 1 were dropped"                                                                                                             },
};

static void make_types(void) {
    static bool made;
    if (made) return;
    pg_sql("CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION ltree;"
           "CREATE TYPE mood AS ENUM ('sad', 'ok', 'b,\"c'); CREATE TYPE comp AS (a int, b text);"
           "CREATE DOMAIN posint AS int CHECK (VALUE > 0); CREATE DOMAIN money2 AS numeric(10,2);"
           "CREATE DOMAIN price AS money2");
    made = true;
}

/* All as columns v0, v1, ... of one row. */
static const char *select_cases(void) {
    OWNED(text_close) Text sql = {0};
    text_add(&sql, STR("SELECT "));
    for (size_t i = 0; i < COUNT(cases); i++)
        text_print(&sql, "%s%s AS v%zu", i ? ", " : "", cases[i].value, i);
    return arena_cstr(&arena, text_str(&sql));
}

static bool is_right(const Pulled *pulled, size_t i, const char *printed) {
    const Case *it = &cases[i];
    const SourceColumn *column = &pulled->source->columns[i];
    const char *expected = it->text ? it->text : printed;
    Str select = arena_print(&arena, "SELECT v%zu FROM rows", i);
    Str value = pulled_ask(pulled, arena_cstr(&arena, select));
    Str type = type_sql(&column->type, &arena);
    Str warnings = pulled_warnings(pulled->source, arena_cstr(&arena, column->name));
    if (!value.data) value = STR(IS_NULL);
    if (str_is(type, it->type) && str_is(value, expected) &&
        str_is(warnings, it->warning ? it->warning : ""))
        return true;
    printf("  %s: %.*s '%.*s', not %s '%s' (%.*s)\n", it->value, SHOW(type),
           (int)MIN(value.len, (size_t)200), value.data, it->type, expected, SHOW(warnings));
    return false;
}

TEST("values of every type, at their ends, arrive as PostgreSQL prints them") {
    OWNED(pulled_close) Pulled pulled = {0};
    make_types();
    const char *sql = select_cases();
    SourceRequest request = pg_request(NULL, sql);
    CHECK_OK(pull(&request, &pulled, &err));
    PGconn *conn = pg_connect();
    PGresult *printed = PQexec(conn, sql);
    size_t wrong = 0;
    CHECK_INT(PQnfields(printed), COUNT(cases));
    for (size_t i = 0; i < COUNT(cases); i++)
        wrong += !is_right(&pulled, i, PQgetvalue(printed, 0, (int)i));
    PQclear(printed);
    PQfinish(conn);
    CHECK_INT(wrong, 0);
}

TEST("decimals of every width arrive digit by digit") {
    static const int shapes[][2] = {
        {1,  0 },
        {4,  3 },
        {5,  2 },
        {9,  9 },
        {10, 1 },
        {18, 7 },
        {19, 6 },
        {28, 14},
        {38, 5 },
        {38, 38}
    };
    for (size_t i = 0; i < COUNT(shapes); i++) {
        OWNED(pulled_close) Pulled pulled = {0};
        int precision = shapes[i][0], scale = shapes[i][1];
        /* random digits, of which the first ones are often zero; every other one is negative */
        Str sql = arena_print(
            &arena,
            "SELECT g, ((CASE WHEN g %% 2 = 0 THEN '-' ELSE '' END || "
            "right(repeat('0', g %% %d) || translate(md5(g::text) || md5((-g)::text), 'abcdef', "
            "'019099'), %d) || 'e-%d')::numeric(%d,%d)) AS v FROM generate_series(1, 2000) g",
            precision + 1, precision, scale, precision, scale);
        SourceRequest request = pg_request(NULL, arena_cstr(&arena, sql));
        CHECK_OK(pull(&request, &pulled, &err));
        CHECK_INT(pulled.source->columns[1].type.precision, precision);
        Str expected = pg_sql(arena_print(&arena,
                                          "SELECT md5(string_agg(v::text, ',' ORDER BY g)) "
                                          "FROM (%.*s) q",
                                          SHOW(sql))
                                  .data);
        const char *zero = precision == scale ? "replace(v::text, '.', '0.')" : "v::text";
        Str ask = arena_print(&arena, "SELECT md5(string_agg(%s, ',' ORDER BY g)) FROM rows", zero);
        CHECK_STR(pulled_ask(&pulled, ask.data), expected.data);
    }
}

static Str type_of(const Source *source, const char *column) {
    for (size_t i = 0; i < source->column_count; i++)
        if (str_is(source->columns[i].name, column))
            return type_sql(&source->columns[i].type, &arena);
    return STR("none");
}

static const Json *json(const char *text) {
    const Json *out;
    CHECK_OK(json_read(str_from(text), &arena, &out, &err));
    return out;
}

TEST("a type that the user gives is taken instead, and one that cannot be is refused") {
    OWNED(pulled_close) Pulled pulled = {0};
    SourceRequest request =
        pg_request(NULL, "SELECT 1.005::numeric AS n, '7' AS s, 3 AS i, ARRAY[[1,2],[3,4]] AS m, "
                         "'{1,2}'::text[] AS l, 'x' AS b, '2024-01-01'::date AS d");
    request.types = json("{\"n\":\"DECIMAL(20,3)\",\"s\":\"BIGINT\",\"i\":\"DOUBLE\","
                         "\"m\":\"VARCHAR\",\"l\":\"INTEGER[]\",\"b\":\"BLOB\","
                         "\"d\":\"TIMESTAMP\"}");
    CHECK_OK(pull(&request, &pulled, &err));
    CHECK_STR(pulled_ask(&pulled, "SELECT [n::text, s::text, i::text, m, l::text, b::text, "
                                  "d::text]::text FROM rows"),
              "[1.005, 7, 3.0, '{{1,2},{3,4}}', '[1, 2]', x, '2024-01-01 00:00:00']");
    static const char *const bad[][2] = {
        {"{\"i\":\"UUID\"}",              "cannot cast type integer to uuid"},
        {"{\"nope\":\"BIGINT\"}",         "'nope' is no column"             },
        {"{\"i\":7}",                     "'i' has no text"                 },
        {"{\"i\":\"STRUCT(a INTEGER)\"}", "no type to cast to"              },
        {"[1]",                           "types is an object"              },
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        OWNED(source_close) Source *source = NULL;
        size_t at;
        Err why = {0};
        request.types = json(bad[i][0]);
        CHECK(!source_postgres(&request, &source, &why));
        CHECK_INT(why.kind, LH_INVALID);
        if (!str_find(str_from(why.message), str_from(bad[i][1]), &at))
            kit_fail(__FILE__, __LINE__, "%s: %s", bad[i][0], why.message);
    }
}

TEST("a value that a given type cannot hold ends the pull with the server's words") {
    OWNED(pulled_close) Pulled pulled = {0};
    Err why = {0};
    SourceRequest request = pg_request(NULL, "SELECT 12345 AS n");
    request.types = json("{\"n\":\"DECIMAL(3,0)\"}");
    CHECK(!pull(&request, &pulled, &why));
    CHECK_INT(why.kind, LH_INVALID);
    CHECK_STR(str_from(why.message), "PostgreSQL refuses: numeric field overflow");
}

TEST("the plain mapping knows integers, floats, booleans and text") {
    OWNED(pulled_close) Pulled pulled = {0};
    make_types();
    SourceRequest request = pg_request(
        NULL, "SELECT 1::int2 AS a, 2::int8 AS b, 1.5::numeric(5,2) AS c, 2.25::numeric AS d, "
              "true AS e, '2024-01-01'::date AS f, '{1,2}'::int[] AS g, 'ok'::mood AS h, "
              "'12.5'::money AS i, '18446744073709551615'::xid8 AS j, 'x'::bytea AS k, "
              "'NaN'::numeric AS l, '2024-01-01 00:00+01'::timestamptz AS m, 'ab'::char(4) AS n");
    request.mapping = MAPPING_PLAIN;
    CHECK_OK(pull(&request, &pulled, &err));
    CHECK_STR(type_of(pulled.source, "c"), "DOUBLE");
    CHECK_STR(type_of(pulled.source, "b"), "BIGINT");
    CHECK_STR(type_of(pulled.source, "m"), "VARCHAR");
    CHECK_STR(pulled_ask(&pulled, "SELECT [a::text, b::text, c::text, d::text, e::text, f, g, h, "
                                  "i::text, j, k, l::text, m, n]::text FROM rows"),
              "[1, 2, 1.5, 2.25, true, 2024-01-01, '{1,2}', ok, 12.5, 18446744073709551615, "
              "\\x78, nan, '2023-12-31 23:00:00+00', ab]");
}

TEST("arrays declared with more dimensions are JSON, and undeclared ones end the pull") {
    OWNED(pulled_close) Pulled declared = {0}, surprise = {0};
    Err why = {0};
    pg_sql("CREATE TABLE matrix (id int, m int[][], l int[]);"
           "INSERT INTO matrix VALUES (1, '{{1,2},{3,NULL}}', '{1}'), (2, '{5}', '{}'),"
           "(3, NULL, NULL)");
    SourceRequest request = pg_request("matrix", NULL);
    CHECK_OK(pull(&request, &declared, &err));
    CHECK_STR(pulled_ask(&declared, "SELECT list(m ORDER BY id)::text FROM rows"),
              "['[[1,2],[3,null]]', '[5]', NULL]");
    CHECK_STR(pulled_ask(&declared, "SELECT list(l ORDER BY id)::text FROM rows"),
              "[[1], [], NULL]");
    CHECK_STR(pulled_warnings(declared.source, "m"),
              "1 arrays of more than one dimension became JSON text");
    pg_sql("UPDATE matrix SET l = '{{1}}' WHERE id = 3");
    CHECK(!pull(&request, &surprise, &why));
    CHECK_INT(why.kind, LH_INVALID);
    CHECK(str_is(str_from(why.code), "array_dimensions"));
}

TEST("rows of NULLs, generated columns, dropped columns and no rows at all") {
    OWNED(pulled_close) Pulled pulled = {0}, empty = {0};
    pg_sql("CREATE TABLE odd (a int, gone int, b numeric(5,2), c int[], d int GENERATED ALWAYS AS "
           "(a * 2) STORED); ALTER TABLE odd DROP COLUMN gone;"
           "INSERT INTO odd SELECT CASE WHEN g % 2 = 0 THEN g END FROM generate_series(1, 5000) g;"
           "CREATE TABLE nothing (a int, t text)");
    SourceRequest request = pg_request("odd", NULL);
    CHECK_OK(pull(&request, &pulled, &err));
    CHECK_INT(pulled.source->column_count, 4);
    CHECK_STR(pulled_ask(&pulled, "SELECT [count(*), count(a), sum(d), count(b), count(c)]::text "
                                  "FROM rows"),
              "[5000, 2500, 12505000, 0, 0]");
    request.table = STR("nothing");
    CHECK_OK(pull(&request, &empty, &err));
    CHECK_INT(empty.moved_rows, 0);
    CHECK_STR(pulled_ask(&empty, "SELECT count(*) FROM rows"), "0");
}

TEST("text of a server that knows no encoding is refused, and its bytes can be had") {
    OWNED(pulled_close) Pulled pulled = {0}, bytes = {0};
    Err why = {0};
    pg_sql("CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0");
    SourceRequest request = pg_request(
        NULL, "SELECT 'good' AS t UNION ALL SELECT convert_from('\\x62c3', 'SQL_ASCII')");
    Str base = str_from(pg_dsn()), dsn = arena_print(&arena, "%.*s", (int)base.len - 8, base.data);
    dsn = arena_print(&arena, "%.*sascii", SHOW(dsn));
    request.dsn = dsn;
    CHECK(!pull(&request, &pulled, &why));
    CHECK_INT(why.kind, LH_INVALID);
    CHECK_STR(str_from(why.message),
              "PostgreSQL refuses: invalid byte sequence for encoding \"UTF8\": 0xc3");
    request.types = json("{\"t\":\"BLOB\"}");
    CHECK_OK(pull(&request, &bytes, &err));
    CHECK_STR(pulled_ask(&bytes, "SELECT list(t)::text FROM rows"), "[good, b\\xC3]");
}

TEST("the documentation's table is the one in the code") {
    OWNED(text_close) Text rows = {0};
    Bytes page;
    size_t at;
    pg_types_write(&rows);
    CHECK_OK(file_read("docs/postgresql.md", 1 << 20, &arena, &page, &err));
    if (!str_find(str_of(page), text_str(&rows), &at)) {
        printf("%.*s", SHOW(text_str(&rows)));
        kit_fail(__FILE__, __LINE__, "docs/postgresql.md has other rows than the above");
    }
}

TEST("each type becomes what its row of the table says") {
    OWNED(source_close) Source *source = NULL;
    OWNED(text_close) Text sql = {0};
    const char *expected[128];
    size_t count = 0;
    for (size_t i = 0; i < pg_type_count; i++) {
        Str name = str_from(pg_types[i].name), full = name;
        if (pg_types[i].oid == 0 || pg_types[i].decode == NULL || pg_types[i].oid == 790) continue;
        name = str_until(&full, '(');
        text_print(&sql, "%s NULL::%.*s AS v%zu", count ? "," : "SELECT", SHOW(name), i);
        expected[count++] = pg_types[i].becomes;
    }
    SourceRequest request = pg_request(NULL, NULL);
    request.query = text_str(&sql);
    CHECK_OK(source_postgres(&request, &source, &err));
    CHECK(count > 40);
    for (size_t i = 0; i < count; i++)
        CHECK_STR(type_sql(&source->columns[i].type, &arena), expected[i]);
}

TEST("geometries are WKB, of any dimension, from whatever schema PostGIS is in") {
    OWNED(pulled_close) Pulled pulled = {0};
    pg_sql("CREATE SCHEMA \"Geo %s\"; CREATE EXTENSION postgis SCHEMA \"Geo %s\"");
    SourceRequest request =
        pg_request(NULL, "SELECT 'SRID=4326;POINT(1 2)'::\"Geo %s\".geometry AS p, "
                         "'POINT Z (1 2 3)'::\"Geo %s\".geometry AS z, "
                         "'POINT(1 2)'::\"Geo %s\".geography AS g, NULL::\"Geo %s\".geometry AS n");
    CHECK_OK(pull(&request, &pulled, &err));
    CHECK_STR(type_of(pulled.source, "p"), "BLOB");
    CHECK_STR(pulled_ask(&pulled, "SELECT [hex(p), hex(z), hex(g), hex(n)]::text FROM rows"),
              "[0101000000000000000000F03F0000000000000040, "
              "01E9030000000000000000F03F00000000000000400000000000000840, "
              "0101000000000000000000F03F0000000000000040, NULL]");
}

/* DuckDB does not survive being closed by exit(). */
TEST("the engine closes") {
    engine_close(&pg_engine_kept);
}
