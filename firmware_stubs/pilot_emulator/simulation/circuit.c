#include "circuit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const double generator_v = 12.0;
static const double source_ohm = 1000.0;
static const double diode_drop_v = 0.7;
static const double comparator_v = 0.35;

/* Loads of SAE J1772 and IEC 61851-1: 2.74 kohm in state B; in parallel to it 1.3 kohm make the 882 ohm
 * of state C and 270 ohm the 246 ohm of state D. State E is a short behind the diode. */
static const double load_b_ohm = 2740.0, load_c_ohm = 1300.0, load_d_ohm = 270.0, load_e_ohm = 1.0;

static double conductance(bool b, bool c, bool d, bool e)
{
    return b / load_b_ohm + c / load_c_ohm + d / load_d_ohm + e / load_e_ohm;
}

static double level_v(double generator, double own, double car, bool own_diode)
{
    /* Without its diode a load hangs on the pilot in both halves, and drops nothing. */
    double drop_v = own_diode ? diode_drop_v : 0.0;
    bool conducts = generator > 0.0;
    double own_g = conducts || !own_diode ? own : 0.0;
    double car_g = conducts ? car : 0.0;
    double sum = 1.0 / source_ohm + own_g + car_g;
    return (generator / source_ohm + own_g * drop_v + car_g * diode_drop_v) / sum;
}

int16_t circuit_at_evse_mv(const struct circuit *circuit, bool high)
{
    double own = circuit->pe_broken ? 0.0
                                    : conductance(circuit->load_b, circuit->load_c,
                                                  circuit->load_d, circuit->load_e);
    char car = circuit->car;
    double beside = conductance(car >= 'B' && car <= 'D', car == 'C', car == 'D', car == 'E');
    double generator = high ? generator_v : -generator_v;
    double v = level_v(generator, own, beside, !circuit->diode_shorted);
    return (int16_t)(v * 1000.0 + (v > 0.0 ? 0.5 : -0.5));
}

int16_t circuit_at_emulator_mv(const struct circuit *circuit, bool high)
{
    return circuit->pe_broken ? 0 : circuit_at_evse_mv(circuit, high);
}

bool circuit_compares(int16_t mv)
{
    return mv > comparator_v * 1000.0;
}

void circuit_begin(struct circuit *circuit, uint64_t now)
{
    *circuit = (struct circuit){.evse_duty = 10000, .car = 'A', .generator_high = true,
                                .period_began = now, .next_edge = now + CIRCUIT_PERIOD_TICKS};
}

/* A period begins high; a new duty takes effect with a new period. */
static void begin_period(struct circuit *circuit, uint16_t duty)
{
    circuit->period_began = circuit->next_edge;
    uint64_t high_ticks = duty * (uint64_t)CIRCUIT_PERIOD_TICKS / 10000U;
    circuit->generator_high = duty != 0;
    circuit->next_edge += duty == 0 || duty == 10000 ? CIRCUIT_PERIOD_TICKS : high_ticks;
    if (duty != circuit->duty)
        circuit->changed_at = circuit->next_edge;
    circuit->duty = duty;
}

bool circuit_edge(struct circuit *circuit, uint16_t duty, uint64_t now, uint64_t *at, bool *high)
{
    while (circuit->next_edge <= now) {
        bool before = circuit->generator_high;
        *at = circuit->next_edge;
        if (before && circuit->next_edge - circuit->period_began < CIRCUIT_PERIOD_TICKS) {
            circuit->generator_high = false;
            circuit->next_edge = circuit->period_began + CIRCUIT_PERIOD_TICKS;
        } else {
            begin_period(circuit, duty);
        }
        *high = circuit->generator_high;
        if (*high != before)
            return true;
    }
    return false;
}

static void describe(const struct circuit *circuit, char *text, unsigned size)
{
    snprintf(text, size, "high %d low %d proximity %u source %d",
             circuit_at_evse_mv(circuit, true), circuit_at_evse_mv(circuit, false),
             circuit->proximity, circuit->source);
}

void circuit_command(struct circuit *circuit, const char *line, char *text, unsigned size)
{
    unsigned duty, flag;
    char letter;
    snprintf(text, size, "ok");
    if (strcmp(line, "look") == 0)
        describe(circuit, text, size);
    else if (strcmp(line, "changed") == 0)
        snprintf(text, size, "%" PRIu64, circuit->changed_at);
    else if (sscanf(line, "evse %u", &duty) == 1 && duty <= 10000)
        circuit->evse_duty = (uint16_t)duty;
    else if (sscanf(line, "car %c", &letter) == 1 && letter >= 'A' && letter <= 'E')
        circuit->car = letter;
    else if (sscanf(line, "stuck %u", &flag) == 1 && flag <= 1)
        circuit->stuck = flag == 1;
    else
        snprintf(text, size, "unknown");
}
