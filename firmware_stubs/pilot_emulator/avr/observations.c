#include "observations.h"

#include <avr/interrupt.h>
#include <util/atomic.h>

#include "calibration.h"
#include "wiring.h"

enum {
    QUIET_US = 1500, /* without an edge for so long, samples are taken without one */
    SAMPLE_EVERY_US = 900,
};

struct ring observations_ring;
struct raw_observation observations_kept[OBSERVATIONS_KEPT];
volatile bool observations_lost;
volatile uint8_t observations_sampling, observations_next_sampling;

static uint32_t last_edge_us, last_sample_us;

void observations_begin(void)
{
    ADMUX = WIRED_PILOT; /* against the reference at AREF */
    DIDR0 = _BV(WIRED_PILOT);
    /* 250 kHz: the level is held 6 us after the start, and known 52 us after it. */
    ADCSRA = _BV(ADEN) | _BV(ADIE) | _BV(ADPS2) | _BV(ADPS1);
}

ISR(ADC_vect)
{
    observations_keep(OBSERVED_SAMPLE, observations_sampling == SAMPLING_HIGH, ADC, 0);
    observations_sampling = observations_next_sampling;
    observations_next_sampling = SAMPLING_NOTHING;
    if (observations_sampling != SAMPLING_NOTHING)
        ADCSRA |= _BV(ADSC);
}

void observations_pass(bool steady_high)
{
    uint32_t now_us = hardware_now().us;
    if (now_us - last_edge_us < QUIET_US || now_us - last_sample_us < SAMPLE_EVERY_US)
        return;
    last_sample_us = now_us;
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        if (observations_sampling == SAMPLING_NOTHING)
            observations_sample(steady_high);
    }
}

static bool take(struct raw_observation *raw)
{
    if (ring_used(&observations_ring) == 0)
        return false;
    ring_settle();
    *raw = observations_kept[observations_ring.taken % OBSERVATIONS_KEPT];
    ring_settle();
    observations_ring.taken++;
    return true;
}

static int16_t level_mv(uint16_t steps)
{
    const int32_t range_mv = (int32_t)LEVEL_AT_1024_MV - LEVEL_AT_0_MV;
    return (int16_t)(LEVEL_AT_0_MV + (steps * range_mv + 512) / 1024);
}

bool hardware_observe(struct observation *observation)
{
    struct raw_observation raw;
    if (!take(&raw)) {
        /* The ring is empty: what was lost came after everything that was kept. */
        bool lost = observations_lost;
        observations_lost = false;
        observation->what = OBSERVED_GAP;
        return lost;
    }
    observation->what = (enum observed)raw.what;
    observation->high = raw.high;
    if (raw.what == OBSERVED_SAMPLE) {
        observation->at = hardware_now();
        observation->mv = level_mv(raw.value);
        return true;
    }
    observation->at.us = raw.round_us + (raw.value >> 4);
    observation->at.sixteenths = (uint8_t)(raw.value & 15U);
    last_edge_us = observation->at.us;
    return true;
}
