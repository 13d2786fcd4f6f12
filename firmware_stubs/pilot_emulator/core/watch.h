/* From edges and samples to what is told of the pilot (PROTOCOL.md, section 8). */
#ifndef WATCH_H
#define WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "events.h"
#include "hardware.h"
#include "pilot.h"

/* Something that was seen once and is told when it is seen again. */
struct candidate {
    bool waiting;
    uint32_t stamp_us;
    uint16_t duty;
    int16_t high_mv;
    int16_t low_mv;
};

struct watch {
    struct pilot told;
    bool generated;       /* the duty is the emulator's own, edges say nothing new */
    bool steady;          /* no edge for longer than a period can last */
    bool level_high;      /* after the last edge */
    uint8_t edges;        /* in a row without a gap: 0, 1, or 2 for "a rise and a fall" */
    struct instant rise;  /* the last one */
    struct instant fall;
    uint32_t last_edge_us;
    bool regime_is_new;   /* the pilot began or ceased to oscillate ... */
    uint32_t regime_us;   /* ... with this edge, and no candidate has taken its stamp yet */
    bool have_high;       /* samples since the last look at the levels */
    bool have_low;
    int16_t high_mv;
    int16_t low_mv;
    struct candidate duty;
    struct candidate level;
};

/* Begin anew, with what was told before or, at boot, with zeros. */
void watch_begin(struct watch *watch, uint32_t now_us);

/* From now on the emulator generates the pilot itself, with this duty. */
void watch_generated(struct watch *watch, uint16_t duty);

void watch_observe(struct watch *watch, const struct observation *observation,
                   struct events *events);

/* Let time pass: an oscillation that ceased shows by edges that do not come. */
void watch_time(struct watch *watch, uint32_t now_us, struct events *events);

#endif
