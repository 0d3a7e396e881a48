/* The plainest servers that C can be, as the limit of what is possible: limits KIND PORT, until it is killed.
 *
 * echo, recv, trunc: TCP, a thread for each connection, which sends back, throws away, or has the kernel throw away
 * (MSG_TRUNC, tcp(7)); udp-echo and udp-recv: one socket. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <string.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ECHO_SIZE = 1 << 16, SINK_SIZE = 1 << 18, STACK = ECHO_SIZE + (1 << 16) };
static const char *kind;

static void *serve(void *argument) {
    int fd = (int)(long)argument;
    ssize_t size;
    if (!strcmp(kind, "echo")) {
        char data[ECHO_SIZE];
        while ((size = recv(fd, data, sizeof data, 0)) > 0)
            for (ssize_t done = 0, sent; done < size; done += sent)
                if ((sent = send(fd, data + done, size - done, MSG_NOSIGNAL)) < 0) goto end;
    } else if (!strcmp(kind, "recv")) {
        char *data = malloc(SINK_SIZE);
        while (recv(fd, data, SINK_SIZE, 0) > 0) continue;
        free(data);
    } else {
        while (recv(fd, NULL, 1 << 26, MSG_TRUNC) > 0) continue;
    }
end:
    close(fd);
    return NULL;
}

static void datagrams(int fd, int is_echo) {
    static char data[1 << 16];
    struct sockaddr_in peer;
    for (;;) {
        socklen_t length = sizeof peer;
        ssize_t size = is_echo ? recvfrom(fd, data, sizeof data, 0, (void *)&peer, &length)
                               : recv(fd, data, sizeof data, 0);
        if (is_echo && size >= 0) sendto(fd, data, size, 0, (void *)&peer, length);
    }
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    kind = argv[1];
    int one = 1, is_udp = !strncmp(kind, "udp", 3), fd = socket(AF_INET, is_udp ? SOCK_DGRAM : SOCK_STREAM, 0);
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (bind(fd, (void *)&where, sizeof where) || (!is_udp && listen(fd, 4096))) return 1;
    if (is_udp) datagrams(fd, !strcmp(kind, "udp-echo"));
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* accepted sockets inherit it */
    for (;;) {
        pthread_t thread;
        int client = accept(fd, NULL, NULL);
        if (client >= 0 && pthread_create(&thread, &attributes, serve, (void *)(long)client)) close(client);
    }
}
