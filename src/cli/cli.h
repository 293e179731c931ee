/* The commands of the `lakehouse` program and how command lines are read.
 *
 * A Command is a row of a table: the same row parses, is printed by `lakehouse help`, and is run.
 * Its operands and flags are Option rows, the operands first: option {"FILE", ...} is an operand,
 * {"log_format", ...} the flag --log-format, {"k", ...} the flag -k. The program joins the tables
 * of the server's commands and of the client's:
 *
 *     const Command *const tables[] = {server_commands, cli_commands, NULL};
 *     return commands_main(tables, argc, argv);
 *
 * Exit status: 0 done, 1 it failed (the reason on standard error, one line), 2 wrong usage.
 * Thread rule: one thread. */
#pragma once

#include "base/base.h"

#define EXIT_DONE 0
#define EXIT_FAILED 1
#define EXIT_USAGE 2

typedef struct Cli Cli; /* a client's session with a server (session.h) */

typedef struct Command {
    const char *name; /* one word or two: "serve", "bucket add" */
    const char *help; /* one line */
    const Option *options;
    size_t operands;    /* of the options, the first so many are operands */
    size_t values_size; /* of the struct that the options fill */
    /* One of the two. `values` is the filled struct; its text lives as long as the program. False:
     * the command failed and err says why. */
    bool (*run)(const void *values, Err *err);
    bool (*call)(Cli *cli, const void *values, Err *err); /* talks to a server: takes --url ... */
    bool hidden; /* another spelling of a command; not in the list of all */
} Command;

/* Tables end with a row that has no name, the list of tables with NULL. `help`, `help COMMAND`,
 * `--help` and `--version` are known without a row. Returns the exit status. */
int commands_main(const Command *const *tables, int argc, char **argv);

extern const Command cli_commands[];
int cli_main(int argc, char **argv); /* the client's commands alone */
bool cli_knows(const char *command);
