/* The container of Lance's file versions 2.0, 2.1 and 2.2, for data and for index files.
 *
 *     data and global buffers       each at a multiple of 64
 *     global buffer 0               FileDescriptor {1: Schema {1: fields, 5: metadata}, 2: rows}
 *     A  column metadata            one ColumnMetadata message a column
 *     B  column metadata table      columns * {u64 position, u64 size}
 *     C  global buffer table        buffers * {u64 position, u64 size}
 *     footer, 40 bytes              u64 A, B, C; u32 buffers, columns; u16 major, minor; "LANC"
 *
 * Source: the format's documents; 2.0 says 0.3 in its footer.
 * Thread rule: an opened LanceFile is immutable; a LanceFileWriter belongs to one thread.
 * Internal to lance. */
#pragma once

#include "lance/lance.h"

#define LANCE_BUFFER_MAX (1u << 30) /* of a global buffer, of one read of a column */

/* Writing, in a stream: pages and buffers go out as they are added. */
typedef struct LanceFileWriter LanceFileWriter;
/* In version 2.<minor>, 0 to 2. The schema is borrowed until the writer is closed; columns are its
 * fields. The file becomes durable by the version that names it: see Draft.after. */
bool lance_file_create(Store *store, Str key, uint32_t minor, const LanceSchema *schema,
                       LanceFileWriter **out, Err *err);
void lance_file_meta(LanceFileWriter *writer, Str name, Bytes value); /* of the schema; copied */
/* `rows` more rows of one column as one page; 0 rows make no page. Columns are independent. */
bool lance_file_page(LanceFileWriter *writer, size_t column, const LanceColumn *values, size_t rows,
                     Err *err);
/* A global buffer; *number counts from 1, 0 is the descriptor. */
bool lance_file_add_buffer(LanceFileWriter *writer, Bytes data, uint32_t *number, Err *err);
/* Every column must have the same rows by now. Durable when it returns true. */
bool lance_file_finish(LanceFileWriter *writer, uint64_t *size, uint64_t *rows, Err *err);
void lance_file_discard(LanceFileWriter **writer); /* frees; unfinished: no trace */

/* Reading. */
typedef struct LanceFile LanceFile;
/* `size` as the manifest tells it, 0: unknown; another size than the object's is LH_CORRUPT. */
bool lance_file_open(Store *store, Str key, uint64_t size, LanceFile **out, Err *err);
/* Over bytes in memory, which must outlive it: for tests and small files. */
bool lance_file_open_bytes(Bytes bytes, LanceFile **out, Err *err);
void lance_file_close(LanceFile **file);
void **lance_file_tag(LanceFile *file); /* a word for whoever keeps it; NULL at first */
uint64_t lance_file_rows(const LanceFile *file);
uint64_t lance_file_size(const LanceFile *file); /* bytes */
size_t lance_file_columns(const LanceFile *file);
/* The file's own schema: one entry a field, nested ones too; NULL past the end. In 2.1 and later a
 * field that is not a leaf has no column. */
const LanceField *lance_file_field(const LanceFile *file, size_t field);
bool lance_file_find_meta(const LanceFile *file, Str name, Bytes *out);
bool lance_file_buffer(const LanceFile *file, uint32_t number, Arena *arena, Bytes *out, Err *err);
/* Rows [from, from + count) of a column, read as `type`. Points into the mapped file where it can,
 * else into the arena. */
bool lance_file_read(const LanceFile *file, size_t column, const LanceType *type, uint64_t from,
                     size_t count, Arena *arena, LanceColumn *out, Err *err);
/* From `from` to the end of its page: what one read can hand out without copying. */
uint64_t lance_file_page_rows(const LanceFile *file, size_t column, uint64_t from);
/* Where the values of fixed width of row `from` lie in a mapped file, and how many rows lie there
 * one after the other without a null among them. NULL: they must be read. */
const void *lance_file_place(const LanceFile *file, size_t column, const LanceType *type,
                             uint64_t from, uint64_t *rows);
void lance_file_version(const LanceFile *file, uint32_t *major, uint32_t *minor); /* 2, 0 */
/* A line a page: what it is encoded as. */
bool lance_file_describe(const LanceFile *file, Text *out, Err *err);
