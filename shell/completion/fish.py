"""Completion for fish 3 and later. Pure."""

from __future__ import annotations

from shell.completion import model

_TEMPLATE = r"""# fish completion of isthmus. To use it now: isthmus --completion fish | source
# For every new shell: save it as ~/.config/fish/completions/isthmus.fish, and as lx.fish.

# What the value of an option is; fails if it takes none.
function __isthmus_slot --argument-names place word
    switch "$place $word"
@VALUES@
        case '*'
            return 1
    end
end

function __isthmus_operand --argument-names place operand
    switch "$place $operand"
@OPERANDS@
    end
end

function __isthmus_words --argument-names place
    switch "$place"
@WORDS@
    end
end

function __isthmus_complete
    set -l tokens (commandline -opc)
    set -l current (commandline -ct)
    set -l program $tokens[1]
    set -e tokens[1]
    set -l place ''
    set -l slot
    set -l operand 0
    while set -q tokens[1]
        set -l word $tokens[1]
        set -e tokens[1]
        if set slot (__isthmus_slot "$place" "$word")
            if set -q tokens[1]
                set -e tokens[1]
                set slot
            end
        else if test -n "$place"
            string match -qr -- '^-.' "$word"
            or set operand (math $operand + 1)
        else
            switch "$word"
@PLACES@
                case @ENDS@
                    set slot files
                    break
                case '-*' '~' '{*'
                case '*'
                    set slot files
                    break
            end
        end
    end
    if not set -q slot[1]
        if test -z "$place"; or string match -q -- '-*' "$current"
            __isthmus_words "$place"
            return
        end
        set slot (__isthmus_operand "$place" "$operand")
    end
    switch "$slot[1]"
        case names
            $program --list --quiet 2>/dev/null
        case files
            __fish_complete_path "$current"
        case directories
            __fish_complete_directories "$current" ''
        case words
            printf '%s\n' $slot[2..]
    end
end

@COMPLETE@
"""


def fish_script() -> str:
    """The script."""
    values = [
        line
        for slot, keys in model.grouped_by_slot(model.values()).items()
        for line in _case([" ".join(key) for key in keys], _slot(slot))
    ]
    operands = [
        line
        for (place, at), slot in model.operands().items()
        for line in _case([f"{place} {at}"], _slot(slot))
    ]
    words = [
        line
        for place, described in model.words().items()
        for line in _case([place], _described(described))
    ]
    places = [
        line
        for name, place in model.PLACE_OF.items()
        for line in _case([name], f"set place {place}", indent=16)
    ]
    complete = [
        f"complete -c {program} -f -k -a '(__isthmus_complete)'" for program in model.PROGRAMS
    ]
    return (
        _TEMPLATE.replace("@VALUES@", "\n".join(values))
        .replace("@OPERANDS@", "\n".join(operands))
        .replace("@WORDS@", "\n".join(words))
        .replace("@PLACES@", "\n".join(places))
        .replace("@ENDS@", " ".join(map(_quote, model.ENDS)))
        .replace("@COMPLETE@", "\n".join(complete))
    )


def _case(patterns: list[str], body: str, indent: int = 8) -> list[str]:
    quoted = " ".join(map(_quote, patterns))
    return [" " * indent + f"case {quoted}", " " * (indent + 4) + body]


def _slot(slot: model.Slot) -> str:
    """A command that prints the slot, one element per line."""
    parts = [slot] if isinstance(slot, str) else ["words", *slot]
    return "printf '%s\\n' " + " ".join(map(_quote, parts))


def _described(words: list[tuple[str, str]]) -> str:
    pairs = " ".join(f"{_quote(word)} {_quote(about)}" for word, about in words)
    return f"printf '%s\\t%s\\n' {pairs}"


def _quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
