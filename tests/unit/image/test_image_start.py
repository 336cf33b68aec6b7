"""The agent's starter: modules out of one file."""

from __future__ import annotations

import importlib.util
import marshal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

START = Path(__file__).parents[3] / "guest/rootfs/usr/lib/isthmus/start.py"
SOURCES = {
    "bundled": ("/usr/lib/x/bundled/__init__.py", True, "from bundled.part import VALUE"),
    "bundled.part": ("/usr/lib/x/bundled/part.py", False, "VALUE = __name__ + '!'"),
    "bundled.broken": ("/usr/lib/x/bundled/broken.py", False, "raise KeyError('here')"),
}


def bundle() -> bytes:
    """A bundle in the form that the image's build writes."""
    index, body = {}, b""
    for name, (origin, is_package, source) in SOURCES.items():
        code = marshal.dumps(compile(source, origin, "exec"))
        index[name] = (origin, is_package, len(body), len(body) + len(code))
        body += code
    packed = marshal.dumps(index)
    return len(packed).to_bytes(4, "little") + packed + body


@pytest.fixture
def start() -> ModuleType:
    spec = importlib.util.spec_from_file_location("start", START)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def importer(start: ModuleType) -> Iterator[None]:
    found = start.BundleImporter(bundle())
    sys.meta_path.insert(0, found)
    yield
    sys.meta_path.remove(found)
    for name in SOURCES:
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("importer")
def test_packages_and_their_modules_come_from_the_bundle() -> None:
    package = importlib.import_module("bundled")
    assert package.VALUE == "bundled.part!"
    assert package.__file__ == "/usr/lib/x/bundled/__init__.py"
    assert package.__path__ == ["/usr/lib/x/bundled"]
    assert sys.modules["bundled.part"].__spec__ is not None


@pytest.mark.usefixtures("importer")
def test_a_module_that_fails_names_its_source_and_is_not_kept() -> None:
    with pytest.raises(KeyError) as caught:
        importlib.import_module("bundled.broken")
    assert str(caught.traceback[-1].path) == "/usr/lib/x/bundled/broken.py"
    assert "bundled.broken" not in sys.modules


@pytest.mark.usefixtures("importer")
def test_what_is_not_in_the_bundle_is_found_as_usual() -> None:
    sys.modules.pop("this", None)
    assert importlib.util.find_spec("colorsys") is not None
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("bundled.absent")
