/* What the pilot's divider makes of it, by its nominal parts (docs/build-the-pilot-emulator.md says how
 * to measure those of a board): the pilot's level where the converter reads 0, and where it would read
 * 1024. */
#ifndef CALIBRATION_H
#define CALIBRATION_H

#define LEVEL_AT_0_MV (-14894)
#define LEVEL_AT_1024_MV 14970

#endif
