/* The interactive prompt: lines are edited with libedit and gathered until a `;`. What was typed is
 * kept in ~/.lakehouse_history. A failed statement is said and the prompt goes on. */
#include "cli/commands.h"

#include <editline/readline.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define HISTORY_MAX 1000

static void free_line(char **line) {
    free(*line);
}

static const char *history_path(Arena *arena) {
    const char *home = getenv("HOME");
    return home ? arena_print(arena, "%s/.lakehouse_history", home).data : NULL;
}

static void keep_history(const char *path) {
    if (!path) return;
    mode_t before = umask(077); /* what was asked may be private */
    write_history(path);
    umask(before);
}

static bool run_word(Cli *cli, Str line, bool *leaves) {
    Err err;
    NameValues one = {0};
    *leaves = str_is(line, "\\q") || str_is(line, "quit") || str_is(line, "exit");
    if (*leaves) return true;
    if (str_is(line, "\\?") || str_is(line, "help")) {
        printf("a statement ends with ;      \\d lists datasets      \\d NAME shows one      "
               "\\q leaves\n");
        return true;
    }
    if (!str_starts(line, STR("\\d"))) return false;
    one.name = str_trim(str_slice(line, 2, line.len));
    if (!cmd_datasets(cli, &one, &err)) fprintf(stderr, "lakehouse: %s\n", err.message);
    return true;
}

/* Runs each whole statement at the start of *text and leaves the rest. */
static void run_whole(Cli *cli, const SqlValues *values, Text *text) {
    size_t end;
    while (sql_statement_end(text_str(text), &end)) {
        Err err;
        OWNED(text_close) Text rest = {0};
        Str statement = str_trim(str_slice(text_str(text), 0, end));
        if (statement.len && !sql_run(cli, values, statement, &err))
            fprintf(stderr, "lakehouse: %s\n", err.message);
        text_add(&rest, str_trim(str_slice(text_str(text), end + 1, text->len)));
        text_clear(text);
        text_add(text, text_str(&rest));
    }
}

static bool take_line(Cli *cli, const SqlValues *values, const char *history, Text *text) {
    bool leaves = false;
    OWNED(free_line) char *line = readline(text->len ? "      ...> " : "lakehouse> ");
    if (!line) return printf("\n"), false;
    Str trimmed = str_trim(str_from(line));
    if (!trimmed.len) return true;
    add_history(line);
    keep_history(history); /* at once: an interrupt may end the program any time */
    if (!text->len && run_word(cli, trimmed, &leaves)) return !leaves;
    text_add(text, trimmed);
    text_add_byte(text, '\n');
    run_whole(cli, values, text);
    return true;
}

bool sql_prompt(Cli *cli, const SqlValues *values, Err *err) {
    OWNED(text_close) Text text = {0};
    OWNED(arena_close) Arena arena = {0};
    (void)err;
    using_history();
    stifle_history(HISTORY_MAX);
    const char *path = history_path(&arena);
    if (path) read_history(path);
    printf("lakehouse %s at %.*s; \\? helps\n", LAKEHOUSE_VERSION, SHOW(cli->url));
    while (take_line(cli, values, path, &text)) arena_close(&cli->arena);
    return true;
}
