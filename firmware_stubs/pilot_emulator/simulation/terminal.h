/* The ends of a simulated emulator: a pseudo-terminal for the bench, and commands on the standard input. */
#ifndef TERMINAL_H
#define TERMINAL_H

#include <stdbool.h>
#include <stdint.h>

/* Open a pseudo-terminal and print the path that the bench opens; ends the program if there is none. */
void terminal_open(void);

/* Wait for bytes of either end, at most so long. */
void terminal_wait(int milliseconds);

/* The next byte from the bench, -1 if there is none. */
int16_t terminal_receive(void);

/* Send all bytes; false, and none is sent, while a bench leaves too many unread. */
bool terminal_send(const char *bytes, uint8_t length);

/* Hand over each line of the standard input; false at its end. */
bool terminal_commands(void (*obey)(const char *line));

/* Print a line. */
void terminal_say(const char *text);

#endif
