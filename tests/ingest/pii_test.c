#include "ingest/ingest.h"
#include "kit/kit.h"

#include <stdlib.h>
#include <time.h>

static Err err;
static uint64_t seed = 1;

static unsigned random_below(unsigned n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % n;
}

/* %d a digit, %D one that is not 0, %x a hexadecimal digit, %a a letter. */
static Str fill(const char *pattern, char out[256]) {
    static const char hex[] = "0123456789abcdef";
    size_t len = 0;
    for (const char *p = pattern; *p && len < 255; p++) {
        if (*p != '%') {
            out[len++] = *p;
            continue;
        }
        switch (*++p) {
        case 'd':
            out[len++] = (char)('0' + random_below(10));
            break;
        case 'D':
            out[len++] = (char)('1' + random_below(9));
            break;
        case 'x':
            out[len++] = hex[random_below(16)];
            break;
        default:
            out[len++] = (char)('a' + random_below(26));
        }
    }
    return (Str){out, len};
}

static PiiVerdict judge_patterns(const char *column, const char *const *patterns, size_t count) {
    OWNED(pii_close) PiiColumn *pii = NULL;
    char text[256];
    CHECK_OK(pii_open(str_from(column), &pii, &err));
    for (size_t i = 0; i < 500; i++) pii_add(pii, fill(patterns[i % count], text));
    return pii_verdict(pii);
}

static PiiVerdict judge(const char *column, const char *pattern) {
    return judge_patterns(column, &pattern, 1);
}

static const struct {
    const char *column, *pattern, *kind;
} personal[] = {
    {"email",         "%a%a%a%d@example.com",                       "email"},
    {"contact",       "%a%a.%a%a+tag@mail.example.co.uk",           "email"},
    {"c7",            "%a%a%a%a@%a%a%a.org",                        "email"},
    {"comment",       "please write to %a%a%a@example.com, thanks", "email"},
    {"phone",         "+49 30 %D%d%d%d%d%d%d",                      "phone"},
    {"phone_number",  "0%D%d%d %d%d%d%d%d%d%d",                     "phone"},
    {"Mobile",        "%D%d%d%d%d%d%d%d%d%d",                       "phone"},
    {"tel",           "(2%d%d) 5%d%d-%d%d%d%d",                     "phone"},
    {"x",             "2%d%d-5%d%d-%d%d%d%d",                       "phone"},
    {"x",             "+1 (2%d%d) 5%d%d-%d%d%d%d",                  "phone"},
    {"userPhone",     "+4479%d%d%d%d%d%d%d%d",                      "phone"},
    {"ssn",           "1%d%d-%D%d-%D%d%d%d",                        "ssn"  },
    {"x",             "1%d%d-%D%d-%D%d%d%d",                        "ssn"  },
    {"ssn",           "1%d%d%D%d%D%d%d%d",                          "ssn"  },
    {"ip",            "1%d.%D.%D%d.1%d%d",                          "ip"   },
    {"remote_addr",   "1%d%d.%D%d.%d.%D%d",                         "ip"   },
    {"x",             "2001:db8::%x%x%x:%x%x",                      "ip"   },
    {"mac",           "%x%x:%x%x:%x%x:%x%x:%x%x:%x%x",              "mac"  },
    {"x",             "%x%x-%x%x-%x%x-%x%x-%x%x-%x%x",              "mac"  },
    {"first_name",    "Ma%a%a%a",                                   "name" },
    {"LastName",      "O'%a%a%a%a",                                 "name" },
    {"surname",       "M%a%a%a%a",                                  "name" },
    {"customer_name", "Maria %a%a%a%a",                             "name" },
    {"who",           "Peter %a%a%a%a%a",                           "name" },
};

TEST("personal data is found, by its look and by the words of the column's name") {
    for (size_t i = 0; i < COUNT(personal); i++) {
        PiiVerdict v = judge(personal[i].column, personal[i].pattern);
        if (!v.kind || strcmp(v.kind, personal[i].kind) != 0 || v.confidence < 0.5)
            kit_fail(__FILE__, __LINE__, "%s like %s is %s (%.2f)", personal[i].column,
                     personal[i].pattern, v.kind ? v.kind : "nothing", v.confidence);
    }
}

static const struct {
    const char *column, *pattern;
} harmless[] = {
    {"id",              "%x%x%x%x%x%x%x%x-%x%x%x%x-4%x%x%x-a%x%x%x-%x%x%x%x%x%x%x%x%x%x%x%x"},
    {"guid",            "%d%d%d%d%d%d%d%d-%d%d%d%d-4%d%d%d-8%d%d%d-%d%d%d%d%d%d%d%d%d%d%d%d"},
    {"created",         "17%d%d%d%d%d%d%d%d"                                                },
    {"created_ms",      "17%d%d%d%d%d%d%d%d%d%d%d"                                          },
    {"epoch",           "17%d%d%d%d%d%d%d%d"                                                },
    {"location",        "52.%d%d%d%d%d%d, 13.%d%d%d%d%d%d"                                  },
    {"lat",             "52.%d%d%d%d%d%d"                                                   },
    {"x",               "+52.%d%d%d%d%d%d"                                                  },
    {"x",               "-122.%d%d%d%d%d%d"                                                 },
    {"version",         "%d.%d.%d.%d"                                                       },
    {"app_version",     "1.%d.%d.%d%d%d"                                                    },
    {"package_version", "2:%d.%d.%d-%d+deb12u%d"                                            },
    {"order_number",    "2024%d%d%d%d%d%d"                                                  },
    {"order_no",        "%D%d%d-%D%d%d%d%d%d%d-%d%d%d%d%d%d%d"                              },
    {"order",           "%D%d%d-%D%d%d-%d%d%d%d"                                            },
    {"ean",             "4%d%d%d%d%d%d%d%d%d%d%d%d"                                         },
    {"x",               "4%d%d%d%d%d%d%d%d%d%d%d%d"                                         },
    {"invoice",         "%D%d%d%d%d%d%d%d%d"                                                },
    {"x",               "%D%d%d%d%d%d%d%d%d"                                                },
    {"x",               "4%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d"                                   },
    {"serial",          "%D%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d"                                  },
    {"sha1",            "%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x"                          },
    {"md5",             "%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d"                                  },
    {"price",           "%D%d%d.%d%d"                                                       },
    {"price",           "%D%d%d,%d%d EUR"                                                   },
    {"day",             "2024-%d%d-%d%d"                                                    },
    {"at",              "2024-01-1%d 1%d:%d%d:%d%d"                                         },
    {"time",            "1%d:%d%d:%d%d"                                                     },
    {"us_date",         "01/1%d/2024"                                                       },
    {"url",             "https://medium.com/@%a%a%a/post-%d%d"                              },
    {"url",             "https://%a%a%a@example.com/x"                                      },
    {"repo",            "git@github.com:%a%a%a/%a%a.git"                                    },
    {"package",         "python3-%a%a%a%a"                                                  },
    {"npm",             "@types/%a%a%a"                                                     },
    {"npm",             "%a%a%a@%d.%d.%d"                                                   },
    {"dependency",      "@%a%a%a/core@^1.%d.%d"                                             },
    {"public_notes",    "a note about %a%a%a%a"                                             },
    {"handle",          "@%a%a%a%a"                                                         },
    {"product_name",    "Super %a%a%a%a"                                                    },
    {"company_name",    "James %a%a%a%a"                                                    },
    {"city",            "San %a%a%a%a"                                                      },
    {"name",            "lib%a%a%a%a"                                                       },
    {"name",            "Deluxe %a%a%a%a"                                                   },
    {"status",          "active"                                                            },
    {"country",         "DE"                                                                },
    {"iban_like",       "XX%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d"                                },
    {"zip",             "%d%d%d%d%d"                                                        },
    {"dimension",       "%d%dx%d%dx%d%d"                                                    },
    {"ratio",           "%d:%d"                                                             },
    {"isbn",            "978-3-%d%d%d%d-%d%d%d%d-%d"                                        },
    {"tracking",        "1Z%d%d%d%d%d%d%d%d"                                                },
    {"phase",           "%d%d%d"                                                            },
    {"telemetry",       "%D%d%d%d%d%d%d%d%d%d"                                              },
    {"cellar",          "%D%d%d%d%d%d%d%d%d%d"                                              },
};

TEST("what is nobody's stays unflagged") {
    for (size_t i = 0; i < COUNT(harmless); i++) {
        PiiVerdict v = judge(harmless[i].column, harmless[i].pattern);
        if (v.kind)
            kit_fail(__FILE__, __LINE__, "%s like %s is %s (%.2f)", harmless[i].column,
                     harmless[i].pattern, v.kind, v.confidence);
    }
}

/* The digits with the check digit that makes them pass. */
static Str card(const char *prefix, size_t len, char out[32]) {
    size_t n = (size_t)snprintf(out, 32, "%s", prefix);
    while (n + 1 < len) out[n++] = (char)('0' + random_below(10));
    int sum = 0;
    for (size_t i = 0; i < n; i++) {
        int digit = out[n - 1 - i] - '0';
        if (i % 2 == 0) digit = digit * 2 - 9 * (digit > 4);
        sum += digit;
    }
    out[n++] = (char)('0' + (10 - sum % 10) % 10);
    return (Str){out, n};
}

TEST("card numbers pass by checksum and issuer; without them digits are digits") {
    static const char *const prefixes[] = {"4", "51", "2221", "6011"};
    OWNED(pii_close) PiiColumn *pii = NULL;
    char digits[32], spaced[40];
    CHECK_OK(pii_open(STR("value"), &pii, &err));
    for (size_t i = 0; i < 200; i++) {
        Str number = card(prefixes[i % COUNT(prefixes)], 16, digits);
        snprintf(spaced, sizeof spaced, "%.4s %.4s %.4s %.4s", number.data, number.data + 4,
                 number.data + 8, number.data + 12);
        pii_add(pii, i % 2 ? number : str_from(spaced));
    }
    PiiVerdict v = pii_verdict(pii);
    CHECK(v.kind && !strcmp(v.kind, "card") && v.confidence > 0.9 && v.matched == 200);
}

TEST("IBANs pass by checksum and their country's length") {
    static const char *const valid[] = {"DE89370400440532013000", "GB29 NWBK 6016 1331 9268 19",
                                        "FR1420041010050500013M02606", "NL91ABNA0417164300",
                                        "NO9386011117947"};
    static const char *const invalid[] = {"DE89370400440532013001", "GB29 NWBK 6016 1331 9268 1",
                                          "FR1420041010050500013M02607", "ZZ91ABNA0417164300"};
    PiiVerdict v = judge_patterns("x", valid, COUNT(valid));
    CHECK(v.kind && !strcmp(v.kind, "iban") && v.confidence > 0.9);
    CHECK(judge_patterns("x", invalid, COUNT(invalid)).kind == NULL);
}

TEST("a mixed column gets the kind that is sure and common, not the one that is common alone") {
    static const char *const mixed[] = {"%a%a%a@example.com", "%a%a%a@example.org", "unknown",
                                        "%a%a@example.net"};
    PiiVerdict v = judge_patterns("contact", mixed, COUNT(mixed));
    CHECK(v.kind && !strcmp(v.kind, "email"));
    CHECK_INT(v.matched, 375);
    CHECK_INT(v.sampled, 500);
}

TEST("one address among ten thousand texts makes no column personal") {
    OWNED(pii_close) PiiColumn *pii = NULL;
    char text[256];
    CHECK_OK(pii_open(STR("note"), &pii, &err));
    for (size_t i = 0; i < 5000; i++) pii_add(pii, fill("a note about %a%a%a", text));
    pii_add(pii, STR("x@example.com"));
    CHECK(pii_verdict(pii).kind == NULL);
}

TEST("an empty column has no verdict") {
    OWNED(pii_close) PiiColumn *pii = NULL;
    CHECK_OK(pii_open(STR("email"), &pii, &err));
    pii_add(pii, STR(""));
    pii_add(pii, STR("   "));
    CHECK(pii_verdict(pii).kind == NULL && pii_verdict(pii).sampled == 0);
}

#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
#define CPU_MAX (4 * CLOCKS_PER_SEC)
#else
#define CPU_MAX (4 * CLOCKS_PER_SEC / 10)
#endif

TEST("ten thousand values of a column take milliseconds") {
    OWNED(pii_close) PiiColumn *pii = NULL;
    char text[256];
    clock_t start = clock(); /* of this process: others on the machine do not count */
    CHECK_OK(pii_open(STR("note"), &pii, &err));
    for (size_t i = 0; i < PII_SAMPLE_ROWS; i++)
        pii_add(pii, fill("a longer note about %a%a%a and %d%d%d things", text));
    CHECK(clock() - start < CPU_MAX);
}
