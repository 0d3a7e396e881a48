/* A preload that makes socket calls fail as their man pages say they can: see injection.py, which compiles it.

   A plan is a page of memory that a test shares with the program under test (struct plan, in a file).  It is read at
   every call, so that one running program can be made to fail in one way after the other.  Socket pairs are left alone:
   over them a program talks to itself, and no peer and no network is between.  two.test is a name with two addresses,
   ::1 and 127.0.0.1. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { ACCEPT = 1, BIND, CONNECT, GETADDRINFO, LISTEN, RECV, RECVFROM, RECVMMSG, RECVMSG, SEND, SENDMMSG,
       SENDTO, SOCKET, SPLICE };
enum { SHORT = 0, HANG = -1000 }; /* in place of an errno: one byte, or message, passes; the call never returns */

struct plan {
    int call;     /* which one; 0 for none */
    int error;    /* errno, or what getaddrinfo returns */
    int system;   /* errno beside EAI_SYSTEM */
    int first;    /* the first call that fails, from 1 */
    int times;    /* how many fail; 0 for all from then on */
    int called;   /* how often it was called since the plan was made */
    int injected; /* how often it has failed */
};

static struct plan *plan;

void attach_plan(const char *path) {
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *page = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    plan = page == MAP_FAILED ? NULL : page;
    close(fd);
}

__attribute__((constructor)) static void attach_at_start(void) {
    const char *path = getenv("NETLAB_TEST_PLAN");
    if (path != NULL) attach_plan(path);
}

static int strikes(int call) {
    if (plan == NULL || __atomic_load_n(&plan->call, __ATOMIC_ACQUIRE) != call) return 0;
    int number = __atomic_add_fetch(&plan->called, 1, __ATOMIC_ACQ_REL);
    if (number < plan->first || (plan->times != 0 && number >= plan->first + plan->times)) return 0;
    __atomic_add_fetch(&plan->injected, 1, __ATOMIC_ACQ_REL);
    while (plan->error == HANG) pause();
    return 1;
}

static int has_peer(int fd) {
    struct sockaddr_un name;
    socklen_t size = sizeof name;
    if (getsockname(fd, (struct sockaddr *)&name, &size) != 0) return 0; /* read and write take any file */
    if (name.sun_family != AF_UNIX || size > sizeof(sa_family_t)) return 1;
    size = sizeof name;
    return getpeername(fd, (struct sockaddr *)&name, &size) != 0 || size != sizeof(sa_family_t);
}

#define REAL(name) ((__typeof__(&name))real(#name, &name##_real))
static void *real(const char *name, void **found) {
    if (*found == NULL) *found = dlsym(RTLD_NEXT, name);
    return *found;
}

/* A call on a socket: it fails, or, where it moves bytes, moves one, or is what it always is. */
#define WRAP(type, name, number, parameters, shorten, ...)                     \
    static void *name##_real;                                                  \
    type name parameters {                                                     \
        int saved = errno;                                                     \
        if (has_peer(fd) && strikes(number)) {                                 \
            if (plan->error != SHORT) {                                        \
                errno = plan->error;                                           \
                return -1;                                                     \
            }                                                                  \
            shorten;                                                           \
        }                                                                      \
        errno = saved;                                                         \
        return REAL(name)(__VA_ARGS__);                                        \
    }

#define BY_ONE (size = size > 1 ? 1 : size)
WRAP(int, accept4, ACCEPT, (int fd, struct sockaddr *name, socklen_t *length, int flags), (void)0, fd, name, length, flags)
WRAP(int, bind, BIND, (int fd, const struct sockaddr *name, socklen_t length), (void)0, fd, name, length)
WRAP(int, connect, CONNECT, (int fd, const struct sockaddr *name, socklen_t length), (void)0, fd, name, length)
WRAP(int, listen, LISTEN, (int fd, int backlog), (void)0, fd, backlog)
WRAP(ssize_t, recv, RECV, (int fd, void *data, size_t size, int flags), BY_ONE, fd, data, size, flags)
WRAP(ssize_t, read, RECV, (int fd, void *data, size_t size), BY_ONE, fd, data, size)
WRAP(ssize_t, write, SEND, (int fd, const void *data, size_t size), BY_ONE, fd, data, size)
WRAP(ssize_t, recvfrom, RECVFROM,
     (int fd, void *data, size_t size, int flags, struct sockaddr *name, socklen_t *length), (void)0,
     fd, data, size, flags, name, length)
WRAP(int, recvmmsg, RECVMMSG,
     (int fd, struct mmsghdr *messages, unsigned size, int flags, struct timespec *timeout), BY_ONE,
     fd, messages, size, flags, timeout)
WRAP(int, sendmmsg, SENDMMSG, (int fd, struct mmsghdr *messages, unsigned size, int flags), BY_ONE,
     fd, messages, size, flags)
WRAP(ssize_t, recvmsg, RECVMSG, (int fd, struct msghdr *message, int flags), (void)0, fd, message, flags)
WRAP(ssize_t, send, SEND, (int fd, const void *data, size_t size, int flags), BY_ONE, fd, data, size, flags)
WRAP(ssize_t, sendto, SENDTO,
     (int fd, const void *data, size_t size, int flags, const struct sockaddr *name, socklen_t length), (void)0,
     fd, data, size, flags, name, length)

static void *socket_real, *splice_real, *getaddrinfo_real;

int socket(int family, int type, int protocol) {
    if (strikes(SOCKET)) {
        errno = plan->error;
        return -1;
    }
    return REAL(socket)(family, type, protocol);
}

ssize_t splice(int in, off_t *in_offset, int out, off_t *out_offset, size_t size, unsigned flags) {
    if (strikes(SPLICE)) {
        if (plan->error != SHORT) {
            errno = plan->error;
            return -1;
        }
        BY_ONE;
    }
    return REAL(splice)(in, in_offset, out, out_offset, size, flags);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    if (strikes(GETADDRINFO)) {
        errno = plan->system;
        return plan->error;
    }
    if (node == NULL || strcmp(node, "two.test") != 0) return REAL(getaddrinfo)(node, service, hints, found);
    struct addrinfo *also;
    int failed = REAL(getaddrinfo)("::1", service, hints, found);
    if (!failed && !(failed = REAL(getaddrinfo)("127.0.0.1", service, hints, &also))) {
        while (*found != NULL) found = &(*found)->ai_next;
        *found = also; /* glibc frees them one by one */
    }
    return failed;
}
