/* The pilot emulator as a program: the portable core behind a pseudo-terminal, with a simulated pilot.
 * It prints the terminal's path; its standard input takes the commands of circuit.h. It ends when its
 * standard input does. */
#define _XOPEN_SOURCE 700

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../core/emulator.h"
#include "../simulation/circuit.h"
#include "../simulation/terminal.h"

enum { SETTLED_TICKS = 10 * 16, SAMPLE_EVERY_TICKS = 1000 * 16, PASS_MS = 1 };

const struct identity hardware_identity = {
    .serial = "HOST000000", .resolution_us = 1, .byte_time_us = 0};

static struct circuit circuit;
static uint16_t own_duty = 10000;
static bool comparator_high;
static uint64_t boot_ns;
static uint64_t now_ticks;         /* what this pass takes for now, so that no edge is overtaken */
static uint64_t switched_ticks;
static uint64_t last_edge_ticks;
static uint64_t last_sample_ticks;
static bool sample_waits;          /* that of the last edge */

static void refresh_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t ns = (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
    now_ticks = (ns - boot_ns) / 125U * 2U;
}

static struct instant instant_of(uint64_t ticks)
{
    return (struct instant){.us = (uint32_t)(ticks / 16U), .sixteenths = (uint8_t)(ticks % 16U)};
}

/* --- the seam of core/hardware.h ------------------------------------------------------------- */

struct instant hardware_now(void)
{
    return instant_of(now_ticks);
}

bool hardware_apply(const struct outputs *outputs)
{
    char state = outputs->state;
    circuit.load_b = state >= 'B' && state <= 'D';
    if (!circuit.stuck)
        circuit.load_c = state == 'C';
    circuit.load_d = state == 'D';
    circuit.load_e = state == 'E';
    circuit.diode_shorted = outputs->diode_shorted;
    circuit.pe_broken = outputs->pe_broken;
    circuit.proximity = outputs->proximity;
    circuit.source = outputs->role == ROLE_EVSE;
    own_duty = outputs->duty;
    switched_ticks = now_ticks;
    return circuit.load_c == (state == 'C');
}

static struct observation sample_at(uint64_t ticks)
{
    int16_t mv = circuit_at_emulator_mv(&circuit, circuit.generator_high);
    last_sample_ticks = ticks;
    sample_waits = false;
    return (struct observation){.what = OBSERVED_SAMPLE, .at = instant_of(ticks),
                                .high = circuit_compares(mv), .mv = mv};
}

/* An edge of the comparator, by the generator or by a switch of the emulator's own. */
static bool next_edge(uint64_t *at)
{
    uint16_t duty = circuit.source ? own_duty : circuit.evse_duty;
    bool high;
    *at = switched_ticks;
    do {
        bool compares =
            circuit_compares(circuit_at_emulator_mv(&circuit, circuit.generator_high));
        if (compares != comparator_high) {
            comparator_high = compares;
            if (*at < last_edge_ticks) /* by a switch in the middle of a pass */
                *at = last_edge_ticks;
            return true;
        }
    } while (circuit_edge(&circuit, duty, now_ticks, at, &high));
    return false;
}

bool hardware_observe(struct observation *observation)
{
    uint64_t at;
    if (sample_waits && last_edge_ticks + SETTLED_TICKS <= now_ticks) {
        *observation = sample_at(last_edge_ticks + SETTLED_TICKS);
        return true;
    }
    if (!sample_waits && next_edge(&at)) {
        *observation = (struct observation){
            .what = comparator_high ? OBSERVED_RISE : OBSERVED_FALL,
            .at = instant_of(at),
            .high = comparator_high,
        };
        last_edge_ticks = at;
        sample_waits = true;
        return true;
    }
    if (!sample_waits && now_ticks - last_edge_ticks >= 2 * SAMPLE_EVERY_TICKS
        && now_ticks - last_sample_ticks >= SAMPLE_EVERY_TICKS) {
        *observation = sample_at(now_ticks);
        return true;
    }
    return false;
}

int16_t hardware_receive(void)
{
    int16_t byte = terminal_receive();
    if (byte >= 0)
        refresh_clock(); /* what is answered is stamped after its last byte came */
    return byte;
}

bool hardware_send(const char *bytes, uint8_t length)
{
    return terminal_send(bytes, length);
}

/* --- the program ----------------------------------------------------------------------------- */

static void obey(const char *line)
{
    char text[80];
    circuit_command(&circuit, line, text, sizeof text);
    terminal_say(text);
}

int main(void)
{
    static struct emulator emulator;
    refresh_clock();
    boot_ns = now_ticks / 2U * 125U;
    refresh_clock();
    circuit_begin(&circuit, now_ticks);
    terminal_open();
    emulator_start(&emulator, "POWER");
    while (terminal_commands(obey)) {
        terminal_wait(PASS_MS);
        refresh_clock();
        emulator_run(&emulator);
    }
    return EXIT_SUCCESS;
}
