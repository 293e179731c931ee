/* Reading a command line by a command's rows, and printing help from the same rows. */
#include "cli/cli.h"
#include "cli/session.h"

#include <stdio.h>
#include <string.h>

#define NAME_WIDTH 18
#define HELP_WIDTH 24

static const Option session_options[] = {
    {"url",              LH_TEXT, AT(SessionOptions, url), NULL,
     "the server, http:// or https://; else LAKEHOUSE_URL, else http://127.0.0.1:3100"},
    {"key_file", LH_TEXT, AT(SessionOptions, key_file), NULL,
     "a file that holds the access key; else LAKEHOUSE_KEY"},
    {"json",              LH_FLAG, AT(SessionOptions, json), NULL, "print the server's own JSON"},
    {0                 }
};

typedef struct Line { /* a command line being read */
    const Command *command;
    int argc;
    char **argv;
    int at;
    size_t operands; /* read so far */
    bool flags_end;  /* "--" was there */
    void *values;
    SessionOptions session;
    uint64_t given; /* bit per row of the command's options */
} Line;

/* A name of one word or two, at the start of the line; *words says how many it took. */
static const Command *find(const Command *const *tables, int argc, char **argv, int *words) {
    const Command *found = NULL;
    *words = 0;
    for (; *tables; tables++) {
        for (const Command *c = *tables; c->name; c++) {
            Str rest = str_from(c->name), first = str_until(&rest, ' ');
            int count = rest.len ? 2 : 1;
            if (count > argc || count <= *words || !str_is(first, argv[0])) continue;
            if (count == 2 && !str_is(rest, argv[1])) continue;
            found = c;
            *words = count;
        }
    }
    return found;
}

/* --log-format names the row log_format. */
static bool flag_is(const Option *option, Str flag) {
    Str name = str_from(option->name);
    if (name.len != flag.len) return false;
    for (size_t i = 0; i < name.len; i++)
        if (name.data[i] != (flag.data[i] == '-' ? '_' : flag.data[i])) return false;
    return true;
}

static const Option *find_flag(const Option *options, Str flag) {
    for (; options && options->name; options++)
        if (flag_is(options, flag)) return options;
    return NULL;
}

static const Option *flags_of(const Command *command) {
    return command->options ? command->options + command->operands : NULL;
}

static bool unknown_flag(const Line *line, Str flag, Err *err) {
    const Option *flags = flags_of(line->command);
    const char *near = flags ? option_nearest(flags, flag) : NULL;
    if (!near && line->command->call) near = option_nearest(session_options, flag);
    return err_set(err, LH_INVALID, "'%s' has no option '%s%.*s'%s%s%s", line->command->name,
                   flag.len == 1 ? "-" : "--", SHOW(flag), near ? "; did you mean '--" : "",
                   near ? near : "", near ? "'?" : "");
}

static bool set(Line *line, const Option *option, Str value, void *out, Err *err) {
    const Option *options = line->command->options;
    if (out == line->values) line->given |= 1ull << (option - options);
    return option_set(option, value, out, err);
}

/* argv[at] is a flag: --name VALUE, --name=VALUE, -k VALUE, -k10; a LH_FLAG needs no value. */
static bool read_flag(Line *line, Err *err) {
    Str text = str_from(line->argv[line->at++]);
    bool is_long = str_starts(text, STR("--"));
    Str value = str_slice(text, 2, text.len), flag = str_slice(text, 1, 2);
    if (is_long) flag = str_until(&value, '=');
    bool attached = is_long ? flag.len + 2 < text.len : value.len > 0;
    void *out = line->values;
    const Option *option = find_flag(flags_of(line->command), flag);
    if (!option && line->command->call) {
        option = find_flag(session_options, flag);
        out = &line->session;
    }
    if (!option) return unknown_flag(line, flag, err);
    if (attached) return set(line, option, value, out, err);
    if (option->type == LH_FLAG) return set(line, option, STR("true"), out, err);
    if (line->at == line->argc) return err_set(err, LH_INVALID, "'%.*s' needs a value", SHOW(text));
    return set(line, option, str_from(line->argv[line->at++]), out, err);
}

static bool read_operand(Line *line, Err *err) {
    const Command *command = line->command;
    const char *text = line->argv[line->at++];
    if (line->operands == command->operands)
        return err_set(err, LH_INVALID, "'%s' takes %zu operand%s, not also '%s'", command->name,
                       command->operands, command->operands == 1 ? "" : "s", text);
    const Option *option = &command->options[line->operands++];
    return set(line, option, str_from(text), line->values, err);
}

static bool check_required(const Line *line, Err *err) {
    const Command *command = line->command;
    for (size_t i = 0; command->options && command->options[i].name; i++) {
        const Option *option = &command->options[i];
        if (!option_is_required(option) || line->given & 1ull << i) continue;
        return err_set(err, LH_INVALID, "'%s' needs %s%s", command->name,
                       i < command->operands ? "" : "--", option->name);
    }
    return true;
}

static bool read_line(Line *line, Err *err) {
    if (line->command->options) options_defaults(line->command->options, line->values);
    while (line->at < line->argc) {
        Str text = str_from(line->argv[line->at]);
        bool flag = !line->flags_end && text.len > 1 && text.data[0] == '-';
        if (flag && str_is(text, "--")) {
            line->flags_end = true;
            line->at++;
        } else if (!(flag ? read_flag(line, err) : read_operand(line, err))) {
            return false;
        }
    }
    return check_required(line, err);
}

static Str flag_text(const Option *option, Arena *arena) {
    static const char *const values[] = {"TEXT", NULL, "N", "X", NULL};
    Str name = str_from(option->name);
    char *copy = (char *)arena_cstr(arena, name);
    for (size_t i = 0; i < name.len; i++)
        if (copy[i] == '_') copy[i] = '-';
    const char *value = option->choices ? option->choices : values[option->type];
    return arena_print(arena, "%s%s%s%s", name.len == 1 ? "-" : "--", copy, value ? " " : "",
                       value ? value : "");
}

static void print_usage(FILE *to, const Command *command) {
    bool has_flags = command->call || (flags_of(command) && flags_of(command)->name);
    fprintf(to, "usage: lakehouse %s", command->name);
    for (size_t i = 0; i < command->operands; i++) {
        bool required = option_is_required(&command->options[i]);
        fprintf(to, required ? " %s" : " [%s]", command->options[i].name);
    }
    fprintf(to, "%s\n", has_flags ? " [OPTION...]" : "");
}

static void print_options(const Option *options, size_t operands) {
    OWNED(arena_close) Arena arena = {0};
    for (size_t i = 0; options && options[i].name; i++) {
        const Option *o = &options[i];
        Str left = i < operands ? str_from(o->name) : flag_text(o, &arena);
        bool shows = o->fallback && !option_is_required(o) && o->type != LH_FLAG && *o->fallback;
        if (left.len > HELP_WIDTH)
            printf("  %.*s\n  %*s %s", SHOW(left), HELP_WIDTH, "", o->help);
        else
            printf("  %-*.*s %s", HELP_WIDTH, SHOW(left), o->help);
        if (i >= operands && option_is_required(o)) printf(" (required)");
        if (shows) printf(" (default %s)", o->fallback);
        printf("\n");
    }
}

static void print_command(const Command *command) {
    print_usage(stdout, command);
    printf("\n%s.\n\n", command->help);
    print_options(command->options, command->operands);
    if (command->call) print_options(session_options, 0);
}

static void print_all(const Command *const *tables) {
    printf("lakehouse %s: tables, objects and vectors on your own machine\n\n"
           "usage: lakehouse COMMAND [...]      lakehouse help COMMAND says more\n",
           LAKEHOUSE_VERSION);
    for (; *tables; tables++) {
        printf("\n");
        for (const Command *c = *tables; c->name; c++)
            if (!c->hidden) printf("  %-*s %s\n", NAME_WIDTH, c->name, c->help);
    }
}

static int complain(const char *format, const char *what, const char *more) {
    fprintf(stderr, "lakehouse: ");
    fprintf(stderr, format, what, more);
    fprintf(stderr, "\n");
    return EXIT_USAGE;
}

static int unknown_command(const Command *const *tables, const char *word) {
    const char *near = NULL;
    size_t distance = 3;
    for (; *tables; tables++) {
        for (const Command *c = *tables; c->name; c++) {
            size_t d = str_distance(str_from(word), str_from(c->name));
            if (d < distance) distance = d, near = c->name;
        }
    }
    if (near) return complain("no command '%s'; did you mean '%s'?", word, near);
    return complain("no command '%s'; 'lakehouse help' lists all%s", word, "");
}

/* The group's own row, when the word has none of its own: `help bucket` shows all of them. */
static int help(const Command *const *tables, int argc, char **argv) {
    int words, shown = 0;
    if (argc == 0) return print_all(tables), EXIT_DONE;
    const Command *command = find(tables, argc, argv, &words);
    if (command) print_command(command), shown++;
    Str group = str_from(argv[0]);
    for (const Command *const *table = tables; *table && words < 2; table++) {
        for (const Command *c = *table; c->name; c++) {
            Str rest = str_from(c->name), first = str_until(&rest, ' ');
            if (!rest.len || !str_equal(first, group) || c->hidden) continue;
            if (shown == 0) printf("usage: lakehouse %s ...\n", argv[0]);
            if (shown++ == 1 && command) printf("\n");
            printf("  lakehouse %-*s %s\n", NAME_WIDTH, c->name, c->help);
        }
    }
    return shown ? EXIT_DONE : unknown_command(tables, argv[0]);
}

static bool asks_help(int argc, char **argv) {
    for (int i = 0; i < argc && !str_is(str_from(argv[i]), "--"); i++)
        if (str_is(str_from(argv[i]), "--help") || str_is(str_from(argv[i]), "-h")) return true;
    return false;
}

static bool run_line(const Line *line, Err *err) {
    const Command *command = line->command;
    if (command->run) return command->run(line->values, err);
    OWNED(session_close) Cli *cli = NULL;
    return session_open(&line->session, &cli, err) && command->call(cli, line->values, err);
}

static int run(const Command *command, int argc, char **argv) {
    OWNED(arena_close) Arena arena = {0};
    Line line = {.command = command, .argc = argc, .argv = argv};
    Err err = {0};
    line.values = arena_alloc(&arena, command->values_size + 1);
    if (!read_line(&line, &err)) {
        complain("%s%s", err.message, "");
        print_usage(stderr, command);
        return EXIT_USAGE;
    }
    bool done = run_line(&line, &err);
    if (done && (fflush(stdout) || ferror(stdout)))
        done = err_errno(&err, "cannot write to standard output");
    if (done) return EXIT_DONE;
    complain("%s%s", err.message, "");
    return EXIT_FAILED;
}

int commands_main(const Command *const *tables, int argc, char **argv) {
    int words;
    if (argc < 2) return print_all(tables), EXIT_USAGE;
    Str word = str_from(argv[1]);
    if (str_is(word, "help")) return help(tables, argc - 2, argv + 2);
    if (str_is(word, "--help") || str_is(word, "-h")) return print_all(tables), EXIT_DONE;
    if (str_is(word, "--version") || str_is(word, "version"))
        return printf("lakehouse %s\n", LAKEHOUSE_VERSION), EXIT_DONE;
    const Command *command = find(tables, argc - 1, argv + 1, &words);
    if (!command) return unknown_command(tables, argv[1]);
    argc -= 1 + words, argv += 1 + words;
    if (asks_help(argc, argv)) return print_command(command), EXIT_DONE;
    return run(command, argc, argv);
}

int cli_main(int argc, char **argv) {
    const Command *const tables[] = {cli_commands, NULL};
    return commands_main(tables, argc, argv);
}

bool cli_knows(const char *command) {
    for (const Command *c = cli_commands; c->name; c++) {
        Str rest = str_from(c->name);
        if (str_equal(str_until(&rest, ' '), str_from(command))) return true;
    }
    return false;
}
