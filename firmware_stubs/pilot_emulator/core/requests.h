/* Requests and their answers (PROTOCOL.md, sections 5 and 7). */
#ifndef REQUESTS_H
#define REQUESTS_H

#include "emulator.h"

/* Carry out a request and build its answer. */
void requests_answer(struct emulator *emulator, const struct request *request);

/* Go to the safe state and be unsupervised. */
void requests_go_safe(struct emulator *emulator);

#endif
