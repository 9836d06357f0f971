#include "vectorstore/background.h"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#define NICE 10 /* a tenth of an ordinary thread's share; 19 would starve beside a busy neighbour  \
                 */

struct running {
    void (*work)(void *data);
    void *data;
};

static void *run(void *arg)
{
    const struct running *r = arg;
    const struct sched_param none = {0};
    /* refused in a narrow sandbox: then it runs as any thread does */
    (void)pthread_setschedparam(pthread_self(), SCHED_BATCH, &none);
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE); /* on Linux of the thread only */
    r->work(r->data);
    return NULL;
}

void background_run(void (*work)(void *data), void *data)
{
    struct running r = {.work = work, .data = data};
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, &r) == 0) {
        (void)pthread_join(thread, NULL);
    } else {
        work(data);
    }
}
