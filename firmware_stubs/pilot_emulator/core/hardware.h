/* The seam between the portable core and what it runs on. The core calls these functions and nothing
 * else; each target (avr/, host/) provides them. No function waits. */
#ifndef HARDWARE_H
#define HARDWARE_H

#include <stdbool.h>
#include <stdint.h>

/* An instant of the emulator's clock: microseconds since boot, modulo 2^32, and sixteenths of one.
 * A sixteenth, 62.5 ns, is a cycle at 16 MHz. */
struct instant {
    uint32_t us;
    uint8_t sixteenths;
};

enum role { ROLE_VEHICLE, ROLE_EVSE, ROLE_SNIFF };

/* Everything that the emulator switches. The first member of each is what stands in the safe state. */
struct outputs {
    enum role role;
    char state;         /* 'A' to 'E': the loads on the pilot; 'A' in the other roles */
    bool diode_shorted;
    bool pe_broken;
    uint16_t proximity; /* ohm, 0 is open */
    uint16_t duty;      /* 0.01 %: what is generated in ROLE_EVSE */
};

enum observed {
    OBSERVED_RISE,   /* the pilot rose through the comparator's threshold */
    OBSERVED_FALL,
    OBSERVED_SAMPLE, /* a level, sampled while the comparator said `high` */
    OBSERVED_GAP,    /* observations were lost before this one */
};

struct observation {
    enum observed what;
    struct instant at;
    bool high;
    int16_t mv;
};

/* What differs from one emulator to the next, for IDENT. */
struct identity {
    const char *serial;     /* at most 12 characters */
    uint16_t resolution_us; /* 1 to 1000 */
    uint16_t byte_time_us;
};

extern const struct identity hardware_identity;

struct instant hardware_now(void);

/* Switch; false if the switches did not follow. */
bool hardware_apply(const struct outputs *outputs);

/* The next observation, oldest first; false if there is none. */
bool hardware_observe(struct observation *observation);

/* The next byte from the bench, -1 if there is none. */
int16_t hardware_receive(void);

/* Send all bytes or, where there is no room for all, none. */
bool hardware_send(const char *bytes, uint8_t length);

#endif
