/* A Windows program for the tests: says what it was given, and does what it is told.
 *
 *     probe argv ARGUMENT...   each argument as UTF-8 in hexadecimal, a line each; argv[0] first
 *     probe cat                standard input to standard output, then "end" on standard error
 *     probe exit STATUS
 *     probe env NAME           the value, or "unset"
 *     probe cwd
 *     probe sleep              "ready", then nothing until it is ended; Ctrl-C: exit 99
 *     probe handled            likewise, but it goes on after a Ctrl-C, and says so
 *     probe write COUNT        so many bytes
 *     probe size               the console's size now, and again at each change of it
 */
#include <windows.h>

#include <fcntl.h>
#include <io.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_hex(const wchar_t *text)
{
    static char utf8[100000];
    int length = WideCharToMultiByte(CP_UTF8, 0, text, -1, utf8, sizeof utf8, NULL, NULL);

    for (int i = 0; i < length - 1; i++)
        printf("%02x", (unsigned char)utf8[i]);
    printf("\n");
}

static void print_utf8(const wchar_t *text)
{
    static char utf8[100000];

    WideCharToMultiByte(CP_UTF8, 0, text, -1, utf8, sizeof utf8, NULL, NULL);
    printf("%s\n", utf8);
}

static BOOL WINAPI handle(DWORD event)
{
    if (event != CTRL_C_EVENT)
        return FALSE;
    printf("interrupted\n");
    fflush(stdout);
    return TRUE;
}

static void wait_for_ever(void)
{
    printf("ready\n");
    fflush(stdout);
    for (;;)
        Sleep(1000);
}

static void copy(void)
{
    static char buffer[1 << 16];

    for (int got; (got = _read(0, buffer, sizeof buffer)) > 0;)
        for (int put = 0, more; put < got; put += more)
            if ((more = _write(1, buffer + put, got - put)) < 0)
                exit(3);
    fprintf(stderr, "end\n");
}

static void write_many(int count)
{
    static char line[1000];

    memset(line, 'x', sizeof line);
    for (; count > 0; count -= sizeof line)
        _write(1, line, count < (int)sizeof line ? count : (int)sizeof line);
}

static void watch_size(void)
{
    CONSOLE_SCREEN_BUFFER_INFO info;
    int columns = 0, rows = 0;

    for (;;) {
        if (GetConsoleScreenBufferInfo(GetStdHandle(STD_OUTPUT_HANDLE), &info)) {
            int width = info.srWindow.Right - info.srWindow.Left + 1;
            int height = info.srWindow.Bottom - info.srWindow.Top + 1;
            if (width != columns || height != rows) {
                columns = width;
                rows = height;
                printf("size %d %d.\n", rows, columns);
                fflush(stdout);
            }
        }
        Sleep(50);
    }
}

int wmain(int argc, wchar_t **argv)
{
    static wchar_t text[32768];

    _setmode(0, _O_BINARY);
    _setmode(1, _O_BINARY);
    _setmode(2, _O_BINARY);
    const wchar_t *what = argc > 1 ? argv[1] : L"";
    if (wcscmp(what, L"argv") == 0) {
        print_hex(argv[0]);
        for (int i = 2; i < argc; i++)
            print_hex(argv[i]);
    } else if (wcscmp(what, L"cat") == 0) {
        copy();
    } else if (wcscmp(what, L"exit") == 0) {
        return _wtoi(argv[2]);
    } else if (wcscmp(what, L"env") == 0) {
        if (GetEnvironmentVariableW(argv[2], text, 32768) > 0 || GetLastError() == 0)
            print_utf8(text);
        else
            printf("unset\n");
    } else if (wcscmp(what, L"cwd") == 0) {
        GetCurrentDirectoryW(32768, text);
        print_utf8(text);
    } else if (wcscmp(what, L"sleep") == 0) {
        wait_for_ever();
    } else if (wcscmp(what, L"handled") == 0) {
        SetConsoleCtrlHandler(handle, TRUE);
        wait_for_ever();
    } else if (wcscmp(what, L"write") == 0) {
        write_many(_wtoi(argv[2]));
    } else if (wcscmp(what, L"size") == 0) {
        watch_size();
    }
    return 0;
}
