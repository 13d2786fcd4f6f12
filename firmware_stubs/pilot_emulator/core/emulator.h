/* The pilot emulator of PROTOCOL.md: requests, watchdog, safe state. Portable; see hardware.h. */
#ifndef EMULATOR_H
#define EMULATOR_H

#include <stdbool.h>
#include <stdint.h>

#include "events.h"
#include "hardware.h"
#include "line.h"
#include "watch.h"

struct emulator {
    struct outputs outputs;
    struct watch watch;
    struct events events;
    struct line_input input;
    struct line_output answer;
    bool answer_waits;
    bool supervised;
    uint32_t beat_us;    /* when the watchdog was wound up ... */
    uint32_t timeout_us; /* ... and for how long */
};

/* Boot into the safe state; the cause as section 8 names it. */
void emulator_start(struct emulator *emulator, const char *cause);

/* One pass: look at the pilot and the watchdog, take requests, send. Call it at least once a
 * millisecond. */
void emulator_run(struct emulator *emulator);

#endif
