#include "requests.h"

#include <string.h>

#include "protocol.h"

enum error { NONE, UNKNOWN, MALFORMED, RANGE, UNSUPERVISED, HARDWARE, ROLE };

#define TIMEOUT_LEAST_MS 100U
#define TIMEOUT_MOST_MS 60000U

static const char *const role_names[] = {"VEHICLE", "EVSE", "SNIFF"};

/* Begin to look anew: what was seen in another role says nothing of this one. */
static void look_anew(struct emulator *emulator)
{
    struct observation old;
    while (hardware_observe(&old)) {
    }
    watch_begin(&emulator->watch, hardware_now().us);
}

/* The outputs are these from now on. */
static void adopt(struct emulator *emulator, const struct outputs *outputs)
{
    bool new_role = outputs->role != emulator->outputs.role;
    emulator->outputs = *outputs;
    if (new_role)
        look_anew(emulator);
    if (outputs->role == ROLE_EVSE)
        watch_generated(&emulator->watch, outputs->duty);
}

/* Switch all outputs; false, and nothing has changed, if the hardware did not follow. */
static bool switch_to(struct emulator *emulator, const struct outputs *outputs)
{
    if (!hardware_apply(outputs)) {
        hardware_apply(&emulator->outputs);
        return false;
    }
    adopt(emulator, outputs);
    return true;
}

/* A switch that does not follow keeps no other one from the safe state. */
void requests_go_safe(struct emulator *emulator)
{
    static const struct outputs safe = {.role = ROLE_VEHICLE, .state = 'A', .duty = DUTY_STEADY_HIGH};
    hardware_apply(&safe);
    adopt(emulator, &safe);
    emulator->supervised = false;
}

/* --- what a request may do ------------------------------------------------------------------ */

static bool is_safe(const struct outputs *outputs)
{
    return outputs->role == ROLE_VEHICLE && outputs->state == 'A' && !outputs->diode_shorted
           && !outputs->pe_broken && outputs->proximity == 0;
}

/* Change outputs within a role; a step towards the safe state needs no heartbeat. */
static enum error change(struct emulator *emulator, enum role role, const struct outputs *wanted,
                         bool leaves_safe_state)
{
    if (emulator->outputs.role != role)
        return ROLE;
    if (leaves_safe_state && !emulator->supervised)
        return UNSUPERVISED;
    return switch_to(emulator, wanted) ? NONE : HARDWARE;
}

static bool read_flag(const char *word, bool *flag)
{
    *flag = word[0] == '1';
    return (word[0] == '0' || word[0] == '1') && word[1] == '\0';
}

static void add_stamp(struct line_output *answer)
{
    line_whole(answer, hardware_now().us);
}

static enum error changed(struct emulator *emulator, enum error error, const char *word)
{
    if (error == NONE) {
        line_word(&emulator->answer, word);
        add_stamp(&emulator->answer);
    }
    return error;
}

/* --- one function a request; each adds to the answer only where it succeeds ------------------ */

static enum error identify(struct emulator *emulator, const char *unused)
{
    (void)unused;
    struct line_output *answer = &emulator->answer;
    line_word(answer, PROTOCOL_NAME);
    line_whole(answer, PROTOCOL_VERSION);
    line_word(answer, FIRMWARE_VERSION);
    line_word(answer, hardware_identity.serial);
    line_whole(answer, hardware_identity.resolution_us);
    line_whole(answer, hardware_identity.byte_time_us);
    return NONE;
}

static enum error tell_capabilities(struct emulator *emulator, const char *unused)
{
    (void)unused;
    for (uint8_t role = 0; role < sizeof role_names / sizeof *role_names; role++)
        line_word(&emulator->answer, role_names[role]);
    line_word(&emulator->answer, "PE");
    return NONE;
}

static enum error report(struct emulator *emulator, const char *unused)
{
    (void)unused;
    struct line_output *answer = &emulator->answer;
    const struct pilot *told = &emulator->watch.told;
    add_stamp(answer);
    line_letter(answer, emulator->outputs.role == ROLE_VEHICLE ? emulator->outputs.state
                                                               : pilot_state_of(told->high_mv));
    line_whole(answer, told->duty);
    line_whole(answer, told->frequency);
    line_signed(answer, told->high_mv);
    line_signed(answer, told->low_mv);
    return NONE;
}

static enum error beat(struct emulator *emulator, const char *timeout)
{
    uint32_t timeout_ms;
    if (!line_read_whole(timeout, &timeout_ms))
        return MALFORMED;
    if (timeout_ms < TIMEOUT_LEAST_MS || timeout_ms > TIMEOUT_MOST_MS)
        return RANGE;
    emulator->supervised = true;
    emulator->beat_us = hardware_now().us;
    emulator->timeout_us = timeout_ms * 1000U;
    return report(emulator, timeout);
}

static enum error set_state(struct emulator *emulator, const char *letter)
{
    if (letter[0] < 'A' || letter[0] > 'E' || letter[1] != '\0')
        return RANGE;
    struct outputs wanted = emulator->outputs;
    wanted.state = letter[0];
    return changed(emulator, change(emulator, ROLE_VEHICLE, &wanted, letter[0] != 'A'), letter);
}

static enum error set_diode(struct emulator *emulator, const char *flag)
{
    struct outputs wanted = emulator->outputs;
    if (!read_flag(flag, &wanted.diode_shorted))
        return RANGE;
    return changed(emulator, change(emulator, ROLE_VEHICLE, &wanted, wanted.diode_shorted), flag);
}

static enum error set_pe(struct emulator *emulator, const char *flag)
{
    struct outputs wanted = emulator->outputs;
    if (!read_flag(flag, &wanted.pe_broken))
        return RANGE;
    return changed(emulator, change(emulator, ROLE_VEHICLE, &wanted, wanted.pe_broken), flag);
}

static enum error set_proximity(struct emulator *emulator, const char *code)
{
    static const char *const codes[] = {"OPEN", "100", "220", "680", "1500"};
    static const uint16_t ohms[] = {0, 100, 220, 680, 1500};
    struct outputs wanted = emulator->outputs;
    for (uint8_t i = 0; i < sizeof ohms / sizeof *ohms; i++) {
        if (strcmp(code, codes[i]) != 0)
            continue;
        wanted.proximity = ohms[i];
        return changed(emulator, change(emulator, ROLE_VEHICLE, &wanted, ohms[i] != 0), code);
    }
    return RANGE;
}

static enum error set_role(struct emulator *emulator, const char *name)
{
    uint8_t role = ROLE_VEHICLE;
    while (strcmp(name, role_names[role]) != 0)
        if (++role == sizeof role_names / sizeof *role_names)
            return RANGE;
    if ((enum role)role == emulator->outputs.role)
        return changed(emulator, NONE, name);
    struct outputs wanted = {.role = (enum role)role, .state = 'A', .duty = DUTY_STEADY_HIGH};
    if (!is_safe(&wanted) && !emulator->supervised)
        return UNSUPERVISED;
    return changed(emulator, switch_to(emulator, &wanted) ? NONE : HARDWARE, name);
}

static enum error generate(struct emulator *emulator, uint16_t duty)
{
    struct outputs wanted = emulator->outputs;
    wanted.duty = duty;
    enum error error = change(emulator, ROLE_EVSE, &wanted, true);
    if (error == NONE) {
        line_whole(&emulator->answer, duty);
        add_stamp(&emulator->answer);
    }
    return error;
}

static enum error offer_duty(struct emulator *emulator, const char *word)
{
    uint32_t duty;
    if (!line_read_whole(word, &duty))
        return MALFORMED;
    bool steady = duty == DUTY_STEADY_HIGH || duty == DUTY_STEADY_LOW;
    if (!steady && (duty < DUTY_LEAST || duty > DUTY_MOST))
        return RANGE;
    return generate(emulator, (uint16_t)duty);
}

static enum error offer_current(struct emulator *emulator, const char *word)
{
    uint32_t tenths_a;
    if (!line_read_whole(word, &tenths_a))
        return MALFORMED;
    if (tenths_a < CURRENT_LEAST || tenths_a > CURRENT_MOST)
        return RANGE;
    return generate(emulator, pilot_duty_for((uint16_t)tenths_a));
}

/* --- dispatch ------------------------------------------------------------------------------- */

struct verb {
    const char *name;
    uint8_t words; /* the verb and its arguments */
    enum error (*act)(struct emulator *emulator, const char *argument);
};

static enum error act(struct emulator *emulator, const struct request *request)
{
    static const struct verb verbs[] = {
        {"IDENT", 1, identify},    {"CAPS", 1, tell_capabilities}, {"REPORT", 1, report},
        {"BEAT", 2, beat},         {"STATE", 2, set_state},        {"DIODE", 2, set_diode},
        {"PROX", 2, set_proximity}, {"PE", 2, set_pe},             {"ROLE", 2, set_role},
        {"OFFER", 2, offer_duty},  {"AMPS", 2, offer_current},
    };
    for (uint8_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(request->words[0], verbs[i].name) == 0)
            return request->count == verbs[i].words
                       ? verbs[i].act(emulator, request->words[request->count - 1])
                       : MALFORMED;
    return UNKNOWN;
}

static void begin_answer(struct line_output *answer, const char *number, const char *word)
{
    line_begin(answer, '<');
    line_text(answer, number);
    line_word(answer, word);
}

void requests_answer(struct emulator *emulator, const struct request *request)
{
    static const char *const words[] = {"",             "UNKNOWN",  "MALFORMED", "RANGE",
                                        "UNSUPERVISED", "HARDWARE", "ROLE"};
    begin_answer(&emulator->answer, request->number, "OK");
    enum error error = act(emulator, request);
    if (error != NONE) {
        begin_answer(&emulator->answer, request->number, "ERR");
        line_whole(&emulator->answer, error);
        line_word(&emulator->answer, words[error]);
    }
    line_seal(&emulator->answer);
}
