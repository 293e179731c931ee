#include "kit/kit.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct Case {
    const char *claim;
    void (*run)(void);
} Case;

static Case cases[512];
static size_t case_count;
static jmp_buf failed;
static char dirs[64][64];
static size_t dir_count;

void kit_add(const char *claim, void (*run)(void)) {
    if (case_count == COUNT(cases)) abort();
    cases[case_count++] = (Case){claim, run};
}

void kit_fail(const char *file, int line, const char *format, ...) {
    va_list args;
    va_start(args, format);
    printf("  %s:%d: ", file, line);
    vprintf(format, args);
    printf("\n");
    va_end(args);
    longjmp(failed, 1);
}

const char *kit_dir(void) {
    if (dir_count == COUNT(dirs)) abort();
    char *dir = dirs[dir_count++];
    snprintf(dir, sizeof dirs[0], "/tmp/lakehouse-test-XXXXXX");
    if (!mkdtemp(dir)) abort();
    return dir;
}

static void remove_dirs(void) {
    Err err = {0};
    while (dir_count > 0) dir_remove(dirs[--dir_count], &err);
}

bool kit_server_start(const char *dir, KitServer *out, Err *err) {
    int pipe_fd[2];
    if (pipe(pipe_fd)) return err_errno(err, "cannot make a pipe");
    pid_t pid = fork();
    if (pid < 0) return err_errno(err, "cannot fork");
    if (pid == 0) {
        const char *build = getenv("BUILD") ? getenv("BUILD") : "build";
        char program[512];
        snprintf(program, sizeof program, "%s/lakehouse", build);
        dup2(pipe_fd[1], 1);
        close(pipe_fd[0]);
        execl(program, program, "serve", "--data", dir, "--listen", "127.0.0.1:0", (char *)NULL);
        _exit(127);
    }
    close(pipe_fd[1]);
    char line[256] = "";
    size_t len = 0;
    while (len + 1 < sizeof line && !strchr(line, '\n')) {
        ssize_t n = read(pipe_fd[0], line + len, sizeof line - 1 - len);
        if (n <= 0) break;
        len += (size_t)n;
        line[len] = 0;
    }
    close(pipe_fd[0]);
    *out = (KitServer){.pid = pid};
    char *url = strstr(line, "http://");
    if (!url) {
        kit_server_stop(out, SIGKILL);
        return err_set(err, LH_BUG, "the server did not start: '%s'", line);
    }
    snprintf(out->url, sizeof out->url, "%.*s", (int)strcspn(url, "\n"), url);
    return true;
}

void kit_server_stop(KitServer *server, int signal_number) {
    if (server->pid <= 0) return;
    kill(server->pid, signal_number);
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
}

static int acknowledgements; /* a pipe's end; at most 64 KiB wait in it, then the child does */

void kit_acknowledge(const void *record, size_t size) {
    if (write(acknowledgements, record, size) != (ssize_t)size) _exit(1);
}

int kit_kills(int usual) {
    const char *kills = getenv("CRASH_KILLS");
    return kills ? atoi(kills) : usual;
}

static size_t read_all(int fd, char *out, size_t size_max) {
    size_t size = 0;
    for (ssize_t n; size < size_max && (n = read(fd, out + size, size_max - size)) > 0;)
        size += (size_t)n;
    return size;
}

const void *kit_kill(void (*work)(void *context), void *context, unsigned within_us, size_t size,
                     size_t *count) {
    static _Alignas(16) char records[2 << 16];
    int ends[2], status;
    CHECK(pipe(ends) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        acknowledgements = ends[1];
        if (!setjmp(failed)) work(context);
        _exit(1);
    }
    close(ends[1]);
    CHECK(read(ends[0], records, size) == (ssize_t)size); /* it runs: now at any moment */
    usleep((useconds_t)(random_u64() % within_us));
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    CHECK(WIFSIGNALED(status));
    *count = 1 + read_all(ends[0], records + size, sizeof records - size) / size;
    close(ends[0]);
    return records;
}

static bool run_case(const Case *test) {
    if (setjmp(failed)) return false;
    test->run();
    return true;
}

/* usage: x_test [PART OF A CLAIM]; LAKEHOUSE_TEST_LOG=1 shows what the code under test logs. */
int main(int argc, char **argv) {
    size_t bad = 0, run = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    log_setup(getenv("LAKEHOUSE_TEST_LOG") ? LOG_DEBUG : LOG_ERROR, false);
    for (size_t i = 0; i < case_count; i++) {
        if (argc > 1 && !strstr(cases[i].claim, argv[1])) continue;
        bool ok = run_case(&cases[i]);
        printf("%s %s\n", ok ? "ok  " : "FAIL", cases[i].claim);
        run++;
        bad += !ok;
    }
    remove_dirs();
    printf("%zu passed, %zu failed\n", run - bad, bad);
    return bad > 0;
}
