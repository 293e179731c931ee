/* A thread per connection. A request is known by its first line, at the head of what the client
 * sends after an answer: clients here do not pipeline. */
#include "kit/relay.h"

#include "base/base.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINES_MAX 4096
#define LINE_SIZE 512
#define CUT_AFTER 100000

struct Relay {
    int listener, server_port;
    char url[64];
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    char lines[LINES_MAX][LINE_SIZE];
    int line_count, connections;
    char part[64];
    RelayFault fault;
    int times;
    _Atomic bool closing;
};

typedef struct Link {
    Relay *relay;
    int client, server;
    int fault;       /* for the request under way; -1: none */
    bool in_request; /* the client sent the last bytes */
    size_t answered; /* bytes of the answer under way */
} Link;

static int socket_to(int port, bool listens) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = listens ? bind(fd, (void *)&address, sizeof address) || listen(fd, 64)
                     : connect(fd, (void *)&address, sizeof address);
    if (rc == 0) return fd;
    close(fd);
    return -1;
}

static bool send_all(int fd, const char *data, size_t size) {
    while (size > 0) {
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
        if (n <= 0) return false;
        data += n;
        size -= (size_t)n;
    }
    return true;
}

/* Notes the request and gives the fault that is ordered for it, or -1. */
static int note_request(Relay *relay, const char *data, size_t size) {
    int fault = -1;
    char line[LINE_SIZE];
    Str rest = {data, size}, first = str_until(&rest, '\r');
    snprintf(line, sizeof line, "%.*s", SHOW(first));
    pthread_mutex_lock(&relay->lock);
    if (relay->line_count < LINES_MAX) memcpy(relay->lines[relay->line_count++], line, LINE_SIZE);
    if (relay->times > 0 && strstr(line, relay->part)) {
        relay->times--;
        fault = (int)relay->fault;
    }
    pthread_mutex_unlock(&relay->lock);
    return fault;
}

static bool from_client(Link *link, const char *data, size_t size) {
    static const char slow[] = "HTTP/1.1 503 Slow Down\r\nConnection: close\r\n"
                               "Content-Length: 40\r\n\r\n<Error><Code>SlowDown</Code></Error>    ";
    if (!link->in_request) {
        link->in_request = true;
        link->answered = 0;
        link->fault = note_request(link->relay, data, size);
    }
    if (link->fault == RELAY_LOSE_REQUEST) return false;
    if (link->fault == RELAY_ANSWER_503)
        return send_all(link->client, slow, sizeof slow - 1), false;
    return send_all(link->server, data, size);
}

static bool from_server(Link *link, const char *data, size_t size) {
    static const char error[] =
        "HTTP/1.1 500 Oops\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    link->in_request = false;
    link->answered += size;
    if (link->fault == RELAY_LOSE_ANSWER) return false;
    if (link->fault == RELAY_ANSWER_500)
        return send_all(link->client, error, sizeof error - 1), false;
    if (link->fault == RELAY_KEEP_ANSWER) return true;
    if (link->fault == RELAY_CUT_ANSWER && link->answered > CUT_AFTER) return false;
    return send_all(link->client, data, size);
}

static void *link_run(void *context) {
    Link *link = context;
    Relay *relay = link->relay;
    static _Thread_local char data[1 << 16];
    struct pollfd fds[2] = {
        {link->client, POLLIN, 0},
        {link->server, POLLIN, 0}
    };
    bool open = link->server >= 0;
    while (open && !relay->closing) {
        if (poll(fds, 2, 50) <= 0) continue;
        for (int i = 0; i < 2 && open; i++) {
            if (!fds[i].revents) continue;
            ssize_t n = recv(fds[i].fd, data, sizeof data, 0);
            open = n > 0 && (i == 0 ? from_client : from_server)(link, data, (size_t)n);
        }
    }
    close(link->client);
    if (link->server >= 0) close(link->server);
    free(link);
    pthread_mutex_lock(&relay->lock);
    relay->connections--;
    pthread_cond_signal(&relay->ended);
    pthread_mutex_unlock(&relay->lock);
    return NULL;
}

static void *accept_run(void *context) {
    Relay *relay = context;
    struct pollfd fd = {relay->listener, POLLIN, 0};
    while (!relay->closing) {
        if (poll(&fd, 1, 50) <= 0) continue;
        Link *link = calloc(1, sizeof *link);
        if (!link) abort();
        *link = (Link){.relay = relay, .fault = -1};
        link->client = accept4(relay->listener, NULL, NULL, SOCK_CLOEXEC);
        link->server = socket_to(relay->server_port, false);
        pthread_mutex_lock(&relay->lock);
        relay->connections++;
        pthread_mutex_unlock(&relay->lock);
        pthread_t thread;
        if (pthread_create(&thread, NULL, link_run, link)) abort();
        pthread_detach(thread);
    }
    return NULL;
}

Relay *relay_open(const char *url) {
    Relay *relay = calloc(1, sizeof *relay);
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    if (!relay) abort();
    pthread_mutex_init(&relay->lock, NULL);
    pthread_cond_init(&relay->ended, NULL);
    relay->server_port = atoi(strrchr(url, ':') + 1);
    relay->listener = socket_to(0, true);
    if (getsockname(relay->listener, (void *)&address, &size)) abort();
    snprintf(relay->url, sizeof relay->url, "http://127.0.0.1:%d", ntohs(address.sin_port));
    if (pthread_create(&relay->thread, NULL, accept_run, relay)) abort();
    return relay;
}

void relay_close(Relay **slot) {
    Relay *relay = TAKE(*slot);
    if (!relay) return;
    relay->closing = true;
    pthread_join(relay->thread, NULL);
    pthread_mutex_lock(&relay->lock);
    while (relay->connections > 0) pthread_cond_wait(&relay->ended, &relay->lock);
    pthread_mutex_unlock(&relay->lock);
    close(relay->listener);
    pthread_mutex_destroy(&relay->lock);
    pthread_cond_destroy(&relay->ended);
    free(relay);
}

const char *relay_url(const Relay *relay) {
    return relay->url;
}

void relay_fault(Relay *relay, const char *part, RelayFault fault, int times) {
    pthread_mutex_lock(&relay->lock);
    snprintf(relay->part, sizeof relay->part, "%s", part);
    relay->fault = fault;
    relay->times = times;
    pthread_mutex_unlock(&relay->lock);
}

int relay_count(Relay *relay, const char *part) {
    int count = 0;
    pthread_mutex_lock(&relay->lock);
    for (int i = 0; i < relay->line_count; i++) count += strstr(relay->lines[i], part) != NULL;
    pthread_mutex_unlock(&relay->lock);
    return count;
}

void relay_forget(Relay *relay) {
    pthread_mutex_lock(&relay->lock);
    relay->line_count = 0;
    pthread_mutex_unlock(&relay->lock);
}
