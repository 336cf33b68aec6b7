"""Starts the agent, its modules taken from one file.

Python looks for each module in directories, opens it, reads it: under software emulation that is
2 ms for each of a hundred, a third of the agent's start. The image's build writes what the agent
imports, compiled, into one bundle (`vm.image.bundle`); here it is read once. A module that is not
in it, or all of them when there is no bundle, are found in the usual way.
"""

import _frozen_importlib
import marshal
import os
import sys

TYPE_CHECKING = False  # typing's own would have to be imported
if TYPE_CHECKING:
    import types

CODE = "/usr/lib/isthmus"
BUNDLE = CODE + "/agent.bundle"
INDEX_SIZE_BYTES = 4


class BundleImporter:
    """Finder and loader (PEP 451) for the modules of a bundle.

    data: the size of the index (4 bytes, little-endian), the index (marshal: origin, whether it is
    a package, start and end of its code, by module name), and the code (marshal) of the modules.
    """

    def __init__(self, data: bytes) -> None:
        size = int.from_bytes(data[:INDEX_SIZE_BYTES], "little") + INDEX_SIZE_BYTES
        self.index: dict[str, tuple[str, bool, int, int]] = marshal.loads(
            data[INDEX_SIZE_BYTES:size]
        )
        self.code = memoryview(data)[size:]

    def find_spec(
        self, name: str, path: object = None, target: object = None
    ) -> "_frozen_importlib.ModuleSpec | None":
        """The module's specification, None if it is not in the bundle."""
        entry = self.index.get(name)
        if entry is None:
            return None
        origin, is_package, _, _ = entry
        spec = _frozen_importlib.ModuleSpec(
            name,
            self,  # type: ignore[arg-type]  # a Loader in all but inheritance: that costs imports
            origin=origin,
            is_package=is_package,
        )
        spec.has_location = True
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(origin.rpartition("/")[0])
        return spec

    def create_module(self, spec: "_frozen_importlib.ModuleSpec") -> None:
        """Leave it to Python to make an ordinary module."""

    def exec_module(self, module: "types.ModuleType") -> None:
        """Run the module's code."""
        _, _, start, end = self.index[module.__name__]
        exec(marshal.loads(self.code[start:end]), module.__dict__)


def wait_for_boot_script() -> None:
    """Wait for the rest of the boot, which goes on beside the imports; only after a first start."""
    process = os.environ.pop("BOOT_SCRIPT", "")
    if process:
        os.waitpid(int(process), 0)


def main() -> None:
    """Serve the host until the machine is turned off."""
    try:
        with open(BUNDLE, "rb", 0) as file:
            sys.meta_path.insert(0, BundleImporter(file.readall()))
    except FileNotFoundError:
        pass
    sys.path.insert(0, CODE)
    from guest.agent.main import main as serve

    wait_for_boot_script()
    serve()


if __name__ == "__main__":
    main()
