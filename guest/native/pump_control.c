#include "pump_control.h"

#include "report.h"

#include <errno.h>
#include "report.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

static const char SYNC[] = "sync ";
static const char LOST[] = "lost";
static const char END[] = "end";
static const char BULK[] = "bulk ";

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

static void use_bulk(struct pump *pump, const char *device)
{
    if (bulk_open(&pump->bulk, device))
        bulk_read_further_ahead(pump->number);
    else
        report("%s cannot be used for bulk: %s", device, strerror(errno));
}

bool control_read(struct pump *pump)
{
    char text[128];
    unsigned char nonce[PUMP_NONCE_BYTES];
    ssize_t got = recv(pump->control, text, sizeof text - 1, MSG_DONTWAIT);
    size_t length = got < 0 ? 0 : (size_t)got;

    text[length] = '\0';
    if (length == sizeof END - 1 && memcmp(text, END, length) == 0)
        return false;
    if (length == sizeof LOST - 1 && memcmp(text, LOST, length) == 0)
        pump_lose_server(pump);
    if (length == sizeof SYNC - 1 + 2 * PUMP_NONCE_BYTES && memcmp(text, SYNC, sizeof SYNC - 1) == 0 &&
        parse_nonce(text + sizeof SYNC - 1, nonce))
        pump_announce(pump, nonce);
    if (length >= sizeof BULK && memcmp(text, BULK, sizeof BULK - 1) == 0)
        use_bulk(pump, text + sizeof BULK - 1);
    return true;
}
