"""The BagIt format (RFC 8493): its manifests, its tags, and the names that it may hold."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping

from forebay.tiering.errors import BundleDamagedError, BundleError, ObjectKeyError
from forebay.tiering.keys import check_key

DECLARATION = "bagit.txt"
INFO = "bag-info.txt"
FETCH = "fetch.txt"
PAYLOAD = "data/"
ALGORITHM = "sha512"
"""The digest that is written."""
ALGORITHMS = ("sha512", "sha256")
"""Digests that are compared when a bag is read; RFC 8493 asks for both."""
MANIFEST = re.compile(r"(?P<tags>tag)?manifest-(?P<algorithm>[a-z0-9]+)\.txt")

_VERSIONS = ("1.0", "0.97")
_LINE = re.compile(r"(?P<digest>[0-9A-Fa-f]+)[ \t]+\*?(?P<path>\S.*)")
_ESCAPES = {"%0A": "\n", "%0D": "\r", "%25": "%"}
_ESCAPED = re.compile("|".join(_ESCAPES), flags=re.IGNORECASE)
_TAG = re.compile(r"(?P<name>[^:\s][^:]*):\s*(?P<value>.*)")


def manifest_name(algorithm: str, *, tags: bool = False) -> str:
    """Return the name of a manifest: of the payload, or of the tag files."""
    return f"{'tag' if tags else ''}manifest-{algorithm}.txt"


def declaration() -> bytes:
    """Return the file that makes a folder a bag."""
    return b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"


def manifest(digests: Mapping[str, str]) -> bytes:
    r"""Return a manifest.

    Examples
    --------
    >>> manifest({"data/50 %": "ab12"})
    b'ab12  data/50 %25\n'
    """
    lines = [f"{digests[path]}  {_escaped(path)}\n" for path in sorted(digests)]
    return "".join(lines).encode()


def tags(values: Mapping[str, str]) -> bytes:
    r"""Return a file of tags.

    Examples
    --------
    >>> tags({"Bag-Size": "3 MiB"})
    b'Bag-Size: 3 MiB\n'
    """
    return "".join(
        f"{name}: {' '.join(value.split())}\n" for name, value in values.items()
    ).encode()


def read_tags(content: bytes, *, where: str) -> dict[str, str]:
    """Read a file of tags; a line that begins with white space goes on with the one before.

    Raises
    ------
    BundleDamagedError
        If it is none.
    """
    found: dict[str, str] = {}
    last = ""
    for line in _text(content, where).splitlines():
        if not line.strip():
            continue
        if line[0] in " \t" and last:
            found[last] += f" {line.strip()}"
        elif tag := _TAG.fullmatch(line):
            last = tag["name"].strip()
            found[last] = tag["value"].strip()
        else:
            raise BundleDamagedError(
                f"{where} has the line {line!r}, which is no tag and its value"
            )
    return found


def check_declaration(content: bytes, *, where: str) -> None:
    """Refuse a bag of a version, or in an encoding, that is not read here.

    Raises
    ------
    BundleError
        If it is one.
    """
    said = read_tags(content, where=where)
    version = said.get("BagIt-Version")
    encoding = said.get("Tag-File-Character-Encoding", "")
    if version not in _VERSIONS or encoding.upper() != "UTF-8":
        raise BundleError(
            f"{where} says BagIt {version} in {encoding or 'no encoding'}; this forebay reads "
            f"{' and '.join(_VERSIONS)} in UTF-8"
        )


def read_manifest(content: bytes, algorithm: str, *, where: str) -> dict[str, str]:
    """Read a manifest: the digest of each file, by its path.

    Raises
    ------
    BundleDamagedError
        If a line is none of a manifest, or a path is not one that `check_paths` allows.
    """
    found: dict[str, str] = {}
    length = hashlib.new(algorithm, usedforsecurity=False).digest_size * 2
    for line in _text(content, where).splitlines():
        if not line.strip():
            continue
        entry = _LINE.fullmatch(line.rstrip())
        if entry is None or len(entry["digest"]) != length:
            raise BundleDamagedError(
                f"{where} has the line {line[:80]!r}, which is no {algorithm} digest and path"
            )
        path = _ESCAPED.sub(lambda each: _ESCAPES[each[0].upper()], entry["path"])
        if path in found:
            raise BundleDamagedError(f"{where} names {path!r} twice")
        found[path] = entry["digest"].lower()
    check_paths(found, where=where)
    return found


def check_paths(paths: Iterable[str], *, where: str) -> None:
    """Refuse paths that lead out of a bag, or that are one and the same on some file systems.

    Parameters
    ----------
    paths
        Paths of files within a bag.
    where
        What names them, for messages.

    Raises
    ------
    BundleDamagedError
        If one is absolute, has a part ``..``, is not in Unicode's normal form NFC, or differs from
        another one in upper and lower case only.

    Examples
    --------
    >>> check_paths(["data/a", "data/A"], where="manifest-sha512.txt")
    Traceback (most recent call last):
    forebay.tiering.errors.BundleDamagedError: manifest-sha512.txt names 'data/a' and 'data/A'...
    """
    folded: dict[str, str] = {}
    for path in paths:
        try:
            check_key(path)
        except ObjectKeyError as error:
            raise BundleDamagedError(
                f"{where} names a file that is none of a bag: {error}"
            ) from error
        if unicodedata.normalize("NFC", path) != path:
            raise BundleDamagedError(
                f"{where} names {path!a}, which is not in Unicode's normal form NFC: file systems "
                "disagree on what it is called; rename it before it is bagged"
            )
        other = folded.setdefault(path.casefold(), path)
        if other != path:
            raise BundleDamagedError(
                f"{where} names {other!r} and {path!r}, which are the same file where upper and "
                "lower case are not told apart"
            )


def _escaped(path: str) -> str:
    return path.replace("%", "%25").replace("\n", "%0A").replace("\r", "%0D")


def _text(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BundleDamagedError(f"{where} is no UTF-8 text") from error
