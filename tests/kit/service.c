#include "kit/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SERVICES_MAX 8

typedef struct Service {
    char script[64], dir[64], line[512];
} Service;

static Service services[SERVICES_MAX];
static size_t service_count;
static pid_t owner; /* a forked child must not stop what its parent uses */

static void stop_all(void) {
    char command[256];
    if (getpid() != owner) return;
    while (service_count > 0) {
        const Service *service = &services[--service_count];
        snprintf(command, sizeof command, "tests/kit/%s stop %s", service->script, service->dir);
        if (system(command)) fprintf(stderr, "cannot stop %s\n", service->script);
    }
}

static void run(Service *service, const char *verb) {
    char command[256];
    snprintf(command, sizeof command, "tests/kit/%s %s %s", service->script, verb, service->dir);
    FILE *from = popen(command, "r");
    if (!from || !fgets(service->line, sizeof service->line, from)) {
        fprintf(stderr, "%s does not start\n", service->script);
        exit(1);
    }
    service->line[strcspn(service->line, "\n")] = 0;
    pclose(from);
}

static Service *find(const char *script) {
    for (size_t i = 0; i < service_count; i++)
        if (strcmp(services[i].script, script) == 0) return &services[i];
    return NULL;
}

const char *kit_service(const char *script, const char **dir) {
    Service *service = find(script);
    if (!service) {
        if (service_count == SERVICES_MAX) abort();
        if (service_count == 0) {
            owner = getpid();
            atexit(stop_all);
        }
        service = &services[service_count++];
        snprintf(service->script, sizeof service->script, "%s", script);
        snprintf(service->dir, sizeof service->dir, "/tmp/lakehouse-test-XXXXXX");
        if (!mkdtemp(service->dir)) abort();
        run(service, "start");
    }
    if (dir) *dir = service->dir;
    return service->line;
}

const char *kit_service_again(const char *script, const char *command) {
    Service *service = find(script);
    if (!service) abort();
    run(service, command);
    return service->line;
}
