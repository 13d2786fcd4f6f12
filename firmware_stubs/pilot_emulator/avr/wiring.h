/* What is wired to which bit of an ATmega328P's ports (Arduino's names in brackets); the circuit stands
 * in docs/build-the-pilot-emulator.md. Every switch rests in the safe state while its pin is low. */
#ifndef WIRING_H
#define WIRING_H

/* Port B */
#define WIRED_COMPARATOR 0 /* (D8) ICP1: the pilot against its threshold */
#define WIRED_GENERATOR 2  /* (D10) OC1B: the pilot that is generated */
#define WIRED_SOURCE 3     /* (D11) generator onto the pilot */
#define WIRED_LED 5        /* (D13) lit while a heartbeat is alive */

/* Port C */
#define WIRED_PILOT 0     /* (A0) ADC0: the pilot through its divider */
#define WIRED_PROX_100 1  /* (A1) */
#define WIRED_PROX_220 2  /* (A2) */
#define WIRED_PROX_680 3  /* (A3) */
#define WIRED_PROX_1500 4 /* (A4) */

/* Port D; bits 0 and 1 are the UART's */
#define WIRED_LOAD_B 2 /* (D2) 2.74 kohm */
#define WIRED_LOAD_C 3 /* (D3) 1.3 kohm, beside the 2.74 */
#define WIRED_LOAD_D 4 /* (D4) 270 ohm, beside the 2.74 */
#define WIRED_LOAD_E 5 /* (D5) short behind the diode */
#define WIRED_DIODE 6  /* (D6) shorts the diode */
#define WIRED_PE 7     /* (D7) opens the protective earth */

#endif
