#include "events.h"

#include "protocol.h"

void events_add(struct events *events, struct event event)
{
    event.number = events->next_number++;
    if (events->count == EVENTS_KEPT)
        return;
    events->kept[(events->oldest + events->count) % EVENTS_KEPT] = event;
    events->count++;
}

bool events_line(const struct events *events, struct line_output *line)
{
    static const char *const verbs[] = {"DUTY", "LEVEL", "EXPIRED", "BOOT"};
    if (events->count == 0)
        return false;
    const struct event *event = &events->kept[events->oldest];
    line_begin(line, '!');
    line_number(line, event->number);
    line_word(line, verbs[event->kind]);
    if (event->kind == EVENT_BOOT) {
        line_whole(line, PROTOCOL_VERSION);
        line_word(line, event->cause);
    } else {
        line_whole(line, event->stamp_us);
    }
    if (event->kind == EVENT_DUTY || event->kind == EVENT_LEVEL) {
        line_signed(line, event->first);
        line_signed(line, event->second);
    }
    return line_seal(line);
}

void events_drop(struct events *events)
{
    events->oldest = (uint8_t)((events->oldest + 1U) % EVENTS_KEPT);
    events->count--;
}
