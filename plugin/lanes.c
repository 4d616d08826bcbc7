// SPDX-License-Identifier: GPL-2.0-or-later
//
// Lanes on a GThreadPool: a lane is a queue with at most one job in the pool. The queues are
// touched by the main thread only; a worker touches its own job and posts the lane back, as a
// source of its own: g_main_context_invoke() would call `done` in the worker whenever no loop runs.

#include "lanes.h"

typedef struct {
    VfLanes *lanes;
    VfPciAddr pf;
    GQueue jobs;     // of VfLaneJob; the head is running
    GSource *posted; // the head is done; written before the source is attached
} Lane;

struct VfLanes {
    GPtrArray *lanes;
    GThreadPool *pool;
    guint busy;
};

static gboolean finish(gpointer data);

static void run(gpointer data, gpointer user_data)
{
    Lane *lane = data;
    VfLaneJob *job = g_queue_peek_head(&lane->jobs);

    job->run(job->data);
    lane->posted = g_idle_source_new();
    g_source_set_priority(lane->posted, G_PRIORITY_DEFAULT);
    g_source_set_callback(lane->posted, finish, lane, NULL);
    g_source_attach(lane->posted, NULL);
}

static void start(Lane *lane)
{
    VfLaneJob *job = g_queue_peek_head(&lane->jobs);

    if (job->begin != NULL)
        job->begin(job->data);
    g_thread_pool_push(lane->lanes->pool, lane, NULL);
}

static gboolean finish(gpointer data)
{
    Lane *lane = data;
    VfLanes *lanes = lane->lanes;
    VfLaneJob *job = g_queue_peek_head(&lane->jobs);

    g_clear_pointer(&lane->posted, g_source_unref);
    lanes->busy--;
    // In the queue until then, so that what `done` submits waits for the next one's turn; and what
    // it changes is there when the next one begins.
    job->done(job->data);
    g_free(g_queue_pop_head(&lane->jobs));
    if (!g_queue_is_empty(&lane->jobs))
        start(lane);
    return G_SOURCE_REMOVE;
}

VfLanes *vf_lanes_new(void)
{
    VfLanes *lanes = g_new0(VfLanes, 1);

    lanes->lanes = g_ptr_array_new();
    lanes->pool = g_thread_pool_new(run, NULL, -1, FALSE, NULL);
    return lanes;
}

void vf_lanes_free(VfLanes *lanes)
{
    g_thread_pool_free(lanes->pool, FALSE, TRUE);
    for (guint i = 0; i < lanes->lanes->len; i++) {
        Lane *lane = g_ptr_array_index(lanes->lanes, i);

        if (lane->posted != NULL) {
            g_source_destroy(lane->posted);
            g_source_unref(lane->posted);
        }
        g_queue_clear_full(&lane->jobs, g_free);
        g_free(lane);
    }
    g_ptr_array_unref(lanes->lanes);
    g_free(lanes);
}

static Lane *find_lane(VfLanes *lanes, const VfPciAddr *pf)
{
    for (guint i = 0; i < lanes->lanes->len; i++) {
        Lane *lane = g_ptr_array_index(lanes->lanes, i);

        if (vf_pciaddr_equal(&lane->pf, pf))
            return lane;
    }
    Lane *lane = g_new0(Lane, 1);
    lane->lanes = lanes;
    lane->pf = *pf;
    g_queue_init(&lane->jobs);
    g_ptr_array_add(lanes->lanes, lane);
    return lane;
}

void vf_lanes_submit(VfLanes *lanes, const VfPciAddr *pf, const VfLaneJob *job)
{
    Lane *lane = find_lane(lanes, pf);

    g_queue_push_tail(&lane->jobs, g_memdup2(job, sizeof(*job)));
    lanes->busy++;
    if (g_queue_get_length(&lane->jobs) == 1)
        start(lane);
}

guint vf_lanes_busy(const VfLanes *lanes)
{
    return lanes->busy;
}
