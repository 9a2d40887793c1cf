"""CURVE keys, in the files that ``zmq.auth.create_certificates`` writes."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from zmq.auth import load_certificate
from zmq.utils import z85

from forebay.acquisition.errors import SourceError
from forebay.acquisition.sources.messages import shown

_MAX_FILE_BYTES = 64 * 2**10
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A key of one's own."""

    public: bytes
    """What the other side has to know."""
    secret: bytes = field(repr=False)
    """What nobody else may know; it is never shown."""


def read_key_pair(path: str | os.PathLike[str]) -> KeyPair:
    """Return the key in a secret file, which nobody but its owner may be able to read.

    Raises
    ------
    SourceError
        If it is not such a file, or others may read it.
    """
    with _reading(path) as file:
        if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise SourceError(
                f"the secret key {shown(file)} can be read by others; chmod 600 it, and make a new "
                "one if somebody may have seen it"
            )
        secret = load_certificate(file)[1]
        if secret is None:
            raise SourceError(
                f"{shown(file)} holds a public key only; give the file that ends in .key_secret"
            )
        return KeyPair(zmq.curve_public(_checked(secret)), secret)


def read_public_key(path: str | os.PathLike[str]) -> bytes:
    """Return the public key in a file.

    Raises
    ------
    SourceError
        If there is none.
    """
    with _reading(path) as file:
        return _checked(load_certificate(file)[0])


def read_senders(folder: str | os.PathLike[str]) -> frozenset[bytes]:
    """Return the public keys of those who may send: every ``.key`` file in a folder.

    Raises
    ------
    SourceError
        If there is no such file, or one cannot be read.
    """
    keys = frozenset(read_public_key(path) for path in Path(folder).glob("*.key"))
    if not keys:
        raise SourceError(
            f"{shown(folder)} has no public keys, so that nobody could send; put a .key file of "
            "each sender there"
        )
    return keys


@contextmanager
def _reading(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Turn what goes wrong within the block into an error that shows nothing of the content."""
    file = Path(path)
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MAX_FILE_BYTES:
            raise SourceError(f"{shown(file)} is no key file; make one with zmq.auth")
        yield file
    except OSError as error:
        raise SourceError(
            f"cannot read the key {shown(file)}: {error.strerror}; give the path of a key file"
        ) from error
    except SourceError:
        raise
    except (ValueError, LookupError):
        # Its text may quote the file.
        raise SourceError(f"{shown(file)} holds no CURVE key; make one with zmq.auth") from None


def _checked(key: bytes) -> bytes:
    if len(key) != 40 or len(z85.decode(key)) != _KEY_BYTES:
        raise ValueError("no key")
    return key
