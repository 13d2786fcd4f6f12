#include "serial.h"

#include <avr/interrupt.h>
#include <avr/io.h>

#include "../core/hardware.h"
#include "ring.h"

/* 16 MHz / 8 / 17 is 117647 baud, 2.1 % above 115200: what the Arduino core uses too. A byte takes 85 us. */
enum { UBRR_115200 = 16, RING_BYTES = 128 };

static struct ring in, out;
static volatile uint8_t in_bytes[RING_BYTES];
static volatile uint8_t out_bytes[RING_BYTES];

void serial_begin(void)
{
    UBRR0 = UBRR_115200;
    UCSR0A = _BV(U2X0);
    UCSR0C = _BV(UCSZ01) | _BV(UCSZ00);
    UCSR0B = _BV(RXEN0) | _BV(TXEN0) | _BV(RXCIE0);
}

/* A byte that finds no room is lost, and with it its line, by its checksum. */
ISR(USART_RX_vect)
{
    uint8_t byte = UDR0;
    if (ring_used(&in) < RING_BYTES) {
        in_bytes[in.put % RING_BYTES] = byte;
        in.put++;
    }
}

ISR(USART_UDRE_vect)
{
    if (ring_used(&out) == 0) {
        UCSR0B &= (uint8_t)~_BV(UDRIE0);
        return;
    }
    UDR0 = out_bytes[out.taken % RING_BYTES];
    out.taken++;
}

int16_t hardware_receive(void)
{
    if (ring_used(&in) == 0)
        return -1;
    uint8_t byte = in_bytes[in.taken % RING_BYTES];
    in.taken++;
    return byte;
}

bool hardware_send(const char *bytes, uint8_t length)
{
    if (ring_used(&out) + length > RING_BYTES)
        return false;
    for (uint8_t i = 0; i < length; i++) {
        out_bytes[out.put % RING_BYTES] = (uint8_t)bytes[i];
        out.put++;
    }
    uint8_t sreg = SREG;
    cli();
    UCSR0B |= _BV(UDRIE0);
    SREG = sreg;
    return true;
}
