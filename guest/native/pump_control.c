#include "pump_control.h"

#include <string.h>
#include <sys/socket.h>

static const char SYNC[] = "sync ";
static const char LOST[] = "lost";
static const char END[] = "end";

static int digit_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

static bool parse_nonce(const char *text, unsigned char nonce[PUMP_NONCE_BYTES])
{
    for (size_t i = 0; i < PUMP_NONCE_BYTES; i++) {
        int high = digit_value(text[2 * i]);
        int low = digit_value(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        nonce[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

bool control_read(struct pump *pump)
{
    char text[128];
    unsigned char nonce[PUMP_NONCE_BYTES];
    ssize_t got = recv(pump->control, text, sizeof text, MSG_DONTWAIT);
    size_t length = got < 0 ? 0 : (size_t)got;

    if (length == sizeof END - 1 && memcmp(text, END, length) == 0)
        return false;
    if (length == sizeof LOST - 1 && memcmp(text, LOST, length) == 0)
        pump_lose_server(pump);
    if (length == sizeof SYNC - 1 + 2 * PUMP_NONCE_BYTES && memcmp(text, SYNC, sizeof SYNC - 1) == 0 &&
        parse_nonce(text + sizeof SYNC - 1, nonce))
        pump_announce(pump, nonce);
    return true;
}
