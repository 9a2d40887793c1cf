"""The files of a published part, compared with their digests, in whichever tier they lie."""

import json
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from forebay.engine.errors import ResultDamagedError
from forebay.tiering.reading.signpost import KnownObject
from forebay.tiering.reading.volumes import read_moved

MANIFEST = "part.json"


@dataclass(frozen=True, slots=True)
class PartFiles:
    """The files of a published part.

    A part is found in the folder of its result, ``parts/PART``.  What was moved away from there is
    read from the tiers that the result's signposts name.
    """

    folder: Path
    """The folder of the part, as if it had never been moved."""

    def read(self, name: str, digest: str) -> bytes:
        """Return a file of the digest that is known.

        Raises
        ------
        ResultDamagedError
            If no place has it as it was published.
        ArchivedError
            If it has to be recalled from an archive.
        PlaceUnavailableError
            If the tier that has it does not answer.
        """
        path = self.folder / name
        content = _at_home(path)
        if content is not None and blake3(content).hexdigest() == digest:
            return content
        elsewhere = self._elsewhere(name)
        if elsewhere is not None and blake3(elsewhere).hexdigest() == digest:
            return elsewhere
        if content is None:
            raise ResultDamagedError(
                f"{path} is missing; if it was computed again meanwhile, open the result again, "
                "else compute it again with --force"
            )
        raise ResultDamagedError(
            f"{path} has changed since it was published; compute it again with --force"
        )

    def digests(self, blake3_digest: str) -> dict[str, str]:
        """Return the digests of all files, by their names, given that of the manifest.

        Raises
        ------
        ResultDamagedError, ArchivedError, PlaceUnavailableError
            As `read`.
        """
        files = json.loads(self.read(MANIFEST, blake3_digest))["files"]
        return {name: file["blake3"] for name, file in files.items()}

    def objects(self, blake3_digest: str) -> dict[str, KnownObject]:
        """Return what all files are, the manifest among them, given the digest of that.

        Raises
        ------
        ResultDamagedError, ArchivedError, PlaceUnavailableError
            As `read`.
        """
        content = self.read(MANIFEST, blake3_digest)
        files = json.loads(content)["files"]
        known = {name: KnownObject(each["bytes"], each["blake3"]) for name, each in files.items()}
        return {MANIFEST: KnownObject(len(content), blake3_digest), **known}

    def manifest(self) -> bytes:
        """Return the manifest of a part of which nothing is known.

        Raises
        ------
        ResultDamagedError
            If there is none.
        """
        content = _at_home(self.folder / MANIFEST)
        content = self._elsewhere(MANIFEST) if content is None else content
        if content is None:
            raise ResultDamagedError(f"{self.folder} is no published part: it has no {MANIFEST}")
        return content

    def _elsewhere(self, name: str) -> bytes | None:
        result = self.folder.parent.parent
        return read_moved(result, f"{self.folder.relative_to(result).as_posix()}/{name}")


def _at_home(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
