/* Lines of PROTOCOL.md, sections 2 and 3: read, checked, and built. Pure. */
#ifndef LINE_H
#define LINE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    LINE_BYTES = 64, /* with its line feed */
    LINE_WORDS = 3,  /* words kept of a request; no request has more */
};

uint16_t line_checksum(const char *bytes, uint8_t length);

/* Bytes of a line as they come in. */
struct line_input {
    char bytes[LINE_BYTES];
    uint8_t length;
};

/* Take a byte; true once it ended a line, which then stands in `input` without its line feed. */
bool line_take(struct line_input *input, char byte);

/* Make room for the next line. */
void line_clear(struct line_input *input);

struct request {
    const char *number;            /* the id, as it came */
    const char *words[LINE_WORDS]; /* the verb and its arguments */
    uint8_t count;                 /* of all words, kept or not */
};

/* The request in a line, whose spaces become ends of strings; false if it is to be dropped. */
bool line_request(struct line_input *input, struct request *request);

/* A line that is being built; what does not fit is refused by line_seal. */
struct line_output {
    char bytes[LINE_BYTES];
    uint8_t length;
};

void line_begin(struct line_output *line, char marker);
void line_text(struct line_output *line, const char *text);
void line_number(struct line_output *line, uint32_t number);
/* A space and a word. */
void line_word(struct line_output *line, const char *word);
void line_letter(struct line_output *line, char letter);
void line_whole(struct line_output *line, uint32_t number);
void line_signed(struct line_output *line, int32_t number);
/* Add checksum and line feed; false if the line is too long. */
bool line_seal(struct line_output *line);

/* A whole number without sign as section 2 writes it; false if the word is none. What is over
 * `LINE_LARGEST` comes back as that. */
bool line_read_whole(const char *word, uint32_t *number);

#define LINE_LARGEST 1000000UL

#endif
