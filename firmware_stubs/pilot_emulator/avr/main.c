/* The pilot emulator on an ATmega328P at 16 MHz: Arduino Nano, Uno and their like. */
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>
#include <avr/wdt.h>

#include "../core/emulator.h"
#include "observations.h"
#include "wiring.h"
#include "serial.h"
#include "timer.h"

enum {
    SWITCHES_B = _BV(WIRED_SOURCE),
    SWITCHES_C = _BV(WIRED_PROX_100) | _BV(WIRED_PROX_220) | _BV(WIRED_PROX_680) | _BV(WIRED_PROX_1500),
    SWITCHES_D = _BV(WIRED_LOAD_B) | _BV(WIRED_LOAD_C) | _BV(WIRED_LOAD_D) | _BV(WIRED_LOAD_E)
                 | _BV(WIRED_DIODE) | _BV(WIRED_PE),
    WAKE_COUNTS = 249, /* of 64 cycles: the main loop wakes every millisecond */
};

const struct identity hardware_identity = {
    .serial = SERIAL, .resolution_us = 1, .byte_time_us = 85};

static struct outputs applied = {.role = ROLE_VEHICLE, .state = 'A', .duty = 10000};
static uint8_t reset_flags __attribute__((section(".noinit")));

/* Before anything else: the watchdog of the reset that got us here still runs. */
void keep_reset_flags(void) __attribute__((naked, used, section(".init3")));
void keep_reset_flags(void)
{
    reset_flags = MCUSR;
    MCUSR = 0;
    wdt_disable();
}

static const char *boot_cause(void)
{
    if (reset_flags & _BV(WDRF))
        return "HANG";
    if (reset_flags & _BV(BORF))
        return "BROWNOUT";
    return reset_flags & _BV(EXTRF) ? "RESET" : "POWER";
}

static uint8_t loads(const struct outputs *outputs)
{
    static const uint8_t of_state[] = {
        0,
        _BV(WIRED_LOAD_B),
        _BV(WIRED_LOAD_B) | _BV(WIRED_LOAD_C),
        _BV(WIRED_LOAD_B) | _BV(WIRED_LOAD_D),
        _BV(WIRED_LOAD_E),
    };
    return (uint8_t)(of_state[outputs->state - 'A'] | (outputs->diode_shorted ? _BV(WIRED_DIODE) : 0)
                     | (outputs->pe_broken ? _BV(WIRED_PE) : 0));
}

static uint8_t proximity(uint16_t ohm)
{
    switch (ohm) {
    case 100:
        return _BV(WIRED_PROX_100);
    case 220:
        return _BV(WIRED_PROX_220);
    case 680:
        return _BV(WIRED_PROX_680);
    case 1500:
        return _BV(WIRED_PROX_1500);
    default:
        return 0;
    }
}

static void drive(volatile uint8_t *port, uint8_t switches, uint8_t on)
{
    *port = (uint8_t)((*port & ~switches) | on);
}

/* Whether the pins are where they were driven to: a shorted one is not. */
static bool followed(uint8_t b, uint8_t c, uint8_t d)
{
    __asm__ __volatile__("nop\n\tnop"); /* a pin is read back a cycle late */
    return (PINB & SWITCHES_B) == b && (PINC & SWITCHES_C) == c && (PIND & SWITCHES_D) == d;
}

bool hardware_apply(const struct outputs *outputs)
{
    bool source = outputs->role == ROLE_EVSE;
    uint8_t b = source ? _BV(WIRED_SOURCE) : 0;
    uint8_t c = proximity(outputs->proximity);
    uint8_t d = loads(outputs);
    if (source)
        timer_generate(outputs->duty);
    drive(&PORTD, SWITCHES_D, d);
    drive(&PORTC, SWITCHES_C, c);
    drive(&PORTB, SWITCHES_B, b);
    if (!source && applied.role == ROLE_EVSE)
        timer_capture();
    applied = *outputs;
    return followed(b, c, d);
}

static bool steady_high(void)
{
    if (applied.role == ROLE_EVSE)
        return (PINB & _BV(WIRED_GENERATOR)) != 0;
    return (PINB & _BV(WIRED_COMPARATOR)) != 0;
}

static void begin(void)
{
    DDRB = SWITCHES_B | _BV(WIRED_GENERATOR) | _BV(WIRED_LED);
    DDRC = SWITCHES_C;
    DDRD = SWITCHES_D;
    OCR0A = WAKE_COUNTS;
    TCCR0A = _BV(WGM01);
    TCCR0B = _BV(CS01) | _BV(CS00);
    TIMSK0 = _BV(OCIE0A);
    serial_begin();
    observations_begin();
    timer_capture();
    SMCR = _BV(SE); /* idle: every clock goes on */
    wdt_enable(WDTO_250MS);
    sei();
}

EMPTY_INTERRUPT(TIMER0_COMPA_vect)

int main(void)
{
    static struct emulator emulator;
    begin();
    emulator_start(&emulator, boot_cause());
    for (;;) {
        wdt_reset();
        observations_pass(steady_high());
        emulator_run(&emulator);
        if (emulator.supervised)
            PORTB |= _BV(WIRED_LED);
        else
            PORTB &= (uint8_t)~_BV(WIRED_LED);
        sleep_cpu();
    }
}
