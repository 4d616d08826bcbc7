// SPDX-License-Identifier: GPL-2.0-or-later
//
// Lanes: order within one, concurrency between two, and what becomes of jobs when they go.

#include "lanes.h"

typedef struct {
    GMutex lock;
    GCond cond;
    GString *events;  // of the main thread
    GAsyncQueue *ran; // names of jobs, in the order in which they ran
    GThread *main;
    guint inside, together; // jobs that run now, and how many did at once
    gboolean gate;          // jobs wait for it
} Trace;

typedef struct {
    Trace *trace;
    char name;
    guint companions; // waits until so many jobs run at once
} Step;

static void begin(gpointer data)
{
    Step *step = data;

    g_assert_true(g_thread_self() == step->trace->main);
    g_string_append_printf(step->trace->events, "+%c", step->name);
}

static void run(gpointer data)
{
    Step *step = data;
    Trace *trace = step->trace;

    g_assert_true(g_thread_self() != trace->main);
    g_mutex_lock(&trace->lock);
    trace->inside++;
    trace->together = MAX(trace->together, trace->inside);
    g_cond_broadcast(&trace->cond);
    while (trace->together < step->companions || !trace->gate)
        g_cond_wait(&trace->cond, &trace->lock);
    trace->inside--;
    g_mutex_unlock(&trace->lock);
    g_async_queue_push(trace->ran, GINT_TO_POINTER(step->name));
}

static void done(gpointer data)
{
    Step *step = data;

    g_assert_true(g_thread_self() == step->trace->main);
    g_string_append_printf(step->trace->events, "-%c", step->name);
}

static Trace *trace_new(void)
{
    Trace *trace = g_new0(Trace, 1);

    g_mutex_init(&trace->lock);
    g_cond_init(&trace->cond);
    trace->events = g_string_new(NULL);
    trace->ran = g_async_queue_new();
    trace->main = g_thread_self();
    trace->gate = TRUE;
    return trace;
}

static void trace_free(Trace *trace)
{
    g_string_free(trace->events, TRUE);
    g_async_queue_unref(trace->ran);
    g_mutex_clear(&trace->lock);
    g_cond_clear(&trace->cond);
    g_free(trace);
}

static void set_gate(Trace *trace, gboolean open)
{
    g_mutex_lock(&trace->lock);
    trace->gate = open;
    g_cond_broadcast(&trace->cond);
    g_mutex_unlock(&trace->lock);
}

static void submit(VfLanes *lanes, Step *step, guint bus)
{
    VfPciAddr pf = {0, (guint8)bus, 0, 0};
    VfLaneJob job = {begin, run, done, step};

    vf_lanes_submit(lanes, &pf, &job);
}

static void wait_idle(VfLanes *lanes)
{
    while (vf_lanes_busy(lanes) > 0)
        g_main_context_iteration(NULL, TRUE);
}

static void test_order(void)
{
    g_autoptr(VfLanes) lanes = vf_lanes_new();
    Trace *trace = trace_new();
    Step steps[] = {{trace, 'a', 0}, {trace, 'b', 0}, {trace, 'c', 0}};

    for (guint i = 0; i < G_N_ELEMENTS(steps); i++)
        submit(lanes, &steps[i], 1);
    g_assert_cmpuint(vf_lanes_busy(lanes), ==, 3);
    // Only the first has begun: each looks at the state that the one before it has left.
    g_assert_cmpstr(trace->events->str, ==, "+a");
    wait_idle(lanes);
    g_assert_cmpstr(trace->events->str, ==, "+a-a+b-b+c-c");
    g_assert_cmpuint(trace->together, ==, 1);
    for (guint i = 0; i < G_N_ELEMENTS(steps); i++)
        g_assert_cmpint(GPOINTER_TO_INT(g_async_queue_pop(trace->ran)), ==, steps[i].name);
    trace_free(trace);
}

static void test_side_by_side(void)
{
    g_autoptr(VfLanes) lanes = vf_lanes_new();
    Trace *trace = trace_new();
    Step steps[] = {{trace, 'a', 3}, {trace, 'b', 3}, {trace, 'c', 3}};

    // Each waits for the two others, so this ends only if all run at once.
    for (guint i = 0; i < G_N_ELEMENTS(steps); i++)
        submit(lanes, &steps[i], i);
    wait_idle(lanes);
    g_assert_cmpuint(trace->together, ==, 3);
    trace_free(trace);
}

typedef struct {
    VfLanes *lanes;
    Step *next;
} Chain;

static void chain_run(gpointer data)
{
}

static void chain_done(gpointer data)
{
    Chain *chain = data;

    submit(chain->lanes, chain->next, 1);
}

static void test_submit_in_done(void)
{
    g_autoptr(VfLanes) lanes = vf_lanes_new();
    Trace *trace = trace_new();
    Step next = {trace, 'n', 0};
    Chain chain = {.lanes = lanes, .next = &next};
    VfPciAddr pf = {0, 1, 0, 0};
    VfLaneJob job = {NULL, chain_run, chain_done, &chain};

    vf_lanes_submit(lanes, &pf, &job);
    wait_idle(lanes);
    g_assert_cmpstr(trace->events->str, ==, "+n-n");
    trace_free(trace);
}

// The main loop stands still while the job ends: `done` waits for it, in its thread.
static void test_done_without_loop(void)
{
    g_autoptr(VfLanes) lanes = vf_lanes_new();
    Trace *trace = trace_new();
    Step step = {trace, 'a', 0};

    submit(lanes, &step, 1);
    g_async_queue_pop(trace->ran);
    g_usleep(20000);
    g_assert_cmpstr(trace->events->str, ==, "+a");
    wait_idle(lanes);
    g_assert_cmpstr(trace->events->str, ==, "+a-a");
    trace_free(trace);
}

static gboolean not_to_be_called(gpointer data)
{
    g_assert_not_reached();
}

static gpointer open_later(gpointer trace)
{
    g_usleep(50000);
    set_gate(trace, TRUE);
    return NULL;
}

static void test_free(void)
{
    VfLanes *lanes = vf_lanes_new();
    Trace *trace = trace_new();
    Step steps[] = {{trace, 'a', 0}, {trace, 'b', 0}};
    guint idle = g_idle_add(not_to_be_called, NULL);
    GThread *opener;

    trace->gate = FALSE;
    submit(lanes, &steps[0], 1);
    submit(lanes, &steps[1], 1);
    opener = g_thread_new("opener", open_later, trace);
    // Waits for the one that runs, drops the other, calls back neither; nobody else's source runs.
    vf_lanes_free(lanes);
    g_assert_cmpint(g_async_queue_length(trace->ran), ==, 1);
    g_assert_cmpstr(trace->events->str, ==, "+a");
    g_source_remove(idle);
    while (g_main_context_iteration(NULL, FALSE)) {
        // a job's end that was posted must not come now
    }
    g_assert_cmpstr(trace->events->str, ==, "+a");
    g_thread_join(opener);
    trace_free(trace);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/lanes/order", test_order);
    g_test_add_func("/lanes/side-by-side", test_side_by_side);
    g_test_add_func("/lanes/submit-in-done", test_submit_in_done);
    g_test_add_func("/lanes/done-without-loop", test_done_without_loop);
    g_test_add_func("/lanes/free", test_free);
    return g_test_run();
}
