#define _DEFAULT_SOURCE
#define _XOPEN_SOURCE 700

#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

enum { HOLDS_BYTES = 2048, COMMAND_BYTES = 80 };

static int ours = -1;
static int theirs = -1; /* open here too, so that the terminal lives on without a bench */

static void give_up(const char *what)
{
    fprintf(stderr, "pilot emulator: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

static void make_raw(int terminal)
{
    struct termios raw;
    if (tcgetattr(terminal, &raw) != 0)
        give_up("the pseudo-terminal cannot be set up");
    raw.c_iflag = 0;
    raw.c_oflag = 0;
    raw.c_lflag = 0;
    raw.c_cflag = CS8 | CREAD | CLOCAL;
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    if (tcsetattr(terminal, TCSANOW, &raw) != 0)
        give_up("the pseudo-terminal cannot be set up");
}

void terminal_open(void)
{
    ours = posix_openpt(O_RDWR | O_NOCTTY);
    if (ours < 0 || grantpt(ours) != 0 || unlockpt(ours) != 0)
        give_up("no pseudo-terminal");
    theirs = open(ptsname(ours), O_RDWR | O_NOCTTY);
    if (theirs < 0)
        give_up("the pseudo-terminal does not open");
    make_raw(theirs);
    if (fcntl(ours, F_SETFL, O_NONBLOCK) != 0 || fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK) != 0)
        give_up("reading without waiting is not possible");
    terminal_say(ptsname(ours));
}

void terminal_wait(int milliseconds)
{
    struct pollfd ends[] = {{ours, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    poll(ends, 2, milliseconds);
}

int16_t terminal_receive(void)
{
    unsigned char byte;
    return read(ours, &byte, 1) == 1 ? byte : -1;
}

bool terminal_send(const char *bytes, uint8_t length)
{
    int unread;
    if (ioctl(theirs, FIONREAD, &unread) != 0 || unread > HOLDS_BYTES - length)
        return false;
    return write(ours, bytes, length) == length;
}

bool terminal_commands(void (*obey)(const char *line))
{
    static char line[COMMAND_BYTES];
    static size_t length;
    char byte;
    ssize_t got;
    while ((got = read(STDIN_FILENO, &byte, 1)) == 1) {
        if (byte != '\n') {
            if (length < sizeof line - 1)
                line[length++] = byte;
            continue;
        }
        line[length] = '\0';
        length = 0;
        obey(line);
    }
    return got < 0 && (errno == EAGAIN || errno == EINTR);
}

void terminal_say(const char *text)
{
    printf("%s\n", text);
    fflush(stdout);
}
