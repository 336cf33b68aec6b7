"""The tables of docs/protocol.md, made from the declarations: `python -m` this file writes them.

A developer's tool. A test fails while the tables differ from what this makes.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import ModuleType

from wire import agent, client, common
from wire.codec import Message

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "protocol.md"

MODULES = {"wire.common": common, "wire.agent": agent, "wire.client": client}
"""The modules that declare messages, by the name that the document's marks give them."""


def declared(module: ModuleType) -> list[type[Message]]:
    """The messages and parts of messages that a module declares, in its order."""
    return [
        cls
        for cls in vars(module).values()
        if isinstance(cls, type) and issubclass(cls, Message) and cls.__module__ == module.__name__
    ]


def replies() -> set[type[Message]]:
    """Every message that answers a request."""
    requests = [cls for module in MODULES.values() for cls in declared(module)]
    return {cls.REPLY for cls in requests if cls.REPLY is not None} | {common.Failure}


def role(cls: type[Message]) -> str:
    """What a message is: a request with the name of its reply, a reply, an event, or a part."""
    if not cls.NAME:
        return "*part*"
    if cls.REPLY is not None:
        return f"request, answered by `{cls.REPLY.NAME}`"
    return "reply" if cls in replies() else "event"


def fields(cls: type[Message]) -> str:
    """The fields with their types, and their values where they are left out."""
    shown = []
    for name, kind in cls._fields.items():
        default = f" = {cls._defaults[name]!r}" if name in cls._defaults else ""
        shown.append(f"`{name}: {kind}{default}`".replace("|", "\\|"))
    return ", ".join(shown)


def meaning(cls: type[Message]) -> str:
    """The first paragraph of its docstring, without what the other columns say."""
    paragraph = " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())
    said = re.sub(r"^(Reply to [^.:]*(\.|: )|Event[^:]*: )", "", paragraph).strip() or paragraph
    return said[:1].upper() + said[1:]


def table(module: ModuleType) -> str:
    """The table of a module's messages."""
    rows = ["| message | is | fields | meaning |", "| --- | --- | --- | --- |"]
    for cls in declared(module):
        name = f"`{cls.NAME}`" if cls.NAME else cls.__name__
        rows.append(f"| {name} | {role(cls)} | {fields(cls)} | {meaning(cls)} |")
    return "\n".join(rows)


def with_tables(text: str) -> str:
    """The document with its tables made anew, each between its two marks."""
    for name, module in MODULES.items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        before, _, rest = text.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"{DOCUMENT} has no place for {name}")
        text = f"{before}{begin}\n{table(module)}\n{end}{after}"
    return text


if __name__ == "__main__":
    DOCUMENT.write_text(with_tables(DOCUMENT.read_text("utf-8")), "utf-8")
