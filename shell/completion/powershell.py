"""Completion for PowerShell 5.1 and later. Pure."""

from __future__ import annotations

from shell.completion import model

_TEMPLATE = r"""# PowerShell completion of isthmus. To use it now, and in the profile ($PROFILE):
# isthmus --completion powershell | Out-String | Invoke-Expression

Register-ArgumentCompleter -Native -CommandName @PROGRAMS@ -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    # 'PLACE WORD' to what the value of an option is.
    $values = @{
@VALUES@
    }
    # 'PLACE NUMBER' to what an operand is.
    $operands = @{
@OPERANDS@
    }
    $places = @{
@PLACES@
    }
    $words = @{
@WORDS@
    }

    $before = @($commandAst.CommandElements | Select-Object -Skip 1 |
        Where-Object { $_.Extent.EndOffset -lt $cursorPosition } |
        ForEach-Object { $_.Extent.Text })
    $place = ''
    $slot = ''
    $operand = 0
    for ($at = 0; $at -lt $before.Count; $at++) {
        $word = $before[$at]
        if ($values.ContainsKey("$place $word")) {
            $at++
            if ($at -ge $before.Count) { $slot = $values["$place $word"] }
        } elseif ($place) {
            if ($word -notmatch '^-.') { $operand++ }
        } elseif ($places.ContainsKey($word)) {
            $place = $places[$word]
        } elseif (@(@ENDS@) -contains $word) {
            $slot = 'files'
            break
        } elseif ($word -notmatch '^(-|~$|\{)') {
            $slot = 'files'
            break
        }
    }
    if (-not $slot -and ($wordToComplete.StartsWith('-') -or -not $place)) {
        foreach ($pair in $words[$place]) {
            if ($pair[0].StartsWith($wordToComplete, [StringComparison]::Ordinal)) {
                [System.Management.Automation.CompletionResult]::new(
                    $pair[0], $pair[0], 'ParameterName', $pair[1])
            }
        }
        return
    }
    if (-not $slot) { $slot = $operands["$place $operand"] }
    # Files and directories are what PowerShell completes by itself when nothing is returned.
    $found = @()
    if ($slot -eq 'names') {
        $found = @(& $commandAst.GetCommandName() --list --quiet 2>$null)
    } elseif ($slot -is [array]) {
        $found = $slot
    }
    foreach ($name in $found) {
        if ($name -match '^[A-Za-z0-9._-]+$' -and
            $name.StartsWith($wordToComplete, [StringComparison]::OrdinalIgnoreCase)) {
            [System.Management.Automation.CompletionResult]::new(
                $name, $name, 'ParameterValue', $name)
        }
    }
}
"""

_INDENT = " " * 8


def powershell_script() -> str:
    """The script."""
    values = [
        f"{_INDENT}{_quote(f'{place} {word}')} = {_slot(slot)}"
        for (place, word), slot in model.values().items()
    ]
    operands = [
        f"{_INDENT}{_quote(f'{place} {at}')} = {_slot(slot)}"
        for (place, at), slot in model.operands().items()
    ]
    places = [
        f"{_INDENT}{_quote(name)} = {_quote(place)}" for name, place in model.PLACE_OF.items()
    ]
    words = [
        f"{_INDENT}{_quote(place)} = {_described(pairs)}" for place, pairs in model.words().items()
    ]
    return (
        _TEMPLATE.replace("@VALUES@", "\n".join(values))
        .replace("@OPERANDS@", "\n".join(operands))
        .replace("@PLACES@", "\n".join(places))
        .replace("@WORDS@", "\n".join(words))
        .replace("@ENDS@", ", ".join(map(_quote, model.ENDS)))
        .replace("@PROGRAMS@", ", ".join(model.PROGRAMS))
    )


def _slot(slot: model.Slot) -> str:
    if isinstance(slot, str):
        return _quote(slot)
    return "@(" + ", ".join(map(_quote, slot)) + ")"


def _described(pairs: list[tuple[str, str]]) -> str:
    """An array of pairs; the leading comma keeps an array of one pair an array of pairs."""
    inner = ", ".join(f"@({_quote(word)}, {_quote(about)})" for word, about in pairs)
    return f"@(,{inner})" if len(pairs) == 1 else f"@({inner})"


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
