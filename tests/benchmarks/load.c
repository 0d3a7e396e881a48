/* A load generator for an echo server, or one that acknowledges: one process, epoll, one JSON line of figures.
 *
 *   load rr|crr|idle|bulk|sink|udprr|udpsink PORT CONNS SECONDS SIZE [EXPECT]
 *
 * rr: round trips; crr: connect, one round trip, close; idle: hold CONNS open for SECONDS after one round trip each;
 * bulk: a stream each way; sink: one way; udprr: round trips, of which a single peer has 16 under way.  The bytes that
 * come back are compared; EXPECT is another reply than the echo.  Unit of "rate": operations a second, or bytes a
 * second for bulk and sink. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 20000, LARGEST = 1 << 18 };
struct conn { int fd; long out, in; };

static struct conn conns[MOST];
static struct sockaddr_in where;
static char message[2 * LARGEST], reply[2 * LARGEST], got[LARGEST];
static long size, reply_size, ops, bytes;
static int epoll, is_udp;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void die(const char *what) {
    printf("{\"ok\": false, \"why\": \"%s%s%s\"}\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(1);
}

static void open_conn(struct conn *c) {
    int one = 1;
    c->fd = socket(AF_INET, is_udp ? SOCK_DGRAM : SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&where, sizeof where) < 0) die("connect");
    if (!is_udp) setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->out = c->in = 0;
}

static void watch(struct conn *c, unsigned events) {
    struct epoll_event e = {.events = events, .data.ptr = c};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &e) < 0) die("epoll_ctl");
}

static void say(struct conn *c) {
    c->in = 0;
    if (send(c->fd, message, size, MSG_NOSIGNAL) != size) die("send");
}

/* Read what has come; return whether the reply is whole. */
static int hear(struct conn *c) {
    long n = recv(c->fd, got, sizeof got, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return 0;
    if (n == 0) errno = 0, die("the server closed");
    if (n < 0) die("recv");
    if (c->in + n > reply_size || memcmp(got, reply + c->in, n)) errno = 0, die("the reply is another one");
    return (c->in += n) == reply_size;
}

static void round_trips(int number, double seconds, int reconnects) {
    struct epoll_event events[512];
    double end = now() + seconds;
    int depth = is_udp && number == 1 ? 16 : 1;
    for (int i = 0; i < number; i++)
        for (int j = 0; j < depth; j++) say(&conns[i]);
    for (int live = number; live > 0;) {
        int ready = epoll_wait(epoll, events, 512, 5000);
        if (ready <= 0) errno = ETIMEDOUT, die("epoll_wait");
        int is_over = now() >= end;
        for (int i = 0; i < ready; i++) {
            struct conn *c = events[i].data.ptr;
            for (int j = 0; j < depth && hear(c); j++) {
                ops += !is_over;
                if (is_over) { live--; break; }
                if (reconnects) { close(c->fd); open_conn(c); watch(c, EPOLLIN); }
                say(c);
            }
        }
    }
}

static void stream(int number, double seconds, int comes_back) {
    struct epoll_event events[512];
    double end = now() + seconds;
    for (int live = number; live > 0;) {
        int ready = epoll_wait(epoll, events, 512, 5000);
        if (ready <= 0) errno = ETIMEDOUT, die("epoll_wait");
        int is_over = now() >= end;
        for (int i = 0; i < ready; i++) {
            struct conn *c = events[i].data.ptr;
            if (comes_back && events[i].events & EPOLLIN) {
                long n = recv(c->fd, got, sizeof got, MSG_DONTWAIT);
                if (n == 0) errno = 0, die("the server closed");
                if (n < 0) die("recv");
                if (memcmp(got, message + c->in % size, n)) errno = 0, die("the reply is another one");
                c->in += n;
                if (!is_over) bytes += n;
            }
            if (!is_over) {
                long n = send(c->fd, message + c->out % size, size, MSG_DONTWAIT | MSG_NOSIGNAL);
                if (n < 0 && errno != EAGAIN) die("send");
                if (n > 0) { c->out += n; if (!comes_back) bytes += n; }
            } else if (!comes_back || c->in == c->out) {
                epoll_ctl(epoll, EPOLL_CTL_DEL, c->fd, 0);
                live--;
            } else {
                struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
                epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &e);
            }
        }
    }
}

static void flood(struct conn *c, double seconds) {
    for (double end = now() + seconds; now() < end;)
        for (int i = 0; i < 100; i++) ops += send(c->fd, message, size, 0) == size;
}

int main(int argc, char **argv) {
    if (argc < 6) return 2;
    const char *mode = argv[1];
    int number = atoi(argv[3]);
    double seconds = atof(argv[4]);
    size = reply_size = atol(argv[5]);
    is_udp = !strncmp(mode, "udp", 3);
    if (number > MOST || size > LARGEST) return 2;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    for (long i = 0; i < 2 * LARGEST; i++) message[i] = reply[i] = 'a' + i % size % 23;
    if (argc > 6) memcpy(reply, argv[6], reply_size = strlen(argv[6]));
    where.sin_family = AF_INET;
    where.sin_port = htons(atoi(argv[2]));
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    epoll = epoll_create1(0);
    int streams = !strcmp(mode, "bulk") || !strcmp(mode, "sink");
    double opening = now();
    for (int i = 0; i < number; i++) {
        open_conn(&conns[i]);
        watch(&conns[i], streams ? EPOLLIN | EPOLLOUT : EPOLLIN);
    }
    double start = now();
    if (!strcmp(mode, "idle")) {
        round_trips(number, 0, 0);
        start = now();
        printf("{\"held\": %d}\n", number);
        fflush(stdout);
        usleep(seconds * 1e6);
        round_trips(number, 0, 0);
    } else if (streams) {
        stream(number, seconds, mode[0] == 'b');
    } else if (!strcmp(mode, "udpsink")) {
        flood(&conns[0], seconds);
    } else {
        round_trips(number, seconds, mode[0] == 'c');
    }
    printf("{\"ok\": true, \"ops\": %ld, \"rate\": %.1f, \"open_s\": %.4f}\n", ops, (streams ? bytes : ops) / seconds,
           start - opening);
    return 0;
}
