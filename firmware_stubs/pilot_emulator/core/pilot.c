#include "pilot.h"

uint16_t pilot_duty_for(uint16_t tenths_a)
{
    if (tenths_a <= 510)
        return (uint16_t)(tenths_a * 1000UL / 60UL); /* 0.6 A per percent */
    if (tenths_a <= 525)
        return 8500;
    return (uint16_t)(tenths_a * 4U + 6400U); /* 2.5 A times (percent - 64) */
}

char pilot_state_of(int16_t high_mv)
{
    if (high_mv >= 10500)
        return 'A';
    if (high_mv >= 7500)
        return 'B';
    if (high_mv >= 4500)
        return 'C';
    if (high_mv >= 1500)
        return 'D';
    return high_mv >= -6000 ? 'E' : 'F';
}
