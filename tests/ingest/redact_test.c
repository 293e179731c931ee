#include "ingest/source.h"
#include "kit/kit.h"

TEST("a password goes from every form of a DSN, and all else stays") {
    OWNED(arena_close) Arena arena = {0};
    static const struct {
        const char *text, *shown;
    } cases[] = {
        {"postgresql://u:s3cret@h:5432/d",           "postgresql://u:***@h:5432/d"        },
        {"mysql://u:p%40ss%2Fword@h/d?x=1",          "mysql://u:***@h/d?x=1"              },
        {"postgres://u:a/b?c#d@h/d",                 "postgres://u:***@h/d"               },
        {"postgres://u:a@b@h/d",                     "postgres://u:***@h/d"               },
        {"postgres://:only@h/d",                     "postgres://:***@h/d"                },
        {"postgres://u@h/d?password=s3cret&x=1",     "postgres://u@h/d?password=***&x=1"  },
        {"host=h password=s3cret user=u",            "host=h password=*** user=u"         },
        {"host=h password = 's3 \\' cret' user=u",   "host=h password =*** user=u"        },
        {"cannot open 'mysql://u:s3cret@h/d' (u)",   "cannot open 'mysql://u:***@h/d' (u)"},
        {"a postgres://u:x@h/d and mysql://v:y@i/e",
         "a postgres://u:***@h/d and mysql://v:***@i/e"                                   },
        {"PWD=s3cret;host=h",                        "PWD=***;host=h"                     },
        {"sslpassword=x sslmode=require",            "sslpassword=*** sslmode=require"    },
        {"http://h/path?q=a@b",                      "http://h/path?q=a@b"                },
        {"no dsn at all: a=b, c@d",                  "no dsn at all: a=b, c@d"            },
        {"password=",                                "password=***"                       },
        {"",                                         ""                                   },
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        CHECK_STR(redact(str_from(cases[i].text), &arena), cases[i].shown);
}
