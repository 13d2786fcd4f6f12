#include "watch.h"

#define STEADY_AFTER_US 2000 /* two periods without an edge */
#define TENTHS_PER_SIXTEENTH 160000000U /* frequency in 0.1 Hz of a period of one sixteenth */

enum {
    LEAST_DUTY_CHANGE = 5,      /* 0.05 % */
    LEAST_LEVEL_CHANGE_MV = 300,
    LEVEL_AGREEMENT_MV = 150,   /* two samples of one level: five steps of a 10-bit converter */
    OWN_FREQUENCY = 10000,      /* 0.1 Hz */
};

static uint32_t sixteenths_between(struct instant from, struct instant to)
{
    return (to.us - from.us) * 16U + to.sixteenths - from.sixteenths;
}

static bool apart(int32_t a, int32_t b, int32_t least)
{
    return a - b >= least || b - a >= least;
}

void watch_begin(struct watch *watch, uint32_t now_us)
{
    struct pilot told = watch->told;
    *watch = (struct watch){.told = told, .steady = true, .last_edge_us = now_us};
}

void watch_generated(struct watch *watch, uint16_t duty)
{
    watch->generated = true;
    watch->told.duty = duty;
    watch->told.frequency =
        duty == DUTY_STEADY_HIGH || duty == DUTY_STEADY_LOW ? 0 : OWN_FREQUENCY;
}

/* --- duty ----------------------------------------------------------------------------------- */

static void tell_duty(struct watch *watch, uint32_t stamp_us, uint16_t duty, uint16_t frequency,
                      struct events *events)
{
    watch->duty.waiting = false;
    bool began_or_ceased = (frequency == 0) != (watch->told.frequency == 0);
    if (!began_or_ceased && !apart(duty, watch->told.duty, LEAST_DUTY_CHANGE))
        return;
    watch->told.duty = duty;
    watch->told.frequency = frequency;
    events_add(events, (struct event){.kind = EVENT_DUTY, .stamp_us = stamp_us, .first = duty,
                                      .second = frequency});
}

/* A whole period ended with a rise. */
static void period_ended(struct watch *watch, struct instant end, struct events *events)
{
    uint32_t period = sixteenths_between(watch->rise, end);
    if (period == 0)
        return;
    uint32_t high = sixteenths_between(watch->rise, watch->fall);
    uint16_t duty = (uint16_t)((high * 10000U + period / 2U) / period);
    uint32_t frequency = (TENTHS_PER_SIXTEENTH + period / 2U) / period;
    if (frequency > UINT16_MAX)
        frequency = UINT16_MAX;
    if (watch->told.frequency != 0 && !apart(duty, watch->told.duty, LEAST_DUTY_CHANGE)) {
        watch->duty.waiting = false;
        return;
    }
    if (watch->duty.waiting && !apart(duty, watch->duty.duty, LEAST_DUTY_CHANGE)) {
        tell_duty(watch, watch->duty.stamp_us, duty, (uint16_t)frequency, events);
        return;
    }
    watch->duty = (struct candidate){
        .waiting = true,
        .duty = duty,
        .stamp_us = watch->regime_is_new ? watch->regime_us : watch->fall.us,
    };
}

/* Without edges only the comparator says which level it is: at boot, or after a gap. */
static void look_at_steady_duty(struct watch *watch, const struct observation *sample,
                                struct events *events)
{
    uint16_t duty = sample->high ? DUTY_STEADY_HIGH : DUTY_STEADY_LOW;
    watch->level_high = sample->high;
    if (watch->generated || duty == watch->told.duty)
        watch->duty.waiting = false;
    else if (watch->duty.waiting)
        tell_duty(watch, watch->duty.stamp_us, duty, 0, events);
    else
        watch->duty = (struct candidate){.waiting = true, .stamp_us = sample->at.us};
}

/* --- levels --------------------------------------------------------------------------------- */

static void look_at_levels(struct watch *watch, uint32_t stamp_us, struct events *events)
{
    int16_t high_mv = watch->high_mv;
    int16_t low_mv = watch->low_mv;
    struct pilot *told = &watch->told;
    watch->have_high = watch->have_low = false;
    if (!apart(high_mv, told->high_mv, LEAST_LEVEL_CHANGE_MV)
        && !apart(low_mv, told->low_mv, LEAST_LEVEL_CHANGE_MV)) {
        watch->level.waiting = false;
        return;
    }
    if (!watch->level.waiting || apart(high_mv, watch->level.high_mv, LEVEL_AGREEMENT_MV)
        || apart(low_mv, watch->level.low_mv, LEVEL_AGREEMENT_MV)) {
        watch->level = (struct candidate){
            .waiting = true,
            .high_mv = high_mv,
            .low_mv = low_mv,
            .stamp_us = watch->regime_is_new ? watch->regime_us : stamp_us,
        };
        return;
    }
    if (watch->duty.waiting)
        return; /* the duty is told first */
    watch->level.waiting = false;
    told->high_mv = high_mv;
    told->low_mv = low_mv;
    events_add(events, (struct event){.kind = EVENT_LEVEL, .stamp_us = watch->level.stamp_us,
                                      .first = high_mv, .second = low_mv});
}

static void take_sample(struct watch *watch, const struct observation *sample,
                        struct events *events)
{
    if (watch->steady) {
        look_at_steady_duty(watch, sample, events);
        watch->high_mv = watch->low_mv = sample->mv;
        look_at_levels(watch, sample->at.us, events);
        watch->regime_is_new = false;
    } else if (sample->high) {
        watch->high_mv = sample->mv;
        watch->have_high = true;
    } else {
        watch->low_mv = sample->mv;
        watch->have_low = true;
    }
}

/* --- edges and time ------------------------------------------------------------------------- */

static void new_regime(struct watch *watch, bool steady, uint32_t since_us)
{
    watch->steady = steady;
    watch->regime_is_new = true;
    watch->regime_us = since_us;
    watch->duty.waiting = watch->level.waiting = false;
    watch->have_high = watch->have_low = false;
}

static void take_rise(struct watch *watch, struct instant at, struct events *events)
{
    bool whole = watch->edges == 2;
    if (whole && !watch->generated)
        period_ended(watch, at, events);
    if (whole && watch->have_high && watch->have_low) {
        look_at_levels(watch, watch->rise.us, events);
        watch->regime_is_new = false;
    }
    watch->rise = at;
    watch->edges = 1;
}

static void take_fall(struct watch *watch, struct instant at)
{
    watch->fall = at;
    watch->edges = watch->edges == 1 ? 2 : 0;
}

void watch_observe(struct watch *watch, const struct observation *observation,
                   struct events *events)
{
    if (observation->what == OBSERVED_SAMPLE) {
        take_sample(watch, observation, events);
        return;
    }
    if (observation->what == OBSERVED_GAP) {
        watch->edges = 0;
        return;
    }
    watch_time(watch, observation->at.us, events);
    if (watch->steady) {
        new_regime(watch, false, observation->at.us);
        watch->edges = 0;
    }
    watch->last_edge_us = observation->at.us;
    watch->level_high = observation->what == OBSERVED_RISE;
    if (watch->level_high)
        take_rise(watch, observation->at, events);
    else
        take_fall(watch, observation->at);
}

void watch_time(struct watch *watch, uint32_t now_us, struct events *events)
{
    if (watch->steady || (int32_t)(now_us - watch->last_edge_us) <= STEADY_AFTER_US)
        return;
    new_regime(watch, true, watch->last_edge_us);
    if (!watch->generated)
        tell_duty(watch, watch->last_edge_us, watch->level_high ? DUTY_STEADY_HIGH : DUTY_STEADY_LOW,
                  0, events);
}
