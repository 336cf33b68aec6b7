#include "pump_notify.h"

#include "report.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What may wait: a storm of changes names 100,000 files in less. */
enum { MOST_WAITING_BYTES = 8 << 20 };

struct notification {
    struct notification *next;
    size_t length;
    unsigned char message[];
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct notification *first;
    struct notification **last;
    size_t bytes;
    int device;
    bool is_writing;
    bool is_stopped;
} queue = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .filled = PTHREAD_COND_INITIALIZER,
    .last = &queue.first,
};

static struct notification *take(void)
{
    pthread_mutex_lock(&queue.lock);
    queue.is_writing = false;
    while (queue.first == NULL || queue.is_stopped)
        pthread_cond_wait(&queue.filled, &queue.lock);
    struct notification *taken = queue.first;
    queue.first = taken->next;
    if (queue.first == NULL)
        queue.last = &queue.first;
    queue.bytes -= taken->length;
    queue.is_writing = true;
    pthread_mutex_unlock(&queue.lock);
    return taken;
}

_Noreturn static void *run(void *unused)
{
    (void)unused;
    for (;;) {
        struct notification *taken = take();
        /* ENOENT: the kernel does not know what it names, so there is nothing to drop. */
        if (write(queue.device, taken->message, taken->length) < 0 && errno != ENOENT &&
            errno != ENOTDIR && errno != ENOTEMPTY && errno != ENODEV)
            report("the kernel does not take a notification: %s", strerror(errno));
        free(taken);
    }
}

int notify_start(int device)
{
    pthread_t thread;

    queue.device = device;
    int error = pthread_create(&thread, NULL, run, NULL);
    if (error == 0)
        pthread_detach(thread);
    return error;
}

bool notify_queue(const unsigned char *message, size_t length)
{
    bool taken = false;

    pthread_mutex_lock(&queue.lock);
    struct notification *added =
        queue.bytes + length > MOST_WAITING_BYTES ? NULL : malloc(sizeof *added + length);
    if (added != NULL) {
        added->next = NULL;
        added->length = length;
        memcpy(added->message, message, length);
        *queue.last = added;
        queue.last = &added->next;
        queue.bytes += length;
        pthread_cond_signal(&queue.filled);
        taken = true;
    }
    pthread_mutex_unlock(&queue.lock);
    return taken;
}

bool notify_stop(void)
{
    pthread_mutex_lock(&queue.lock);
    queue.is_stopped = true;
    bool is_idle = !queue.is_writing;
    pthread_mutex_unlock(&queue.lock);
    return is_idle;
}
