#include "ingest/pg.h"

#include <signal.h>
#include <stdlib.h>

/* The table of the measurements, at a size that a test can wait for; ROWS=2000000 is all of it. */
static long long rows_wanted(void) {
    const char *rows = getenv("ROWS");
    return rows ? atoll(rows) : 120000;
}

static void load_table(void) {
    static bool loaded;
    if (loaded) return;
    pg_sql(arena_print(
               &arena,
               "CREATE TABLE t (id bigint PRIMARY KEY, n int, name varchar(64), amount "
               "decimal(12,2), active bool, ts timestamp(6), d date, note text, doc jsonb, u uuid "
               "NOT NULL); INSERT INTO t SELECT g, CASE WHEN g%%11<>0 THEN "
               "((g*2654435761)%%2147483647)::int - 1000000000 END, CASE WHEN g%%13<>0 THEN "
               "(ARRAY['Müller','Ōta','李小龙','O''Brien','😀 emoji'])[(1+g%%5)::int]||' '"
               "||md5(g::text)::varchar(12) END, CASE WHEN g%%17<>0 THEN "
               "(((g*7919)%%2000000000)-1000000000)/100.0 END, CASE WHEN g%%7<>0 THEN g%%2=0 END, "
               "CASE WHEN g%%19<>0 THEN timestamp '2001-01-01' + ((g*997)%%800000000)*interval "
               "'1 second' + ((g*7)%%1000000)*interval '1 microsecond' END, CASE WHEN g%%23<>0 "
               "THEN date '1990-01-01' + (g%%20000)::int END, CASE WHEN g%%5<>0 THEN 'note '||g||"
               "' '||repeat(md5((g/3)::text)||' ', (g%%4)::int) END, CASE WHEN g%%6<>0 THEN "
               "jsonb_build_object('k',g%%1000,'tags',jsonb_build_array('a','ü'),'s',"
               "md5(g::text)) END, md5(g::text)::uuid FROM generate_series(1,%lld::bigint) g",
               rows_wanted())
               .data);
    pg_sql("VACUUM (FREEZE, ANALYZE) t");
    loaded = true;
}

/* The same aggregates in both dialects. */
static const char *const aggregates[][2] = {
    {"SELECT count(*) FROM t",                                           "SELECT count(*) FROM rows"                  },
    {"SELECT sum(id) FROM t",                                            "SELECT sum(id) FROM rows"                   },
    {"SELECT sum(n::bigint) FROM t",                                     "SELECT sum(n) FROM rows"                    },
    {"SELECT sum(amount) FROM t",                                        "SELECT sum(amount) FROM rows"               },
    {"SELECT count(*) FILTER (WHERE active) FROM t",
     "SELECT count(*) FILTER (WHERE active) FROM rows"                                                                },
    {"SELECT sum(extract(epoch FROM ts)*1000000)::numeric(38,0) FROM t",
     "SELECT sum(epoch_us(ts)) FROM rows"                                                                             },
    {"SELECT sum(d - date '1970-01-01') FROM t",                         "SELECT sum(d - date '1970-01-01') FROM rows"},
    {"SELECT count(distinct id) FROM t",                                 "SELECT count(distinct id) FROM rows"        },
    {"SELECT sum(length(note)) FROM t",                                  "SELECT sum(length(note)) FROM rows"         },
    {"SELECT md5(string_agg(md5(name), '' ORDER BY id)) FROM t",
     "SELECT md5(string_agg(md5(name), '' ORDER BY id)) FROM rows"                                                    },
    {"SELECT md5(string_agg(md5(doc::text), '' ORDER BY id)) FROM t",
     "SELECT md5(string_agg(md5(doc), '' ORDER BY id)) FROM rows"                                                     },
    {"SELECT md5(string_agg(u::text, '' ORDER BY id)) FROM t",
     "SELECT md5(string_agg(u::text, '' ORDER BY id)) FROM rows"                                                      },
};

static void check_all_of_it(const SourceRequest *request, size_t parts) {
    OWNED(pulled_close) Pulled pulled = {0};
    CHECK_OK(pull(request, &pulled, &err));
    CHECK_INT(pulled.source->parts, parts);
    CHECK_INT(pulled.source->rows_estimate, rows_wanted());
    CHECK_INT(pulled.moved_rows, rows_wanted());
    CHECK_INT(pulled.source->warning_count, 0);
    CHECK_STR(pulled.source->columns[3].declared, "numeric(12,2)");
    CHECK_STR(type_sql(&pulled.source->columns[3].type, &arena), "DECIMAL(12,2)");
    for (size_t i = 0; i < COUNT(aggregates); i++) {
        Str expected = pg_sql(aggregates[i][0]);
        CHECK(expected.len > 0);
        CHECK_STR(pulled_ask(&pulled, aggregates[i][1]), arena_cstr(&arena, expected));
    }
}

TEST("a table comes as it is, in one part and in three") {
    load_table();
    SourceRequest request = pg_request("t", NULL);
    check_all_of_it(&request, 1);
    request.table = STR("public.t");
    request.parallel = 3;
    check_all_of_it(&request, 3);
}
