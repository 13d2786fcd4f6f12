/* Timer 1: the clock, and either the capture of the pilot's edges or the generation of the pilot.
 *
 * Capture and generation never run at one time. Fast PWM with OCR1A as TOP makes the counter start
 * over every period, and a captured count would say nothing about the period before; so in the
 * roles VEHICLE and SNIFF the timer counts freely (mode 0) and captures, and in the role EVSE it
 * generates (mode 15) and nothing is captured: the duty is the emulator's own. */
#ifndef TIMER_H
#define TIMER_H

#include <stdbool.h>
#include <stdint.h>

#include "../core/hardware.h"

/* Count freely and capture edges. */
void timer_capture(void);

/* Generate a pilot of 1 kHz, duty in 0.01 %. */
void timer_generate(uint16_t duty);

#endif
