#include "line.h"

#include <string.h>

enum { CHECK_BYTES = 5 }; /* an asterisk and four digits */

static const char digits[] = "0123456789ABCDEF";

uint16_t line_checksum(const char *bytes, uint8_t length)
{
    uint16_t crc = 0xFFFF;
    for (uint8_t i = 0; i < length; i++) {
        crc ^= (uint16_t)((uint16_t)(uint8_t)bytes[i] << 8);
        for (uint8_t bit = 0; bit < 8; bit++) {
            bool carry = (crc & 0x8000U) != 0;
            crc = (uint16_t)(crc << 1);
            if (carry)
                crc ^= 0x1021U;
        }
    }
    return crc;
}

static void checksum_digits(const char *bytes, uint8_t length, char check[CHECK_BYTES])
{
    uint16_t crc = line_checksum(bytes, length);
    check[0] = '*';
    for (uint8_t i = CHECK_BYTES - 1; i > 0; i--) {
        check[i] = digits[crc & 0xFU];
        crc >>= 4;
    }
}

/* --- in ------------------------------------------------------------------------------------- */

bool line_take(struct line_input *input, char byte)
{
    if (byte == '\n')
        return true;
    if (input->length < LINE_BYTES)
        input->bytes[input->length++] = byte;
    return false;
}

void line_clear(struct line_input *input)
{
    input->length = 0;
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static bool is_sealed(const struct line_input *input)
{
    if (input->length <= CHECK_BYTES || input->length >= LINE_BYTES)
        return false;
    char check[CHECK_BYTES];
    uint8_t body = (uint8_t)(input->length - CHECK_BYTES);
    checksum_digits(input->bytes, body, check);
    return memcmp(check, input->bytes + body, CHECK_BYTES) == 0;
}

static bool is_id(const char *number)
{
    uint32_t id;
    return line_read_whole(number, &id) && id <= 65535U;
}

bool line_request(struct line_input *input, struct request *request)
{
    if (!is_sealed(input) || input->bytes[0] != '>')
        return false;
    uint8_t body = (uint8_t)(input->length - CHECK_BYTES);
    char *bytes = input->bytes;
    bytes[body] = '\0';
    request->number = bytes + 1;
    request->count = 0;
    for (uint8_t i = 1; i < body; i++) {
        if (bytes[i] < ' ' || bytes[i] > '~' || bytes[i] == '*')
            return false;
        if (bytes[i] != ' ')
            continue;
        if (bytes[i + 1] == ' ' || bytes[i + 1] == '\0')
            return false;
        bytes[i] = '\0';
        if (request->count < LINE_WORDS)
            request->words[request->count] = bytes + i + 1;
        request->count++;
    }
    return request->count > 0 && is_id(request->number);
}

bool line_read_whole(const char *word, uint32_t *number)
{
    if (word[0] == '\0' || (word[0] == '0' && word[1] != '\0'))
        return false;
    *number = 0;
    for (; *word != '\0'; word++) {
        if (!is_digit(*word))
            return false;
        *number = *number * 10U + (uint32_t)(*word - '0');
        if (*number > LINE_LARGEST)
            *number = LINE_LARGEST;
    }
    return true;
}

/* --- out ------------------------------------------------------------------------------------ */

static void put(struct line_output *line, char byte)
{
    if (line->length < LINE_BYTES)
        line->bytes[line->length++] = byte;
}

void line_begin(struct line_output *line, char marker)
{
    line->length = 0;
    put(line, marker);
}

void line_text(struct line_output *line, const char *text)
{
    while (*text != '\0')
        put(line, *text++);
}

void line_number(struct line_output *line, uint32_t number)
{
    char reversed[10];
    uint8_t count = 0;
    do {
        reversed[count++] = digits[number % 10U];
        number /= 10U;
    } while (number > 0);
    while (count > 0)
        put(line, reversed[--count]);
}

void line_word(struct line_output *line, const char *word)
{
    put(line, ' ');
    line_text(line, word);
}

void line_letter(struct line_output *line, char letter)
{
    put(line, ' ');
    put(line, letter);
}

void line_whole(struct line_output *line, uint32_t number)
{
    put(line, ' ');
    line_number(line, number);
}

void line_signed(struct line_output *line, int32_t number)
{
    put(line, ' ');
    if (number < 0)
        put(line, '-');
    line_number(line, number < 0 ? (uint32_t)-number : (uint32_t)number);
}

bool line_seal(struct line_output *line)
{
    if (line->length > LINE_BYTES - CHECK_BYTES - 1)
        return false;
    checksum_digits(line->bytes, line->length, line->bytes + line->length);
    line->length = (uint8_t)(line->length + CHECK_BYTES);
    put(line, '\n');
    return true;
}
