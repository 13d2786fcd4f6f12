/* The control pilot of IEC 61851-1 and SAE J1772 in the protocol's units. Pure. */
#ifndef PILOT_H
#define PILOT_H

#include <stdint.h>

enum {
    DUTY_STEADY_HIGH = 10000,
    DUTY_STEADY_LOW = 0,
    DUTY_LEAST = 100, /* 1 %, 10 us: shorter pulses are not sure to be seen between two interrupts */
    DUTY_MOST = 9900,
    CURRENT_LEAST = 60, /* 0.1 A */
    CURRENT_MOST = 800,
};

/* The pilot as it is told: duty 0.01 %, frequency 0.1 Hz, levels mV. */
struct pilot {
    uint16_t duty;
    uint16_t frequency;
    int16_t high_mv;
    int16_t low_mv;
};

/* Duty that offers a current of CURRENT_LEAST to CURRENT_MOST, rounded so that the offer is never
 * above it. The branches of the table do not meet: from 51 A to 52.5 A it stays at 85 %. */
uint16_t pilot_duty_for(uint16_t tenths_a);

/* The state whose nominal high level is nearest: 'A' to 'F'. */
char pilot_state_of(int16_t high_mv);

#endif
