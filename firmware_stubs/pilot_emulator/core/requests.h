/* Requests and their answers (PROTOCOL.md, sections 5 and 7). */
#ifndef REQUESTS_H
#define REQUESTS_H

#include "emulator.h"

/* Carry out a request and build its answer. */
void requests_answer(struct emulator *emulator, const struct request *request);

/* Switch all outputs, and look at the pilot accordingly; false, and nothing has changed, if the
 * hardware did not follow. */
bool requests_switch(struct emulator *emulator, const struct outputs *outputs);

#endif
