"""Completion for bash 4.4 and later; needs no package bash-completion. Pure."""

from __future__ import annotations

from shell.completion import model

_TEMPLATE = r"""# bash completion of isthmus. To use it now: source <(isthmus --completion bash)
# For every new shell: save it in ~/.local/share/bash-completion/completions/isthmus

# _isthmus_slot PLACE WORD: sets `slot` to what the value of an option is; fails if it takes none.
_isthmus_slot() {
    case "$1 $2" in
@VALUES@
        *) slot=; return 1 ;;
    esac
}

_isthmus_operand() {
    case "$1 $2" in
@OPERANDS@
        *) slot=nothing ;;
    esac
}

_isthmus_words() {
    case "$1" in
@WORDS@
    esac
}

# Names are compared as text and quoted: nothing the program prints is ever evaluated.
_isthmus_names() {
    local name
    while IFS= read -r name; do
        [[ $name == "$2"* ]] && COMPREPLY+=("$(printf '%q' "$name")")
    done < <("$1" --list --quiet 2>/dev/null </dev/null)
}

_isthmus() {
    local program=${1/#\~\//$HOME/} current=${COMP_WORDS[COMP_CWORD]}
    local place='' slot='' words word
    local -i at operand=0
    COMPREPLY=()
    for ((at = 1; at < COMP_CWORD; at++)); do
        word=${COMP_WORDS[at]}
        if _isthmus_slot "$place" "$word"; then
            ((++at < COMP_CWORD)) && slot=
        elif [[ $place ]]; then
            [[ $word == -?* ]] || operand+=1
        else
            case $word in
@PLACES@
                @ENDS@) slot=files; break ;;
                -* | '~' | '{'*) ;;
                *) slot=files; break ;;
            esac
        fi
    done
    if [[ ! $slot && ($current == -* || ! $place) ]]; then
        _isthmus_words "$place"
        slot="words $words"
    elif [[ ! $slot ]]; then
        _isthmus_operand "$place" "$operand"
    fi
    case $slot in
        names) _isthmus_names "$program" "$current" ;;
        files) compopt -o default ;;
        directories)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -d -- "$current")
            ;;
        words\ *) mapfile -t COMPREPLY < <(compgen -W "${slot#words }" -- "$current") ;;
    esac
}

complete -F _isthmus @PROGRAMS@
"""


def bash_script() -> str:
    """The script."""
    values = [
        f"        {' | '.join(quote(' '.join(key)) for key in keys)}) slot={slot_word(slot)} ;;"
        for slot, keys in model.grouped_by_slot(model.values()).items()
    ]
    operands = [
        f"        {quote(f'{place} {at}')}) slot={slot_word(slot)} ;;"
        for (place, at), slot in model.operands().items()
    ]
    words = [
        f"        {place or quote('')}) words={quote(' '.join(word for word, _ in words))} ;;"
        for place, words in model.words().items()
    ]
    places = [f"                {name}) place={place} ;;" for name, place in model.PLACE_OF.items()]
    return (
        _TEMPLATE.replace("@VALUES@", "\n".join(values))
        .replace("@OPERANDS@", "\n".join(operands))
        .replace("@WORDS@", "\n".join(words))
        .replace("@PLACES@", "\n".join(places))
        .replace("@ENDS@", " | ".join(model.ENDS))
        .replace("@PROGRAMS@", " ".join(model.PROGRAMS))
    )


def quote(text: str) -> str:
    """`text` as one literal word of bash or zsh."""
    return "'" + text.replace("'", "'\\''") + "'"


def slot_word(slot: model.Slot) -> str:
    """`slot` as the value of the scripts' variable of that name."""
    return slot if isinstance(slot, str) else quote("words " + " ".join(slot))
