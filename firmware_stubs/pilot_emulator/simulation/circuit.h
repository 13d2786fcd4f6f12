/* The pilot circuit around an emulator: an EVSE opposite, a car beside, and the emulator's own switches.
 * For the host build and the simulated microcontroller; nothing of it is on a real emulator. */
#ifndef CIRCUIT_H
#define CIRCUIT_H

#include <stdbool.h>
#include <stdint.h>

/* Time is counted in ticks of 62.5 ns: cycles of a 16 MHz microcontroller. */
#define CIRCUIT_TICKS_PER_US 16U
#define CIRCUIT_PERIOD_TICKS 16000U

struct circuit {
    /* around the emulator */
    uint16_t evse_duty; /* 0.01 %; 0 and 10000 are steady */
    char car;           /* 'A' to 'E'; 'A' is none */
    /* the emulator's switches */
    bool load_b, load_c, load_d, load_e, diode_shorted, pe_broken, source;
    uint16_t proximity; /* ohm, 0 is open */
    bool stuck;         /* the switch of load_c follows no command */
    /* the generator on the line: that of the EVSE, or the emulator's own where it is the source */
    bool generator_high;
    uint64_t period_began;
    uint64_t next_edge;
    uint16_t duty;       /* of this period */
    uint64_t changed_at; /* the first fall after the duty changed */
};

void circuit_begin(struct circuit *circuit, uint64_t now);

/* The generator's next edge, if it is due by `now`: true, and its instant and direction. */
bool circuit_edge(struct circuit *circuit, uint16_t duty, uint64_t now, uint64_t *at, bool *high);

/* Level of the pilot at the EVSE's end, mV, while its generator is high or low. */
int16_t circuit_at_evse_mv(const struct circuit *circuit, bool high);

/* The same as the emulator sees it, whose reference is the protective earth. */
int16_t circuit_at_emulator_mv(const struct circuit *circuit, bool high);

/* Whether the emulator's comparator says high at a level. */
bool circuit_compares(int16_t mv);

/* A command of a test, and what there is to say to it, as one line without line feed:
 *     evse 2667     the EVSE opposite offers 26.67 % (10000: steady high, 0: steady low)
 *     car C         a car beside shows state C (A: there is none)
 *     stuck 1       the switch of the 1.3 kohm follows no command from now on (host build only)
 *     look          what the EVSE sees
 *     changed       when the first fall after the last change of the duty was, in ticks
 */
void circuit_command(struct circuit *circuit, const char *line, char *text, unsigned size);

#endif
