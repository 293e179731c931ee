/* Files of any size to and from the server, a piece at a time. A fetched file appears under its
 * name only when all of it has arrived. */
#include "cli/commands.h"
#include "cli/progress.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Transfer {
    int fd;
    int64_t total; /* -1: unknown */
    bool sends;
    Progress progress;
} Transfer;

static bool is_standard(Str file) {
    return !file.len || str_is(file, "-");
}

static bool read_piece(void *context, void *buffer, size_t size, size_t *got, Err *err) {
    Transfer *t = context;
    ssize_t n;
    do n = read(t->fd, buffer, size);
    while (n < 0 && errno == EINTR);
    if (n < 0) return err_errno(err, "cannot read");
    *got = (size_t)n;
    return true;
}

static bool write_piece(void *context, Bytes data, Err *err) {
    Transfer *t = context;
    return fd_write(t->fd, data, err);
}

static volatile sig_atomic_t interrupted;
static void on_interrupt(int number) {
    (void)number;
    interrupted = 1;
}

static bool show(void *context, int64_t sent, int64_t received) {
    Transfer *t = context;
    progress_show(&t->progress, t->sends ? sent : received, t->total, STR("bytes"));
    return !interrupted;
}

static void close_file(int *fd) {
    if (*fd > 2) fd_close(fd);
}

bool send_file(Cli *cli, Str file, HttpCall call, HttpReply *out, Err *err) {
    const char *path = arena_cstr(&cli->arena, file);
    OWNED(close_file) int fd = is_standard(file) ? 0 : open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0) return err_errno(err, "cannot open '%s'", path);
    if (fstat(fd, &info)) return err_errno(err, "cannot read '%s'", path);
    if (S_ISDIR(info.st_mode)) return err_set(err, LH_INVALID, "'%s' is a directory", path);
    bool sized = S_ISREG(info.st_mode) && fd > 2;
    Transfer t = {.fd = fd, .total = sized ? info.st_size : -1, .sends = true};
    t.progress = progress_start();
    call.source = read_piece;
    call.source_context = &t;
    call.source_size = t.total;
    call.progress = show;
    call.progress_context = &t;
    bool ok = session_call(cli, call, out, err);
    progress_end(&t.progress);
    return ok;
}

/* How much there is to come, for the bar; and the rescue rule is worth a word: what comes is not
 * from where it was asked for. */
static bool read_head(void *context, int status, Str headers, Err *err) {
    Transfer *t = context;
    uint64_t total;
    (void)err;
    if (status / 100 != 2) return true;
    if (str_to_u64(http_header(headers, "content-length"), &total) && total <= INT64_MAX)
        t->total = (int64_t)total;
    Str server = http_header(headers, "x-lakehouse-served-by");
    if (server.len)
        fprintf(stderr, "lakehouse: read from the rescue bucket '%.*s'\n", SHOW(server));
    return true;
}

static bool receive(Cli *cli, int fd, HttpCall call, Err *err) {
    OWNED(http_reply_close) HttpReply reply = {0};
    Transfer t = {.fd = fd, .total = -1, .progress = progress_start()};
    call.head = read_head;
    call.sink = write_piece;
    call.sink_context = &t;
    call.progress = show;
    call.progress_context = &t;
    bool ok = session_call(cli, call, &reply, err);
    progress_end(&t.progress);
    return ok;
}

bool receive_file(Cli *cli, Str file, HttpCall call, Err *err) {
    if (is_standard(file)) return receive(cli, 1, call, err);
    const char *path = arena_cstr(&cli->arena, file);
    const char *part = arena_print(&cli->arena, "%s.%d.part", path, (int)getpid()).data;
    OWNED(fd_close) int fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) return err_errno(err, "cannot make '%s'", part);
    /* An interrupt ends the transfer from within, so that no part of a file stays behind. */
    struct sigaction catch = {.sa_handler = on_interrupt}, before;
    sigaction(SIGINT, &catch, &before);
    bool ok = receive(cli, fd, call, err);
    sigaction(SIGINT, &before, NULL);
    if (ok && fsync(fd)) ok = err_errno(err, "cannot write '%s'", part);
    if (ok && rename(part, path)) ok = err_errno(err, "cannot make '%s'", path);
    if (!ok) unlink(part);
    return ok;
}
