"""Which algorithms there are: shipped, installed by other packages, and named in the settings."""

import importlib
import importlib.util
import logging
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points
from pathlib import Path

import cloudpickle  # type: ignore[import-untyped]
from blake3 import blake3

from forebay.engine.definition import Algorithm
from forebay.engine.errors import AlgorithmError, UnknownAlgorithmError
from forebay.engine.given import check_given
from forebay.engine.suggestion import nearest

ENTRY_POINT_GROUP = "forebay.algorithms"
"""Group of entry points under which a package names modules that declare algorithms."""

_SHIPPED = ("forebay.engine.algorithms.particles", "forebay.engine.algorithms.spectrum")

_log = logging.getLogger("forebay.engine")


class Registry:
    """Algorithms by name and version."""

    def __init__(self) -> None:
        """Start empty."""
        self._algorithms: dict[tuple[str, str], Algorithm] = {}
        self._broken: dict[str, str] = {}

    def add(self, algorithm: Algorithm) -> None:
        """Register an algorithm; declaring it again in the same module replaces it.

        Raises
        ------
        AlgorithmError
            If another module has declared one of that name and version: a result has to tell by
            them what computed it.
        """
        check_given(Registry.add, locals(), error=AlgorithmError)
        key = algorithm.name, algorithm.version
        known = self._algorithms.get(key)
        if known is not None and not _same_origin(known, algorithm):
            raise AlgorithmError(
                f"{algorithm.label} of {algorithm.function.__module__!r} is declared in "
                f"{known.function.__module__!r} already; give it another name or version"
            )
        self._algorithms[key] = algorithm

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
        check_given(Registry.get, locals(), error=UnknownAlgorithmError)
        candidates = [
            each
            for each in self
            if name in {each.name, each.label} and version in {None, each.version}
        ]
        if candidates:
            return candidates[-1]
        known = sorted({each.name for each in self} | {each.label for each in self})
        wanted = name if version is None else f"{name} {version}"
        broken = "".join(f"; {point} could not be loaded" for point in self._broken)
        raise UnknownAlgorithmError(
            f"there is no algorithm {wanted!r}{nearest(name, known)}; there are "
            f"{', '.join(each.label for each in self)} ('forebay algorithms list'){broken}"
        )

    def load(self, modules: Iterable[str] = ()) -> None:
        """Import what declares algorithms: the shipped ones, entry points, and `modules`.

        An installed package whose algorithms cannot be imported does not keep the others from
        working: it is logged, and named where an algorithm is not found.

        Parameters
        ----------
        modules
            Names of modules, or paths of ``.py`` files.

        Raises
        ------
        AlgorithmError
            If one of `modules` cannot be imported.
        """
        check_given(Registry.load, locals(), error=AlgorithmError)
        for module in (*_SHIPPED, *modules):
            try:
                _import(module)
            except AlgorithmError:
                raise
            except (Exception, SystemExit) as error:
                raise AlgorithmError(
                    f"the algorithms of {module!r} cannot be loaded: "
                    f"{type(error).__name__}: {error}"
                ) from error
        for point in entry_points(group=ENTRY_POINT_GROUP):
            try:
                point.load()
            except (Exception, SystemExit) as error:  # noqa: BLE001 (a stranger's module may raise anything)
                reason = f"{type(error).__name__}: {error}"
                if self._broken.get(point.value) != reason:
                    _log.warning("the algorithms of %s cannot be loaded: %s", point.value, reason)
                self._broken[point.value] = reason
            else:
                self._broken.pop(point.value, None)

    def __iter__(self) -> Iterator[Algorithm]:
        """Iterate over the algorithms in order of name and version, the newest last."""
        return iter(sorted(self._algorithms.values(), key=_order))


REGISTRY = Registry()
"""The algorithms of this process."""


def _order(algorithm: Algorithm) -> tuple[str, tuple[int, ...]]:
    return algorithm.name, tuple(int(number) for number in algorithm.version.split("."))


def _same_origin(one: Algorithm, other: Algorithm) -> bool:
    """Tell whether two algorithms come from the same module, notebook or file."""
    files = [getattr(each.function, "__code__", None) for each in (one, other)]
    paths = {None if code is None else code.co_filename for code in files}
    return one.function.__module__ == other.function.__module__ or (
        len(paths) == 1 and None not in paths
    )


def _import(module: str) -> None:
    if not module.endswith(".py"):
        importlib.import_module(module)
        return
    path = Path(module).absolute()
    if not path.is_file():
        raise AlgorithmError(f"there is no file {module!r} to load algorithms from")
    # A name that nobody imports by: the file cannot hide a module, whatever it is called.
    name = f"forebay_file_{path.stem}_{blake3(bytes(path)).hexdigest()[:8]}"
    if name in sys.modules:
        return
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None and specification.loader is not None  # noqa: S101, PT018
    loaded = importlib.util.module_from_spec(specification)
    sys.modules[name] = loaded
    try:
        specification.loader.exec_module(loaded)
    except BaseException:
        del sys.modules[name]
        raise
    # Workers do not have the file on their path: they get its functions whole.
    cloudpickle.register_pickle_by_value(loaded)
