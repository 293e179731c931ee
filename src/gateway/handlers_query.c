/* POST /query. A result that fits one buffer is answered with its length; a longer one is streamed
 * as it comes. */
#include "gateway/bodies.h"
#include "gateway/route.h"

#define BUFFER_SIZE (64 << 10)

const Option query_body[] = {
    {"sql",                         LH_TEXT, AT(QueryBody, sql), REQUIRED,
     "one SELECT over datasets and vector_search('index', 'words' or [numbers], k)"},
    {"params",                 LH_JSON, AT(QueryBody, params), NULL, "values of ? or $1 in order"},
    {"format",                     LH_TEXT, AT(QueryBody, format), NULL, "of the answer; json, or what Accept names",
     .choices = "json|ndjson|csv|arrow|parquet"},
    {"limit",                             LH_INT, AT(QueryBody, limit), NULL, "rows at most; 10000 for json, else all",
     .min = 1, .max = 1e12},
    {"timeout_ms",      LH_INT, AT(QueryBody, timeout_ms), NULL, "time limit", .min = 1,
     .max = 86400000},
    {"as_of",                      LH_JSON, AT(QueryBody, as_of), NULL, "{\"dataset\": version}"},
    {0},
};

#define JSON_ROWS_DEFAULT 10000

typedef struct Format {
    const char *name, *content_type;
    RowsFormat rows;
    bool file; /* not streamed: Parquet, whose footer comes last */
} Format;
static const Format formats[] = {
    {"json",    "application/json",                    ROWS_JSON   },
    {"ndjson",  "application/x-ndjson",                ROWS_NDJSON },
    {"csv",     "text/csv",                            ROWS_CSV    },
    {"arrow",   "application/vnd.apache.arrow.stream", ROWS_ARROW  },
    {"parquet", "application/vnd.apache.parquet",      .file = true},
};

static const Format *choose_format(const Call *call, const QueryBody *body) {
    Str accept = request_header(call->request, "accept");
    size_t at;
    for (size_t i = 0; i < COUNT(formats); i++)
        if (str_is(body->format, formats[i].name)) return &formats[i];
    for (size_t i = 1; i < COUNT(formats); i++)
        if (str_find(accept, str_from(formats[i].content_type), &at)) return &formats[i];
    return &formats[0];
}

typedef struct Output {
    Call *call;
    const Format *format;
    Text buffer;
} Output;

static void output_close(Output *output) {
    text_close(&output->buffer);
}

static bool output_flush(Output *output, Err *err) {
    Response *response = output->call->response;
    if (!response_started(response) &&
        !response_stream(response, output->format->content_type, err))
        return false;
    bool ok = response_write(response, text_bytes(&output->buffer), err);
    text_clear(&output->buffer);
    return ok;
}

static bool output_add(void *context, Bytes data, Err *err) {
    Output *output = context;
    text_add(&output->buffer, str_of(data));
    return output->buffer.len < BUFFER_SIZE || output_flush(output, err);
}

/* The members after "rows", and the object's end. */
static void add_tail(Output *output, const Rows *rows, const RowsWritten *written) {
    int64_t elapsed = clock_us() - output->call->request->started_us;
    text_print(&output->buffer,
               ",\"row_count\":%lld,\"truncated\":%s,\"elapsed_ms\":%.3f,\"scanned_bytes\":%lld}",
               (long long)written->rows, written->truncated ? "true" : "false",
               (double)elapsed / 1000, (long long)rows_scanned_bytes(rows));
}

static bool output_end(Output *output, Err *err) {
    if (response_started(output->call->response)) return output_flush(output, err);
    response_take(output->call->response, output->format->content_type, &output->buffer);
    return true;
}

static bool answer_file(Call *call, Rows *rows, const Format *format, int64_t limit, Err *err) {
    RowsWritten written;
    uint64_t size;
    int fd;
    if (!rows_parquet(rows, limit, &fd, &size, &written, err)) return false;
    response_header(call->response, "Content-Type", str_from(format->content_type));
    response_file(call->response, fd, 0, size);
    return true;
}

bool query_run(App *app, Call *call, Err *err) {
    const QueryBody *body = call->body;
    OWNED(rows_close) Rows *rows = NULL;
    OWNED(output_close) Output output = {.call = call, .format = choose_format(call, body)};
    bool json = output.format->rows == ROWS_JSON && !output.format->file;
    Query query = {.sql = body->sql,
                   .params = body->params,
                   .as_of = body->as_of,
                   .timeout_ms = body->timeout_ms ? body->timeout_ms : app->query_timeout_ms,
                   .cancelled = client_is_gone,
                   .context = call->request};
    int64_t limit = body->limit ? body->limit : json ? JSON_ROWS_DEFAULT : 0;
    RowsWritten written;
    if (!query_open(app->engine, &query, &rows, err)) return false;
    if (output.format->file) return answer_file(call, rows, output.format, body->limit, err);
    if (!rows_write(rows, output.format->rows, limit, output_add, &output, &written, err))
        return false;
    if (json) add_tail(&output, rows, &written);
    return output_end(&output, err);
}
