#include "cli/progress.h"

#include "cli/table.h"

#include <stdio.h>
#include <unistd.h>

#define BAR_WIDTH 30
#define DRAW_US 100000

Progress progress_start(void) {
    return (Progress){.terminal = isatty(2), .started_us = clock_us()};
}

static void add_bar(Text *line, int64_t done, int64_t total) {
    int64_t filled = total > 0 ? BAR_WIDTH * MIN(done, total) / total : 0;
    text_add_byte(line, '[');
    for (int64_t i = 0; i < BAR_WIDTH; i++) text_add_byte(line, i < filled ? '#' : '.');
    text_print(line, "] %3lld%% ", total > 0 ? (long long)(100 * MIN(done, total) / total) : 0);
}

static void add_amount(Text *line, int64_t amount, Str unit) {
    char buffer[SIZE_TEXT_SIZE];
    if (str_is(unit, "bytes"))
        text_add(line, size_text(amount, buffer));
    else
        text_print(line, "%lld %.*s", (long long)amount, SHOW(unit));
}

void progress_show(Progress *progress, int64_t done, int64_t total, Str unit) {
    OWNED(text_close) Text line = {0};
    int64_t now = clock_us();
    if (!progress->terminal || now - progress->drawn_us < DRAW_US) return;
    progress->drawn_us = now;
    progress->shown = true;
    double seconds = (double)MAX(now - progress->started_us, 1) / 1e6;
    text_add(&line, STR("\r\033[K"));
    if (total > 0) add_bar(&line, done, total);
    add_amount(&line, done, unit);
    text_add(&line, STR(", "));
    add_amount(&line, (int64_t)((double)done / seconds), unit);
    text_add(&line, STR("/s"));
    fwrite(line.data, 1, line.len, stderr);
    fflush(stderr);
}

void progress_end(Progress *progress) {
    if (progress->shown) fputs("\r\033[K", stderr);
    progress->shown = false;
}
