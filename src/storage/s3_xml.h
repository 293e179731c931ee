/* What an S3 server answers in XML, read with expat: errors, lists, uploads. Hostile bytes: no
 * document type, so no entities; depth, size and each value are bounded. Pure and thread safe. */
#pragma once

#include "storage/store.h"

#define S3_XML_SIZE_MAX (16u << 20) /* 1000 keys of 1024 bytes, each byte as %XX, are 3 MiB */

typedef struct S3Error {
    char code[64], region[64]; /* letters, digits, '-', '_'; empty: not said */
} S3Error;
/* Leaves it empty when the bytes are no error document. */
void s3_xml_error(Bytes data, S3Error *out);
void s3_word(Str text, char *out, size_t size); /* of its letters, digits, '-', '_' */

/* One page of ListObjectsV2 asked for with encoding-type=url; keys are decoded. In the arena. */
typedef struct S3Page {
    ObjectEntry *objects;
    size_t object_count;
    Str *prefixes;
    size_t prefix_count;
    bool truncated;
    Str token; /* for the next page */
} S3Page;
/* LH_OFFLINE when it is no such document or holds more than `limit` objects or prefixes. */
bool s3_xml_list(Bytes data, size_t limit, Arena *arena, S3Page *out, Err *err);

/* ListMultipartUploads: at most `limit` are taken, the rest is passed over. */
typedef struct S3UploadEntry {
    Str key, raw_key; /* decoded, and as it stood there: some servers do not encode it here */
    Str id;
    int64_t since_ms;
} S3UploadEntry;
bool s3_xml_uploads(Bytes data, size_t limit, Arena *arena, S3UploadEntry **out, size_t *out_count,
                    Err *err);

/* CreateMultipartUpload's id; CompleteMultipartUpload's etag, false when there is none (Ceph). */
bool s3_xml_upload_id(Bytes data, Arena *arena, Str *out, Err *err);
bool s3_xml_etag(Bytes data, char out[STORE_ETAG_SIZE]);
/* An etag as servers write it, quoted or not; false when it is empty or too long. */
bool s3_etag(Str text, char out[STORE_ETAG_SIZE]);
