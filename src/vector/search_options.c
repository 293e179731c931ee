/* What the routes that search take, and vector_search() in SQL. */
#include "vector/vector.h"

#include "lance/lance.h"

/* Each is said once, and taken by those ways to ask that it has a meaning for. */
#define OPT_QUERY "query", LH_TEXT, AT(Search, query), NULL, "words to look for"
#define OPT_VECTOR                                                                                 \
    "vector", LH_FLOATS, AT(Search, vector), NULL, "a vector of your own instead of words"
#define OPT_K "k", LH_INT, AT(Search, k), "10", "hits to return", .min = 1, .max = VECTOR_K_MAX
#define OPT_EF                                                                                     \
    "ef", LH_INT, AT(Search, ef), NULL, "width of the walk; wider finds more",                     \
        .min = 1, .max = VECTOR_EF_MAX
#define OPT_NPROBES                                                                                \
    "nprobes", LH_INT, AT(Search, nprobes), NULL, "backend lance: groups to look at",              \
        .min = 1, .max = LANCE_PARTITIONS_MAX
#define OPT_REFINE                                                                                 \
    "refine", LH_INT, AT(Search, refine), NULL, "backend lance: times k, ranked again exactly",    \
        .min = 1, .max = 1000
#define OPT_FILTER                                                                                 \
    "filter", LH_TEXT, AT(Search, filter), NULL, "SQL predicate over the dataset's columns"
#define OPT_MODE                                                                                   \
    "mode", LH_TEXT, AT(Search, mode), "vector", "rank by meaning, by words (BM25), or by both",   \
        .choices = "vector|text|hybrid"
#define OPT_EXACT "exact", LH_FLAG, AT(Search, exact), "false", "compare with every vector"
#define OPT_PER_DOCUMENT                                                                           \
    "per_document", LH_INT, AT(Search, per_document), "1", "chunks of one document to return",     \
        .min = 1, .max = 1000
#define OPT_ROWS(unless_said)                                                                      \
    "rows", LH_FLAG, AT(Search, rows), unless_said, "add the dataset's row to each hit"

const Option search_options[] = {
    {"index",    LH_TEXT, AT(Search, index), REQUIRED, "index to search"},
    {OPT_QUERY},
    {OPT_VECTOR },
    {OPT_K         },
    {OPT_EF         },
    {OPT_NPROBES        },
    {OPT_REFINE},
    {OPT_FILTER},
    {OPT_MODE },
    {OPT_EXACT         },
    {OPT_PER_DOCUMENT         },
    {OPT_ROWS("true")        },
    {0}
};

const Option search_raw_options[] = {
    {"index",    LH_TEXT, AT(Search, index), NULL, "index to search, for a body of raw floats"},
    {OPT_K},
    {OPT_EF     },
    {OPT_NPROBES         },
    {OPT_REFINE         },
    {OPT_FILTER    },
    {OPT_EXACT},
    {OPT_PER_DOCUMENT},
    {OPT_ROWS("false")     },
    {0         }
};

const Option search_lance_options[] = {{OPT_QUERY},        {OPT_VECTOR}, {OPT_K},
                                       {OPT_NPROBES},      {OPT_REFINE}, {OPT_FILTER},
                                       {OPT_MODE},         {OPT_EXACT},  {OPT_PER_DOCUMENT},
                                       {OPT_ROWS("true")}, {0}};
