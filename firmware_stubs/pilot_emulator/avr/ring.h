/* A ring between an interrupt and the main loop: one side puts, the other takes. 256 divides by SIZE. */
#ifndef RING_H
#define RING_H

#include <stdint.h>

struct ring {
    volatile uint8_t put;
    volatile uint8_t taken;
};

/* What was put or taken stands before the count that says so. */
static inline void ring_settle(void)
{
    __asm__ __volatile__("" ::: "memory");
}

static inline uint8_t ring_used(const struct ring *ring)
{
    return (uint8_t)(ring->put - ring->taken);
}

#endif
