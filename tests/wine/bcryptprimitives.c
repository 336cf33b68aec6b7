/* bcryptprimitives.dll, as far as Rust's programs need it and Wine 8 lacks it: random numbers.
 *
 * Compiled and put into the prefix by installation.py, without which neither pysequoia nor pywinpty
 * load. ProcessPrng has no declaration in the headers of mingw-w64:
 * https://learn.microsoft.com/windows/win32/seccng/processprng
 */
#include <windows.h>

#include <ntsecapi.h>

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T length)
{
    return RtlGenRandom(data, (ULONG)length);
}
