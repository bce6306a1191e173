/* Interpose the system calls that change files below one folder, and fail at the n-th of them.

   Loaded with LD_PRELOAD; it does nothing until a process calls `faults_arm`. Children of a fork inherit that. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { COUNT, KILL, HALF, FAIL_ONCE, FULL };    /* FAIL_ONCE: the n-th call returns EIO. FULL: no space from there on. */
enum { OTHER, WRITES, NEEDS_SPACE };            /* kinds of calls; WRITES also needs space */

static long *counter, target;
static int mode;
static char folder[PATH_MAX];
static size_t length;

void faults_arm(const char *under, int how, long n, long *count)
{
    length = strlen(strncpy(folder, under, sizeof folder - 1));
    mode = how, target = n, counter = count;
}

static int below(int at, const char *path)
{
    char link[64], place[PATH_MAX];
    ssize_t size;
    if (!length || (path && path[0] == '/'))
        return length && !strncmp(path, folder, length);
    if (path && at == AT_FDCWD)
        return getcwd(place, sizeof place) && !strncmp(place, folder, length);
    snprintf(link, sizeof link, "/proc/self/fd/%d", at);
    size = readlink(link, place, sizeof place - 1);
    return size >= (ssize_t)length && !strncmp(place, folder, length);
}

/* Return 0 to go on, -1 with errno to fail, 1 to write the half only. */
static int fault(int kind, int at, const char *path)
{
    int kept = errno, inside = below(at, path);
    errno = kept;
    if (!inside)
        return 0;
    long n = __atomic_add_fetch(counter, 1, __ATOMIC_SEQ_CST);
    if (n == target && (mode == KILL || (mode == HALF && kind != WRITES)))
        kill(getpid(), SIGKILL), pause();
    if (n == target && mode == FAIL_ONCE)
        return errno = EIO, -1;
    if (n == target && (mode == HALF || mode == FULL) && kind == WRITES)
        return 1;
    if (n >= target && mode == FULL && kind != OTHER)
        return errno = ENOSPC, -1;
    return 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define WRAP(name, kind, at, path, parameters, arguments)                                                             \
    int name parameters { return fault(kind, at, path) ? -1 : REAL(name) arguments; }

#define WRITE(name, parameters, whole, half)                                                                          \
    ssize_t name parameters                                                                                           \
    {                                                                                                                 \
        int outcome = fault(WRITES, fd, NULL);                                                                        \
        if (outcome != 1)                                                                                             \
            return outcome ? -1 : REAL(name) whole;                                                                   \
        ssize_t written = REAL(name) half;                                                                            \
        if (mode == HALF)                                                                                             \
            kill(getpid(), SIGKILL), pause();                                                                         \
        return written;                                                                                               \
    }

WRITE(write, (int fd, const void *b, size_t n), (fd, b, n), (fd, b, n / 2))
WRITE(pwrite, (int fd, const void *b, size_t n, off_t o), (fd, b, n, o), (fd, b, n / 2, o))
WRITE(pwrite64, (int fd, const void *b, size_t n, off64_t o), (fd, b, n, o), (fd, b, n / 2, o))
WRITE(writev, (int fd, const struct iovec *v, int n), (fd, v, n), (fd, v, n / 2))
WRITE(pwritev, (int fd, const struct iovec *v, int n, off_t o), (fd, v, n, o), (fd, v, n / 2, o))
WRITE(sendfile, (int fd, int in, off_t *o, size_t n), (fd, in, o, n), (fd, in, o, n / 2))
WRITE(sendfile64, (int fd, int in, off64_t *o, size_t n), (fd, in, o, n), (fd, in, o, n / 2))

WRAP(fsync, OTHER, fd, NULL, (int fd), (fd))
WRAP(fdatasync, OTHER, fd, NULL, (int fd), (fd))
WRAP(ftruncate, OTHER, fd, NULL, (int fd, off_t n), (fd, n))
WRAP(ftruncate64, OTHER, fd, NULL, (int fd, off64_t n), (fd, n))
WRAP(unlink, OTHER, AT_FDCWD, p, (const char *p), (p))
WRAP(unlinkat, OTHER, d, p, (int d, const char *p, int f), (d, p, f))
WRAP(rmdir, OTHER, AT_FDCWD, p, (const char *p), (p))
WRAP(rename, OTHER, AT_FDCWD, q, (const char *p, const char *q), (p, q))
WRAP(renameat, OTHER, e, q, (int d, const char *p, int e, const char *q), (d, p, e, q))
WRAP(link, NEEDS_SPACE, AT_FDCWD, q, (const char *p, const char *q), (p, q))
WRAP(linkat, NEEDS_SPACE, e, q, (int d, const char *p, int e, const char *q, int f), (d, p, e, q, f))
WRAP(symlink, NEEDS_SPACE, AT_FDCWD, q, (const char *p, const char *q), (p, q))
WRAP(mkdir, NEEDS_SPACE, AT_FDCWD, p, (const char *p, mode_t m), (p, m))
WRAP(mkdirat, NEEDS_SPACE, d, p, (int d, const char *p, mode_t m), (d, p, m))

/* Only an open that creates or empties a file changes something. */
static int changes(int at, const char *path, int flags)
{
    struct stat found;
    int kept = errno;
    int yes = (flags & O_TRUNC) || ((flags & O_CREAT) && fstatat(at, path, &found, 0));
    errno = kept;
    return yes;
}

#define OPEN(name, at, parameters, arguments)                                                                         \
    int name parameters                                                                                               \
    {                                                                                                                 \
        va_list rest;                                                                                                 \
        va_start(rest, flags);                                                                                        \
        mode_t rights = flags & O_CREAT ? va_arg(rest, mode_t) : 0;                                                   \
        va_end(rest);                                                                                                 \
        return changes(at, path, flags) && fault(NEEDS_SPACE, at, path) ? -1 : REAL(name) arguments;                  \
    }

OPEN(open, AT_FDCWD, (const char *path, int flags, ...), (path, flags, rights))
OPEN(open64, AT_FDCWD, (const char *path, int flags, ...), (path, flags, rights))
OPEN(openat, at, (int at, const char *path, int flags, ...), (at, path, flags, rights))
OPEN(openat64, at, (int at, const char *path, int flags, ...), (at, path, flags, rights))
