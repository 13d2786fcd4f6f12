#include "timer.h"

#include <avr/interrupt.h>
#include <avr/io.h>
#include <util/atomic.h>

#include "observations.h"
#include "wiring.h"

enum { PERIOD_TICKS = 16000 };

#define US_PER_ROUND_FREE 4096U /* 65536 ticks of 62.5 ns */
#define US_PER_ROUND_PWM 1000U

/* The noise canceller delays both edges by the same four cycles. */
#define CAPTURE_A_FALL (_BV(ICNC1) | _BV(CS10))
#define CAPTURE_A_RISE (CAPTURE_A_FALL | _BV(ICES1))

static volatile uint32_t round_us; /* the clock when the counter was last 0 */
static uint16_t us_per_round = US_PER_ROUND_FREE;
static uint16_t half_round = 0x8000U;
static bool generating;
static volatile bool captured_high; /* the comparator after the last edge */

/* Begin of the round that a count belongs to; with interrupts off. A round that ended and whose
 * interrupt still waits counts where the count is one of the new round. */
static inline uint32_t round_of(uint16_t ticks)
{
    uint32_t began_us = round_us;
    if ((TIFR1 & _BV(TOV1)) && ticks < half_round)
        began_us += us_per_round;
    return began_us;
}

struct instant hardware_now(void)
{
    uint16_t ticks = 0;
    uint32_t began_us = 0;
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        ticks = TCNT1;
        began_us = round_of(ticks);
    }
    return (struct instant){.us = began_us + (ticks >> 4), .sixteenths = (uint8_t)(ticks & 15U)};
}

/* Stop the timer; the clock goes on from where it was, less the microsecond that this takes. */
static void begin_rounds(bool generate)
{
    uint32_t now_us = hardware_now().us;
    TCCR1B = 0;
    TCCR1A = 0;
    TIMSK1 = 0;
    TCNT1 = 0;
    TIFR1 = _BV(TOV1) | _BV(ICF1) | _BV(OCF1B);
    round_us = now_us + 1U;
    generating = generate;
    us_per_round = generate ? US_PER_ROUND_PWM : US_PER_ROUND_FREE;
    half_round = generate ? PERIOD_TICKS / 2U : 0x8000U;
}

void timer_capture(void)
{
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        begin_rounds(false);
        PORTB &= (uint8_t)~_BV(WIRED_GENERATOR);
        captured_high = (PINB & _BV(WIRED_COMPARATOR)) != 0;
        TIMSK1 = _BV(TOIE1) | _BV(ICIE1);
        TCCR1B = captured_high ? CAPTURE_A_FALL : CAPTURE_A_RISE;
    }
}

/* OC1B is high from 0 to OCR1B, so for OCR1B + 1 ticks. */
static uint16_t last_high_tick(uint16_t duty)
{
    return (uint16_t)((duty * (uint32_t)PERIOD_TICKS + 5000U) / 10000U - 1U);
}

static void hold(bool high)
{
    TIMSK1 = _BV(TOIE1);
    if (high)
        PORTB |= _BV(WIRED_GENERATOR);
    else
        PORTB &= (uint8_t)~_BV(WIRED_GENERATOR);
    TCCR1A = _BV(WGM11) | _BV(WGM10);
}

void timer_generate(uint16_t duty)
{
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        if (!generating) {
            begin_rounds(true);
            OCR1A = PERIOD_TICKS - 1;
            TCCR1A = _BV(WGM11) | _BV(WGM10);
            TCCR1B = _BV(WGM13) | _BV(WGM12) | _BV(CS10);
        }
        if (duty == 0 || duty >= 10000) {
            hold(duty != 0);
        } else {
            OCR1B = last_high_tick(duty);
            TCCR1A = _BV(COM1B1) | _BV(WGM11) | _BV(WGM10);
            TIMSK1 = _BV(TOIE1) | _BV(OCIE1B);
        }
    }
}

/* Which edge it was says the comparator itself. Turning the edge to wait for can raise the interrupt
 * once more without an edge; then the comparator has not moved, and nothing is kept. */
ISR(TIMER1_CAPT_vect)
{
    uint16_t ticks = ICR1;
    bool high = (PINB & _BV(WIRED_COMPARATOR)) != 0;
    TCCR1B = high ? CAPTURE_A_FALL : CAPTURE_A_RISE;
    if (high == captured_high)
        return;
    captured_high = high;
    observations_sample(high);
    observations_keep(high ? OBSERVED_RISE : OBSERVED_FALL, high, ticks, round_of(ticks));
}

ISR(TIMER1_OVF_vect)
{
    round_us += us_per_round;
    if (TIMSK1 & _BV(OCIE1B)) {
        observations_sample(true);
        observations_keep(OBSERVED_RISE, true, 0, round_us);
    }
}

ISR(TIMER1_COMPB_vect)
{
    uint16_t ticks = OCR1B;
    observations_sample(false);
    observations_keep(OBSERVED_FALL, false, ticks, round_of(ticks));
}
