/* What the files of ingest/ share: the spool that a body goes through, and the scanner of CSV. */
#pragma once

#include "ingest/ingest.h"
#include "query/query.h"
#include "storage/storage.h"

#include "base/base.h"

#include <limits.h>

#define SPOOL_PIECE_SIZE (256 * 1024)
#define SPOOL_HEAD_SIZE (64 * 1024)    /* looked at to tell the format */
#define SPOOL_SIZE_MAX (1ll << 40)     /* decompressed; a bomb ends here at the latest */
#define CSV_RECORD_SIZE_MAX (16 << 20) /* one row, with its quoted newlines */
#define COLUMN_NAME_MAX 255

typedef enum Format {
    FORMAT_AUTO,
    FORMAT_CSV,
    FORMAT_TSV,
    FORMAT_JSON,
    FORMAT_NDJSON,
    FORMAT_PARQUET
} Format;

/* csv_scan.c: every byte of a CSV is looked at once, while the body arrives: whether each row has
 * the header's number of fields, and which types hold every value of a column without loss. */
typedef enum CsvKind { /* what a column may still be */
                       CSV_INT = 1,
                       CSV_REAL = 2,
                       CSV_BOOLEAN = 4,
                       CSV_DATE = 8,
                       CSV_TIMESTAMP = 16,
                       CSV_TIMESTAMPTZ = 32,
                       CSV_ALL = 63
} CsvKind;
typedef struct CsvColumn {
    Str name;
    unsigned kinds;    /* CsvKind bits */
    bool seen;         /* a value other than NULL */
    const char *given; /* the type that a dataset has already, SQL; NULL: by the values */
} CsvColumn;
typedef struct CsvScan {
    char delimiter;
    CsvColumn *columns; /* NULL until the header was read */
    size_t column_count;
    uint64_t line;              /* of the next record, from 1 */
    uint64_t rows, blank_lines; /* blank ones before the header */
    unsigned newlines;          /* which kinds were seen, a bit each */
    bool stops[256];            /* bytes that end a plain field; empty until the first scan */
    Text carry;                 /* of a record whose end has not come yet */
    Text warnings;              /* a JSON string each, commas between */
    Arena arena;
} CsvScan;
char csv_delimiter(Str head); /* the likeliest of , ; tab | by the first line */
bool csv_scan(CsvScan *scan, Bytes piece, bool last, Err *err);
const char *csv_type(const CsvColumn *column); /* SQL */
bool csv_mixed_newlines(const CsvScan *scan);
void csv_close(CsvScan *scan);
unsigned csv_kinds(Str value, unsigned among); /* of one value; csv_types.c */

/* decode.c: gzip and zstd, in pieces. */
typedef struct Decoder Decoder;
typedef bool DecodeSink(void *context, Bytes piece, Err *err);
/* `encoding`: empty and identity are told by the first bytes. *out NULL: nothing to decode. */
bool decoder_open(Str encoding, Bytes head, Decoder **out, Err *err);
void decoder_close(Decoder **decoder);
bool decoder_add(Decoder *decoder, Bytes piece, DecodeSink *sink, void *context, Err *err);
bool decoder_end(Decoder *decoder, Err *err); /* LH_INVALID "truncated_body" */

/* utf8.c: UTF-8 over pieces; an error names the byte's offset in the decoded body. */
typedef struct Utf8 {
    uint8_t tail[4]; /* a sequence that the piece cut */
    size_t tail_len;
    uint64_t offset; /* of the tail's first byte, else of the next */
} Utf8;
bool utf8_add(Utf8 *utf8, Bytes piece, Err *err);
bool utf8_end(Utf8 *utf8, Err *err);

/* spool.c: a body on its way to a file that DuckDB reads. */
typedef struct Spool {
    char path[PATH_MAX];
    int fd;
    Format format;
    Text head;  /* kept until the format is known */
    bool told;  /* the format */
    bool blank; /* nothing but white space so far */
    Utf8 utf8;
    CsvScan csv;
    uint64_t size; /* decoded */
} Spool;
bool format_read(Str word, Format *out, Err *err);
Format format_detect(Format wanted, Str head);
bool spool_open(Store *store, Format format, Spool **out, Err *err);
void spool_close(Spool **spool); /* and the file */
bool spool_fill(Spool *spool, const IngestFile *file, IngestSource *source, void *context,
                Err *err);
/* On append: each column of a CSV gets the dataset's type where its values allow. */
void spool_prefer(Spool *spool, const Schema *existing);
/* The SELECT over the spooled file. */
void spool_select(const Spool *spool, Text *out);
/* DuckDB's complaint about the file into ours. */
bool spool_error(const Spool *spool, Err *err);

/* pii_kinds.c: one kind of personal data. */
typedef struct PiiKind {
    const char *name;
    bool (*match)(Str value);  /* the whole value is one */
    bool (*within)(Str value); /* its text holds one; may be NULL */
    const char *context;       /* words of a column name that speak for it: " email mail " */
    double alone;      /* share of matches that convinces without such a word; above 1: never */
    double confidence; /* when all match */
} PiiKind;
extern const PiiKind pii_kinds[];
extern const size_t pii_kind_count;

/* sample.c: the verdicts over a staged Parquet file. */
typedef struct PiiFound {
    Str column;
    PiiVerdict verdict;
} PiiFound;
bool pii_sample(Engine *engine, const Schema *schema, const char *path, int64_t rows, Arena *arena,
                PiiFound **out, size_t *count, Err *err);

/* landing.c: the way that every ingest ends in. */
typedef struct Landing {
    Catalog *catalog;
    Engine *engine;
    Buckets *buckets;
    Str dataset;
    CommitMode mode;
    bool widen;
    int64_t started_us;
    const Schema *schema; /* planned, as the next two */
    Str home_name, location;
    Bucket *home;
    char staged[PATH_MAX]; /* the Parquet, until it is adopted */
    DataFile data;
    const bool *hidden; /* columns of the schema whose values are masked away; NULL: none */
    bool adopted;
    PiiFound *pii;
    size_t pii_count;
    Str cursor;      /* the value of PROPERTY_CURSOR; empty: it stays as it is */
    Lineage lineage; /* system, source, query, bytes and duration are the caller's */
    int64_t version;
    int64_t commits, files, rows, bytes; /* so far: more than one commit when it came in chunks */
    Text warnings;                       /* JSON strings, commas between */
    Text enqueued;                       /* indexes that will be tuned because of it, likewise */
    Arena arena;
} Landing;
void landing_close(Landing *landing); /* removes what is staged */
void landing_warn(Landing *landing, Str text);
void landing_warn_json(Landing *landing, Str texts);
bool landing_stage(Landing *landing,
                   Err *err); /* finds the home bucket and names the staged file */
bool landing_commit(Landing *landing, Err *err); /* of the staged file, or without one */
void landing_next(Landing *landing);             /* one more follows: an append, to be planned */
void landing_write(const Landing *landing, Text *result); /* API.md "Ingest" */

/* mask.c: what is kept of a column's values. */
typedef enum Mask { MASK_NONE, MASK_HASH, MASK_REDACT, MASK_PARTIAL } Mask;
/* {"column": "hash"|"redact"|"partial"} into a Mask for each field; LH_INVALID "bad_mask". */
bool masks_read(const Json *json, const Schema *schema, Mask *out, Err *err);
Type mask_type(Mask mask, const Type *type); /* of what is kept */
void mask_sql(Mask mask, const Field *field, Text *out);
