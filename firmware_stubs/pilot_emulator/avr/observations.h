/* What interrupts saw of the pilot, for the core: edges, and levels sampled after them. The functions for
 * interrupts are inline and keep raw numbers, because the next edge may be 10 us away; what they mean
 * is worked out in the main loop. */
#ifndef OBSERVATIONS_H
#define OBSERVATIONS_H

#include <avr/io.h>
#include <stdbool.h>

#include "../core/hardware.h"
#include "ring.h"

enum { OBSERVATIONS_KEPT = 32 };

struct raw_observation {
    uint8_t what;      /* enum observed */
    bool high;
    uint16_t value;    /* ticks of timer 1, or the converter's steps */
    uint32_t round_us; /* the clock when timer 1 was 0 */
};

extern struct ring observations_ring;
extern struct raw_observation observations_kept[OBSERVATIONS_KEPT];
extern volatile bool observations_lost;

/* What the conversion under way samples, and what the next one is to sample. */
enum sampling { SAMPLING_NOTHING, SAMPLING_LOW, SAMPLING_HIGH };
extern volatile uint8_t observations_sampling, observations_next_sampling;

/* With interrupts off. */
static inline void observations_keep(uint8_t what, bool high, uint16_t value, uint32_t round_us)
{
    if (ring_used(&observations_ring) >= OBSERVATIONS_KEPT) {
        observations_lost = true;
        return;
    }
    uint8_t put = observations_ring.put;
    struct raw_observation *kept = &observations_kept[put % OBSERVATIONS_KEPT];
    kept->what = what;
    kept->high = high;
    kept->value = value;
    kept->round_us = round_us;
    ring_settle();
    observations_ring.put = (uint8_t)(put + 1U);
}

/* Sample the level now or, while a conversion is under way, after it. With interrupts off. */
static inline void observations_sample(bool high)
{
    uint8_t sampling = high ? SAMPLING_HIGH : SAMPLING_LOW;
    if (observations_sampling != SAMPLING_NOTHING) {
        observations_next_sampling = sampling;
        return;
    }
    observations_sampling = sampling;
    ADCSRA |= _BV(ADSC);
}

void observations_begin(void);

/* Sample a pilot without edges; call it in every pass of the main loop. */
void observations_pass(bool steady_high);

#endif
