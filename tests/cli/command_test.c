#include "cli/capture.h"

typedef struct Values {
    Str file, mode;
    int64_t k;
    bool force;
    double rate;
} Values;

static Values seen;
static bool runs;

static bool keep(const void *values, Err *err) {
    (void)err;
    seen = *(const Values *)values;
    printf("%.*s", SHOW(seen.file));
    return runs = true;
}
static bool fails(const void *values, Err *err) {
    (void)values;
    return err_set(err, LH_OFFLINE, "the disk is '%s'", "gone");
}

static const Option options[] = {
    {"FILE",     LH_TEXT, AT(Values, file), REQUIRED, "a file"},
    {"open_mode", LH_TEXT, AT(Values, mode), "read", "how", .choices = "read|write"},
    {"k",  LH_INT, AT(Values, k), "10", "how many", .min = 1, .max = 100},
    {"force",          LH_FLAG, AT(Values, force), NULL, "really"},
    {0  }
};
static const Command first[] = {
    {.name = "copy",
     .help = "copies a file",
     .options = options,
     .operands = 1,
     .values_size = sizeof(Values),
     .run = keep},
    {.name = "break",            .help = "breaks", .run = fails},
    {0}
};
static const Command second[] = {
    {.name = "copy all",
     .help = "copies all",
     .options = options,
     .operands = 1,
     .values_size = sizeof(Values),
     .run = keep},
    {0}
};
static const Command *const tables[] = {first, second, NULL};

static Arena arena;
static Captured run(const char *const *words) {
    seen = (Values){0};
    runs = false;
    return capture(tables, &arena, NULL, words);
}

TEST("operands and flags in every spelling fill the command's values") {
    CHECK_INT(run(WORDS("copy", "a")).status, 0);
    CHECK(seen.k == 10 && !seen.force);
    CHECK_INT(run(WORDS("copy", "--open-mode", "write", "-k", "7", "--force", "a")).status, 0);
    CHECK(seen.k == 7 && seen.force);
    CHECK_INT(run(WORDS("copy", "a", "--open_mode=write", "-k9", "--force=false")).status, 0);
    CHECK(seen.k == 9 && !seen.force);
    Captured got = run(WORDS("copy", "--", "--force"));
    CHECK(got.status == 0 && !seen.force);
    CHECK_STR(got.out, "--force");
    CHECK_STR(run(WORDS("copy", "-")).out, "-");
    CHECK_STR(run(WORDS("copy", "all", "b")).out, "b");
}

TEST("wrong usage is status 2 with the reason and the usage on standard error") {
    static const struct {
        const char *words[6], *reason;
    } wrong[] = {
        {{"copy"},                          "'copy' needs FILE"            },
        {{"copy", "a", "b"},                "takes 1 operand, not also 'b'"},
        {{"copy", "a", "--forse"},          "did you mean '--force'?"      },
        {{"copy", "a", "-x"},               "no option '-x'"               },
        {{"copy", "a", "-k"},               "'-k' needs a value"           },
        {{"copy", "a", "-k", "1000"},       "'k' must be between 1 and 100"},
        {{"copy", "a", "--open-mode=both"}, "must be one of read|write"    },
        {{"copi"},                          "did you mean 'copy'?"         },
        {{"nothing"},                       "no command 'nothing'"         },
    };
    for (size_t i = 0; i < COUNT(wrong); i++) {
        Captured got = run(wrong[i].words);
        CHECK_INT(got.status, 2);
        CHECK(has(got.error, wrong[i].reason));
        CHECK(got.out.len == 0 && !runs);
    }
}

TEST("a failure is status 1 and one line") {
    Captured got = run(WORDS("break"));
    CHECK_INT(got.status, 1);
    CHECK_STR(got.error, "lakehouse: the disk is 'gone'\n");
    CHECK_INT(got.out.len, 0);
}

TEST("help is printed from the rows that parse") {
    Captured all = run(WORDS("help")), one = run(WORDS("copy", "--help"));
    CHECK(all.status == 0 && has(all.out, "copies a file") && has(all.out, "copy all"));
    CHECK(one.status == 0 && !runs && has(one.out, "usage: lakehouse copy FILE [OPTION...]"));
    CHECK(has(one.out, "--open-mode read|write") && has(one.out, "(default read)"));
    CHECK(has(run(WORDS("help", "copy")).out, "copies all"));
    CHECK_INT(run(WORDS("help", "copx")).status, 2);
    CHECK(has(run(WORDS("--version")).out, "lakehouse "));
}

TEST("each client command has its help, and a line that lacks an operand is refused") {
    const Command *const client[] = {cli_commands, NULL};
    for (const Command *c = cli_commands; c->name; c++) {
        Str second_word = str_from(c->name), word = str_until(&second_word, ' ');
        const char *words[] = {arena_cstr(&arena, word), arena_cstr(&arena, second_word), "--help",
                               NULL};
        if (!second_word.len) words[1] = "--help", words[2] = NULL;
        Captured got = capture(client, &arena, NULL, words);
        CHECK(got.status == 0 && has(got.out, c->help) && c->call);
        CHECK(cli_knows(words[0]));
    }
    CHECK(!cli_knows("serve") && !cli_knows(""));
    arena_close(&arena);
}
