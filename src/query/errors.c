/* DuckDB's errors are a text: "Binder Error: what\n\nLINE 2: excerpt\n           ^". Its prefix
 * gives our kind, its excerpt and caret the position in the user's text. */
#include "query/engine.h"

#include <string.h>

typedef struct Words {
    const char *prefix; /* of the message */
    ErrKind kind;
    const char *code;
} Words;

static const Words kinds[] = {
    {"INTERNAL Error",      LH_BUG,       "internal_error"},
    {"FATAL Error",         LH_BUG,       "internal_error"},
    {"TransactionContext",  LH_BUG,       "internal_error"},
    {"INTERRUPT Error",     LH_CANCELLED, NULL            },
    {"Permission Error",    LH_DENIED,    "sql_forbidden" },
    {"Out of Memory Error", LH_TOO_BIG,   "memory_limit"  },
    {"IO Error",            LH_OFFLINE,   NULL            },
    {"Invalid Error",       LH_CORRUPT,   NULL            },
    {"Serialization Error", LH_CORRUPT,   NULL            },
};

static Str drop_prefix(Str message, const Words **found) {
    for (size_t i = 0; i < COUNT(kinds); i++)
        if (str_starts(message, str_from(kinds[i].prefix))) *found = &kinds[i];
    size_t colon;
    if (!str_find(message, STR(" Error: "), &colon) || colon > 40) return message;
    return str_slice(message, colon + STR(" Error: ").len, message.len);
}

/* Line and position are counted from 1; positions in bytes. */
bool sql_error_at(Str sql, size_t offset, Str message, Err *err) {
    size_t line = 1, start = 0;
    offset = MIN(offset, sql.len);
    for (size_t i = 0; i < offset; i++) {
        if (sql.data[i] != '\n') continue;
        line++;
        start = i + 1;
    }
    return err_code(err, LH_INVALID, "sql_error", "line %zu, position %zu: %.*s", line,
                    offset - start + 1, SHOW(message));
}

static size_t line_start(Str sql, uint64_t line) {
    size_t at = 0;
    for (uint64_t n = 1; n < line && at < sql.len; at++)
        if (sql.data[at] == '\n') n++;
    return at;
}

/* Where the caret points to. Long lines are shown as an excerpt between dots. */
static bool find_caret(Str shown, Str sql, size_t *offset) {
    Str head = str_until(&shown, ':');
    uint64_t line;
    if (!str_starts(head, STR("LINE ")) || !str_to_u64(str_slice(head, 5, head.len), &line))
        return false;
    Str excerpt = str_until(&shown, '\n');
    size_t caret, at = 0, start = line_start(sql, line);
    if (!str_find(shown, STR("^"), &caret) || caret < head.len + 2) return false;
    caret -= head.len + 2;
    excerpt = str_slice(excerpt, 1, excerpt.len);
    if (str_starts(excerpt, STR("..."))) {
        size_t end = excerpt.len - (str_ends(excerpt, STR("...")) ? 3 : 0);
        if (!str_find(str_slice(sql, start, sql.len), str_slice(excerpt, 3, end), &at))
            return false;
        caret -= MIN(caret, 3);
    }
    *offset = start + at + caret;
    return *offset <= sql.len;
}

static bool invalid_sql(Str message, Str sql, Err *err) {
    size_t shown_at, offset;
    Str what = message;
    if (str_find(message, STR("\nLINE "), &shown_at)) {
        Str shown = str_slice(message, shown_at + 1, message.len);
        what = str_slice(message, 0, shown_at);
        if (find_caret(shown, sql, &offset)) return sql_error_at(sql, offset, str_trim(what), err);
    }
    what = str_trim(what);
    return err_code(err, LH_INVALID, "sql_error", "%.*s", SHOW(what));
}

bool sql_error(const char *text, Str sql, Err *err) {
    const Words *words = NULL;
    size_t at;
    if (!text) return err_set(err, LH_BUG, "the SQL engine failed without a word");
    Str message = drop_prefix(str_from(text), &words);
    if (!words) return invalid_sql(message, sql, err);
    ErrKind kind = words->kind;
    Str whole = message;
    message = str_until(&message, '\n');
    if (str_find(whole, STR("max_temp_directory_size"), &at) ||
        str_find(whole, STR("No space left"), &at))
        return err_code(err, LH_FULL, "spill_limit", "no space to spill to: %.*s", SHOW(message));
    if (kind == LH_TOO_BIG)
        return err_code(err, kind, words->code,
                        "the query needs more memory than it may have: %.*s", SHOW(message));
    return err_code(err, kind, words->code, "%.*s", SHOW(message));
}
