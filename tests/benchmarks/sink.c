/* The plainest TCP server: a process for each connection; prints its port and serves until it is killed.
 *
 *   sink recv|trunc|echo
 *
 * recv: receive to a buffer, throw away, close at the end; trunc: throw away within the kernel (tcp(7), MSG_TRUNC);
 * echo: send back. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char buffer[1 << 18];

static void serve(int fd, const char *mode) {
    ssize_t size;
    int flags = strcmp(mode, "trunc") ? 0 : MSG_TRUNC;
    while ((size = recv(fd, buffer, sizeof buffer, flags)) > 0)
        for (ssize_t done = 0, sent; !strcmp(mode, "echo") && done < size; done += sent)
            if ((sent = send(fd, buffer + done, size - done, MSG_NOSIGNAL)) < 0) return;
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof where;
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    signal(SIGCHLD, SIG_IGN);
    if (bind(listener, (void *)&where, sizeof where) || listen(listener, 4096)) return 1;
    getsockname(listener, (void *)&where, &length);
    printf("%d\n", ntohs(where.sin_port));
    fflush(stdout);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (fork() == 0) {
            close(listener);
            serve(fd, argv[1]);
            _exit(0);
        }
        close(fd);
    }
}
