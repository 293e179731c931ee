/* Backend "lance": an index whose rows, vectors and IVF_PQ are a Lance table, vectors/<index>/
 * docs.lance, that LanceDB opens too. Columns: doc_id, chunk, text, vector. */
#pragma once

#include "vector/meta.h"

#include "lance/lance.h"
#include "storage/storage.h"

#define LANCE_VERSION_OPTION(Spec)                                                                 \
    {                                                                                              \
        "lance_version", LH_TEXT, AT(Spec, lance_version), "2.0",                                  \
            "backend lance: of the table's data files; LanceDB's own are 2.2",                     \
            .choices = "2.0|2.2"                                                                   \
    }
#define LANCE_ROWS_INDEXED 1000 /* fewer are compared one by one: no slower, and exact */

/* At the version that meta->build says, or at the latest where that is gone. */
bool index_lance_open(Store *store, const IndexMeta *meta, Index **out, Err *err);
/* The table of an index of this backend, at the index's version; NULL for one of another. */
LanceTable *index_lance_table(const Index *index);
/* Whether others have made versions since. */
bool index_lance_behind(const Index *index, LanceTable *latest);
/* LH_CONFLICT "table_changed" when the table's vectors are of another dimension than the index. */
bool index_lance_fits(LanceTable *table, size_t dimensions, Err *err);
LanceMetric lance_metric_of(Metric metric);

/* Makes the table, or takes the one that is there: rows are added to a writer, and in the end
 * become all rows of the table. */
typedef struct LanceDocs {
    LanceTable *table;
    LanceWriter *writer;
    size_t dimensions;
} LanceDocs;
typedef struct LanceDoc {
    Str id, text;
    uint32_t chunk;
    const float *vector;
} LanceDoc;
bool lance_docs_open(Store *store, const IndexMeta *meta, LanceDocs *out, Err *err);
bool lance_docs_add(LanceDocs *docs, const LanceDoc *rows, size_t count, Err *err);
/* The rows are in; *version then has the indexes too, by *config, whose zeros are filled in. */
bool lance_docs_finish(LanceDocs *docs, Metric metric, IndexConfig *config, const LanceWatch *watch,
                       uint64_t *version, Err *err);
void lance_docs_close(LanceDocs *docs);
/* Both indexes of a table whose rows are there. */
bool lance_docs_index(LanceTable *table, Metric metric, IndexConfig *config,
                      const LanceVectorIndexOptions *more, const LanceWatch *watch, Err *err);
/* Removes versions that are no longer searched, but those of the last minutes, whose readers may
 * not have ended. What fails is said in the log. */
void lance_docs_tidy(Store *store, Str key);
bool lance_docs_remove(Store *store, Str key, Err *err);
int64_t lance_docs_bytes(LanceTable *table);
