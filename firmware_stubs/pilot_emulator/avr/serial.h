/* The UART at 115200 baud, by interrupts. */
#ifndef SERIAL_H
#define SERIAL_H

#include <stdbool.h>

void serial_begin(void);

#endif
