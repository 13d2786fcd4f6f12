/* Events that wait to be sent, and their numbers (PROTOCOL.md, sections 2 and 8). */
#ifndef EVENTS_H
#define EVENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "line.h"

enum { EVENTS_KEPT = 8 };

enum event_kind { EVENT_DUTY, EVENT_LEVEL, EVENT_EXPIRED, EVENT_BOOT };

struct event {
    enum event_kind kind;
    uint16_t number;
    uint32_t stamp_us;
    int32_t first;     /* duty, or high level */
    int32_t second;    /* frequency, or low level */
    const char *cause; /* of EVENT_BOOT */
};

struct events {
    struct event kept[EVENTS_KEPT];
    uint8_t count;
    uint8_t oldest;
    uint16_t next_number;
};

/* Keep an event and number it; where there is no room it is dropped, and its number with it. */
void events_add(struct events *events, struct event event);

/* The oldest as a line; false if there is none. */
bool events_line(const struct events *events, struct line_output *line);

/* The oldest was sent. */
void events_drop(struct events *events);

#endif
