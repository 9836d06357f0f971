/* bench-measure FILE PROGRAM [ARGUMENT...]: runs the program with our standard input and output,
 * and writes what it took to FILE as one line of JSON: wall time, processor time, the largest
 * resident memory of it or any of its children, how it ended. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec * 1e-6;
}

int main(int argc, char *argv[])
{
    struct timespec from;
    struct timespec to;
    struct rusage used;
    int status = 0;
    if (argc < 3) {
        (void)fprintf(stderr, "usage: bench-measure FILE PROGRAM [ARGUMENT...]\n");
        return 2;
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &from);
    pid_t pid = fork();
    if (pid == 0) {
        (void)execvp(argv[2], argv + 2);
        _exit(127);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &to);
    FILE *f = fopen(argv[1], "w");
    if (pid < 0 || f == NULL || getrusage(RUSAGE_CHILDREN, &used) != 0) {
        perror("bench-measure");
        return 1;
    }
    (void)fprintf(
        f,
        "{\"wall_ms\": %.2f, \"cpu_ms\": %.2f, \"peak_kb\": %ld, \"exit\": %d, "
        "\"signal\": %d}\n",
        (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) * 1e-6,
        (seconds(used.ru_utime) + seconds(used.ru_stime)) * 1e3, used.ru_maxrss,
        WIFEXITED(status) ? WEXITSTATUS(status) : -1, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    return fclose(f) == 0 ? 0 : 1;
}
