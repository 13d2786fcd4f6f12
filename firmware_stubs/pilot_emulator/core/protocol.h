/* Names and numbers of PROTOCOL.md that more than one file needs. */
#ifndef PROTOCOL_H
#define PROTOCOL_H

#define PROTOCOL_NAME "pilot-emulator"
#define PROTOCOL_VERSION 1U
#define FIRMWARE_VERSION "0.1.0"

#endif
