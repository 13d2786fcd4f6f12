#include "emulator.h"

#include "requests.h"

void emulator_start(struct emulator *emulator, const char *cause)
{
    *emulator = (struct emulator){.watch.told.duty = DUTY_STEADY_HIGH};
    requests_go_safe(emulator);
    watch_begin(&emulator->watch, hardware_now().us);
    events_add(&emulator->events, (struct event){.kind = EVENT_BOOT, .cause = cause});
}

static void look(struct emulator *emulator)
{
    struct observation observation;
    while (hardware_observe(&observation))
        watch_observe(&emulator->watch, &observation, &emulator->events);
    watch_time(&emulator->watch, hardware_now().us, &emulator->events);
}

static void keep_watchdog(struct emulator *emulator)
{
    if (!emulator->supervised || hardware_now().us - emulator->beat_us < emulator->timeout_us)
        return;
    requests_go_safe(emulator);
    events_add(&emulator->events,
               (struct event){.kind = EVENT_EXPIRED, .stamp_us = hardware_now().us});
}

static void take_requests(struct emulator *emulator)
{
    while (!emulator->answer_waits) {
        int16_t byte = hardware_receive();
        if (byte < 0)
            return;
        if (!line_take(&emulator->input, (char)byte))
            continue;
        struct request request;
        if (line_request(&emulator->input, &request)) {
            requests_answer(emulator, &request);
            emulator->answer_waits = true;
        }
        line_clear(&emulator->input);
    }
}

/* Events first: an answer never shows a change before its event. */
static void send(struct emulator *emulator)
{
    struct line_output line;
    while (events_line(&emulator->events, &line)) {
        if (!hardware_send(line.bytes, line.length))
            return;
        events_drop(&emulator->events);
    }
    if (emulator->answer_waits
        && hardware_send(emulator->answer.bytes, emulator->answer.length))
        emulator->answer_waits = false;
}

void emulator_run(struct emulator *emulator)
{
    look(emulator);
    keep_watchdog(emulator);
    take_requests(emulator);
    send(emulator);
}
