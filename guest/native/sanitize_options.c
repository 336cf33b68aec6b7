/* Linked into the sanitizer builds only. */

const char *__asan_default_options(void);

/* The leak check at exit stops the world with a helper process, which cannot be made once the
 * program has unshared its pid namespace: it would wait for ever. And pid 1 must have no signal
 * handlers, or a signal from inside the distribution could end it. */
const char *__asan_default_options(void)
{
    return "detect_leaks=0:handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:handle_"
           "abort=0";
}
