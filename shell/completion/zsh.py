"""Completion for zsh. Pure."""

from __future__ import annotations

from shell.completion import model
from shell.completion.bash import quote, slot_word

_TEMPLATE = r"""#compdef @PROGRAMS@
# zsh completion of isthmus. To use it now: source <(isthmus --completion zsh)
# For every new shell: save it as _isthmus in a directory of $fpath.

# _isthmus_slot PLACE WORD: sets `slot` to what the value of an option is; fails if it takes none.
_isthmus_slot() {
    case "$1 $2" in
@VALUES@
        (*) slot=; return 1 ;;
    esac
}

_isthmus_operand() {
    case "$1 $2" in
@OPERANDS@
        (*) slot=nothing ;;
    esac
}

_isthmus_words() {
    local -a described
    case "$1" in
@WORDS@
    esac
    _describe -o 'option' described
}

_isthmus() {
    local place='' slot='' word
    local -a names
    integer at operand=0
    for ((at = 2; at < CURRENT; at++)); do
        word=${words[at]}
        if _isthmus_slot "$place" "$word"; then
            ((++at < CURRENT)) && slot=
        elif [[ -n $place ]]; then
            [[ $word == -?* ]] || ((operand += 1))
        else
            case $word in
@PLACES@
                (@ENDS@) slot=files; break ;;
                (-*|'~'|'{'*) ;;
                (*) slot=files; break ;;
            esac
        fi
    done
    if [[ -z $slot && (${words[CURRENT]} == -* || -z $place) ]]; then
        _isthmus_words "$place"
        return
    fi
    [[ -n $slot ]] || _isthmus_operand "$place" "$operand"
    case $slot in
        (names)
            word=${words[1]/#\~\//$HOME/}
            names=(${(f)"$(_call_program names ${(q)word} --list --quiet 2>/dev/null)"})
            compadd -a names
            ;;
        (files) _files ;;
        (directories) _files -/ ;;
        (words\ *) compadd -- ${=slot#words } ;;
    esac
}

# The file of an autoloaded function is its body; a sourced one registers it.
if [[ ${funcstack[1]} == _isthmus ]]; then
    _isthmus "$@"
else
    compdef _isthmus @PROGRAMS@
fi
"""


def zsh_script() -> str:
    """The script."""
    values = [
        f"        ({'|'.join(quote(' '.join(key)) for key in keys)}) slot={slot_word(slot)} ;;"
        for slot, keys in model.grouped_by_slot(model.values()).items()
    ]
    operands = [
        f"        ({quote(f'{place} {at}')}) slot={slot_word(slot)} ;;"
        for (place, at), slot in model.operands().items()
    ]
    described = [
        f"        ({place or quote('')}) described=({' '.join(map(_described, words))}) ;;"
        for place, words in model.words().items()
    ]
    places = [
        f"                ({name}) place={place} ;;" for name, place in model.PLACE_OF.items()
    ]
    return (
        _TEMPLATE.replace("@VALUES@", "\n".join(values))
        .replace("@OPERANDS@", "\n".join(operands))
        .replace("@WORDS@", "\n".join(described))
        .replace("@PLACES@", "\n".join(places))
        .replace("@ENDS@", "|".join(model.ENDS))
        .replace("@PROGRAMS@", " ".join(model.PROGRAMS))
    )


def _described(word: tuple[str, str]) -> str:
    """An entry for _describe. Its colon separates only where it is the first."""
    return quote(f"{word[0]}:{word[1]}")
