/* The firmware for the ATmega328P, run by simavr with its UART on a pseudo-terminal and its pins in a
 * simulated pilot circuit. A test tool: a program of its own that links libsimavr (GPL).
 *
 *     run-avr FIRMWARE.elf
 *
 * It prints the terminal's path; its standard input takes the commands of circuit.h, and one more:
 *     measure 20    print the mean period and high time of 20 periods on the generator's pin, in cycles
 * It ends when its standard input does. Simulated time never runs ahead of real time. */
#define _DEFAULT_SOURCE
#define _XOPEN_SOURCE 700

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <avr_adc.h>
#include <avr_ioport.h>
#include <avr_timer.h>
#include <avr_uart.h>
#include <sim_avr.h>
#include <sim_cycle_timers.h>
#include <sim_elf.h>

#include "../avr/wiring.h"
#include "circuit.h"
#include "terminal.h"

enum {
    FREQUENCY = 16000000,
    CYCLES_PER_PASS = 8000,
    NS_PER_TWO_CYCLES = 125,
    SUPPLY_MV = 5000,
    REFERENCE_MV = 4096,
    TCCR1A_ADDRESS = 0x80, /* of the ATmega328P */
    PORTB_ADDRESS = 0x25,
    COM1B1_MASK = 1 << 5,
};

static avr_t *avr;
static struct circuit circuit;
static avr_irq_t *comparator, *converter, *uart_input;
static bool compares;
static bool uart_takes;
static bool own_high; /* the generator's pin */

static struct {
    unsigned wanted, periods;
    bool began;
    uint64_t first, rise, last, high;
} measured;

/* --- the circuit ----------------------------------------------------------------------------- */

static bool generator_high(void)
{
    return circuit.source ? own_high : circuit.generator_high;
}

static int16_t level_mv(void)
{
    return circuit_at_emulator_mv(&circuit, generator_high());
}

static void let_compare(void)
{
    bool now = circuit_compares(level_mv());
    if (now == compares)
        return;
    compares = now;
    avr_raise_irq(comparator, now);
}

static avr_cycle_count_t generator_edge(avr_t *mcu, avr_cycle_count_t when, void *unused)
{
    (void)unused;
    uint64_t at;
    bool high;
    circuit_edge(&circuit, circuit.evse_duty, when, &at, &high);
    let_compare();
    return circuit.next_edge > mcu->cycle ? circuit.next_edge : mcu->cycle + 1;
}

/* --- the microcontroller's pins --------------------------------------------------------------- */

static void measure(void)
{
    if (measured.wanted == 0)
        return;
    if (!own_high) {
        if (measured.began)
            measured.high += avr->cycle - measured.rise;
        return;
    }
    if (measured.began)
        measured.periods++;
    else
        measured.first = avr->cycle;
    measured.began = true;
    measured.rise = measured.last = avr->cycle;
    if (measured.periods < measured.wanted)
        return;
    char text[80];
    snprintf(text, sizeof text, "period %.3f high %.3f",
             (double)(measured.last - measured.first) / measured.periods,
             (double)measured.high / measured.periods);
    measured.wanted = 0;
    terminal_say(text);
}

static void drive_generator(bool high)
{
    if (high == own_high)
        return;
    own_high = high;
    measure();
    let_compare();
}

/* The pin is the timer's while COM1B1 says so, and the port's otherwise. */
static bool timer_has_pin(void)
{
    return (avr->data[TCCR1A_ADDRESS] & COM1B1_MASK) != 0;
}

static void take_port_pin(void)
{
    if (!timer_has_pin())
        drive_generator((avr->data[PORTB_ADDRESS] >> WIRED_GENERATOR & 1U) != 0);
}

static void timer_pin(avr_irq_t *irq, uint32_t value, void *unused)
{
    (void)irq;
    (void)unused;
    if (timer_has_pin())
        drive_generator((value & 1U) != 0);
}

static uint16_t proximity(uint32_t pins)
{
    if (pins & 1U << WIRED_PROX_100)
        return 100;
    if (pins & 1U << WIRED_PROX_220)
        return 220;
    if (pins & 1U << WIRED_PROX_680)
        return 680;
    return pins & 1U << WIRED_PROX_1500 ? 1500 : 0;
}

static void port_b(avr_irq_t *irq, uint32_t pins, void *unused)
{
    (void)irq;
    (void)unused;
    circuit.source = (pins >> WIRED_SOURCE & 1U) != 0;
    let_compare();
}

static void port_c(avr_irq_t *irq, uint32_t pins, void *unused)
{
    (void)irq;
    (void)unused;
    circuit.proximity = proximity(pins);
}

static void port_d(avr_irq_t *irq, uint32_t pins, void *unused)
{
    (void)irq;
    (void)unused;
    circuit.load_b = (pins >> WIRED_LOAD_B & 1U) != 0;
    circuit.load_c = (pins >> WIRED_LOAD_C & 1U) != 0;
    circuit.load_d = (pins >> WIRED_LOAD_D & 1U) != 0;
    circuit.load_e = (pins >> WIRED_LOAD_E & 1U) != 0;
    circuit.diode_shorted = (pins >> WIRED_DIODE & 1U) != 0;
    circuit.pe_broken = (pins >> WIRED_PE & 1U) != 0;
    let_compare();
}

/* The divider: 300 kohm to the pilot, 82.5 kohm to the reference, 113 kohm to the emulator's 0 V. */
static double divided_mv(double pilot_mv)
{
    const double to_pilot = 1.0 / 300.0, to_reference = 1.0 / 82.5, to_ground = 1.0 / 113.0;
    double sum = to_pilot + to_reference + to_ground;
    return (pilot_mv * to_pilot + REFERENCE_MV * to_reference) / sum;
}

static void conversion(avr_irq_t *irq, uint32_t value, void *unused)
{
    (void)irq;
    (void)value;
    (void)unused;
    avr_raise_irq(converter, (uint32_t)(divided_mv(level_mv()) + 0.5));
}

/* --- the UART --------------------------------------------------------------------------------- */

static void byte_sent(avr_irq_t *irq, uint32_t value, void *unused)
{
    (void)irq;
    (void)unused;
    char byte = (char)value;
    terminal_send(&byte, 1);
}

static void take_no_more(avr_irq_t *irq, uint32_t value, void *unused)
{
    (void)irq;
    (void)value;
    (void)unused;
    uart_takes = false;
}

static void feed(avr_irq_t *irq, uint32_t value, void *unused)
{
    (void)irq;
    (void)value;
    (void)unused;
    uart_takes = true;
    int16_t byte;
    while (uart_takes && (byte = terminal_receive()) >= 0)
        avr_raise_irq(uart_input, (uint32_t)byte);
}

/* --- the program ------------------------------------------------------------------------------ */

static void obey(const char *line)
{
    char text[80];
    unsigned periods;
    if (sscanf(line, "measure %u", &periods) == 1 && periods > 0) {
        memset(&measured, 0, sizeof measured);
        measured.wanted = periods;
        return;
    }
    circuit_command(&circuit, line, text, sizeof text);
    let_compare();
    terminal_say(text);
}

static void sleep_no_time(avr_t *mcu, avr_cycle_count_t cycles)
{
    (void)mcu;
    (void)cycles;
}

static void say_errors(avr_t *mcu, const int level, const char *format, va_list arguments)
{
    (void)mcu;
    if (level <= LOG_ERROR)
        vfprintf(stderr, format, arguments);
}

static avr_irq_t *pin_irq(char port, int which)
{
    return avr_io_getirq(avr, AVR_IOCTL_IOPORT_GETIRQ(port), which);
}

static avr_irq_t *uart_irq(int which)
{
    return avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), which);
}

static void wire(void)
{
    comparator = pin_irq('B', WIRED_COMPARATOR);
    converter = avr_io_getirq(avr, AVR_IOCTL_ADC_GETIRQ, ADC_IRQ_ADC0 + WIRED_PILOT);
    uart_input = uart_irq(UART_IRQ_INPUT);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_TIMER_GETIRQ('1'),
                                          TIMER_IRQ_OUT_COMP + AVR_TIMER_COMPB),
                            timer_pin, NULL);
    avr_irq_register_notify(pin_irq('B', IOPORT_IRQ_REG_PORT), port_b, NULL);
    avr_irq_register_notify(pin_irq('C', IOPORT_IRQ_REG_PORT), port_c, NULL);
    avr_irq_register_notify(pin_irq('D', IOPORT_IRQ_REG_PORT), port_d, NULL);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_ADC_GETIRQ, ADC_IRQ_OUT_TRIGGER),
                            conversion, NULL);
    avr_irq_register_notify(uart_irq(UART_IRQ_OUTPUT), byte_sent, NULL);
    avr_irq_register_notify(uart_irq(UART_IRQ_OUT_XON), feed, NULL);
    avr_irq_register_notify(uart_irq(UART_IRQ_OUT_XOFF), take_no_more, NULL);
    uint32_t flags = 0; /* nothing on the console, no sleeping while it polls */
    avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS('0'), &flags);
    avr_cycle_timer_register(avr, circuit.next_edge - avr->cycle, generator_edge, NULL);
}

static bool load(const char *path)
{
    elf_firmware_t firmware;
    memset(&firmware, 0, sizeof firmware);
    avr_global_logger_set(say_errors);
    avr = avr_make_mcu_by_name("atmega328p");
    if (avr == NULL || elf_read_firmware(path, &firmware) != 0)
        return false;
    avr_init(avr);
    firmware.frequency = FREQUENCY;
    avr_load_firmware(avr, &firmware);
    avr->vcc = avr->avcc = SUPPLY_MV;
    avr->aref = REFERENCE_MV;
    avr->sleep = sleep_no_time;
    return true;
}

static uint64_t real_cycles(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t ns = (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
    return ns / NS_PER_TWO_CYCLES * 2U;
}

/* Let simulated time pass up to the end of a pass, then wait until real time is there too. */
static bool pass(uint64_t began)
{
    uint64_t until = avr->cycle + CYCLES_PER_PASS;
    while (avr->cycle < until) {
        int state = avr_run(avr);
        if (state == cpu_Done || state == cpu_Crashed)
            return false;
        take_port_pin();
    }
    while (real_cycles() - began < avr->cycle)
        terminal_wait(1);
    if (uart_takes)
        feed(NULL, 0, NULL);
    return true;
}

int main(int count, char **words)
{
    if (count != 2 || !load(words[1])) {
        fprintf(stderr, "usage: run-avr FIRMWARE.elf (for an ATmega328P)\n");
        return EXIT_FAILURE;
    }
    circuit_begin(&circuit, avr->cycle);
    wire();
    terminal_open();
    uint64_t began = real_cycles();
    while (terminal_commands(obey))
        if (!pass(began)) {
            fprintf(stderr, "run-avr: the firmware crashed\n");
            return EXIT_FAILURE;
        }
    return EXIT_SUCCESS;
}
