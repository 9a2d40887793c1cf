"""Which algorithms there are: shipped, installed by other packages, and named in the settings."""

import importlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points
from pathlib import Path

import cloudpickle

from forebay.engine.algorithm import Algorithm
from forebay.engine.errors import AlgorithmError, UnknownAlgorithmError
from forebay.engine.suggestion import nearest

ENTRY_POINT_GROUP = "forebay.algorithms"
"""Group of entry points under which a package names modules that declare algorithms."""

_SHIPPED = ("forebay.engine.algorithms.particles", "forebay.engine.algorithms.spectrum")


class Registry:
    """Algorithms by name and version."""

    def __init__(self) -> None:
        """Start empty."""
        self._algorithms: dict[tuple[str, str], Algorithm] = {}

    def add(self, algorithm: Algorithm) -> None:
        """Register an algorithm; the same name and version again takes the place of the first."""
        self._algorithms[algorithm.name, algorithm.version] = algorithm

    def get(self, name: str, version: str | None = None) -> Algorithm:
        """Return an algorithm, of the newest version unless one is given.

        Parameters
        ----------
        name
            Its name, or name and version in one word (``find-particles-1.0.0``).
        version
            Its version.

        Raises
        ------
        UnknownAlgorithmError
            If there is none.
        """
        candidates = [
            each
            for each in self
            if name in {each.name, each.label} and version in {None, each.version}
        ]
        if not candidates:
            known = sorted({each.name for each in self} | {each.label for each in self})
            wanted = name if version is None else f"{name} {version}"
            raise UnknownAlgorithmError(
                f"there is no algorithm {wanted!r}{nearest(name, known)}; there are "
                f"{', '.join(sorted(each.label for each in self))} ('forebay algorithms list')"
            )
        return max(candidates, key=lambda each: _version_key(each.version))

    def load(self, modules: Iterable[str] = ()) -> None:
        """Import what declares algorithms: the shipped ones, entry points, and `modules`.

        Parameters
        ----------
        modules
            Names of modules, or paths of ``.py`` files.

        Raises
        ------
        AlgorithmError
            If a module cannot be imported.
        """
        installed = [each.value for each in entry_points(group=ENTRY_POINT_GROUP)]
        for module in (*_SHIPPED, *installed, *modules):
            try:
                _import(module)
            except AlgorithmError:
                raise
            except Exception as error:
                raise AlgorithmError(
                    f"the algorithms of {module!r} cannot be loaded: "
                    f"{type(error).__name__}: {error}"
                ) from error

    def __iter__(self) -> Iterator[Algorithm]:
        """Iterate over the algorithms in order of name and version."""
        return iter(
            sorted(
                self._algorithms.values(), key=lambda each: (each.name, _version_key(each.version))
            )
        )


REGISTRY = Registry()
"""The algorithms of this process."""


def _import(module: str) -> None:
    if not module.endswith(".py"):
        importlib.import_module(module)
        return
    path = Path(module)
    name = path.stem
    if not path.is_file():
        raise AlgorithmError(f"there is no file {module!r} to load algorithms from")
    if name in sys.modules:
        loaded = getattr(sys.modules[name], "__file__", None)
        if loaded and Path(loaded).samefile(path):
            return
        raise AlgorithmError(
            f"{module!r} would hide the module {name!r}, which is loaded already; rename the file"
        )
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None:
        raise AlgorithmError(f"{module!r} is not a Python file")
    loaded_module = importlib.util.module_from_spec(specification)
    sys.modules[name] = loaded_module
    try:
        specification.loader.exec_module(loaded_module)
    except BaseException:
        del sys.modules[name]
        raise
    # Workers do not have the file on their path: they get its functions whole.
    cloudpickle.register_pickle_by_value(loaded_module)


def _version_key(version: str) -> tuple[tuple[int, ...], bool, str]:
    numbers, separator, rest = version.partition("-")
    parts = numbers.split(".")
    return tuple(int(part) for part in parts[:3]), not separator, ".".join(parts[3:]) + rest
