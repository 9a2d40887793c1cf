"""Objects that are put in a bucket under a condition, each exactly once, whatever answer is lost."""

import uuid
from collections.abc import Buffer, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    InvalidPathError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import ObjectStore

from forebay.acquisition.errors import StorageAwayError, StorageError
from forebay.acquisition.storage.said import may_be_asked_again, remedy_for, said_by_store

if TYPE_CHECKING:
    from obstore import PutMode

WRITE_ID = "forebay-write-id"
EPOCH = "forebay-epoch"
DIGEST = "forebay-blake3"

_ATTEMPTS = 4
_REFUSALS = (
    FileNotFoundError,
    InvalidPathError,
    NotImplementedError,
    NotSupportedError,
    PermissionDeniedError,
    UnauthenticatedError,
)
"""Answers after which nothing has changed, and nothing would if it were tried again."""


@dataclass(frozen=True, slots=True)
class Stamped:
    """An object of a bucket, by what its writer wrote on it."""

    bytes: int
    """Its length."""
    e_tag: str | None
    """The bucket's name for its content."""
    write_id: str | None
    """Identity of the one logical write that made it; None for what no writer of runs has made."""
    epoch: int
    """Number of the writer that made it; 0 where that is not known."""
    blake3: str | None
    """BLAKE3 digest of its bytes."""


class KeyTakenError(Exception):
    """Another object has the key, or has come in the place of the one that was expected there."""

    def __init__(self, found: Stamped) -> None:
        super().__init__()
        self.found = found
        """What is there."""


class ConditionalPuts:
    """Puts objects where none are, or in the place of those that are known.

    A put whose answer is lost may have been done; tried again, it meets its own object.  So each
    logical write has an identity, which goes with the object, and what is there is looked at
    before anything is believed.

    Parameters
    ----------
    store
        The bucket, from where the run begins.
    where
        Name of that place, for messages.
    epoch
        Number of the writer.
    """

    def __init__(self, store: ObjectStore, *, where: str, epoch: int) -> None:
        self._store = store
        self._where = where
        self._epoch = epoch

    def put(
        self,
        key: str,
        parts: Sequence[Buffer],
        *,
        digest: str,
        instead_of: Stamped | None = None,
    ) -> Stamped:
        """Put an object where none is, or in the place of a known one.

        Parameters
        ----------
        key
            Its name.
        parts
            Its bytes; they stay as they are until this returns.
        digest
            Their BLAKE3 digest.
        instead_of
            What it replaces; None where nothing must be there.

        Raises
        ------
        KeyTakenError
            If something else is there; nothing has changed.
        StorageError
            If the bucket refuses.
        StorageAwayError
            If it does not answer: then nobody knows whether the object is there.
        """
        write_id = str(uuid.uuid4())
        mode: PutMode = "create" if instead_of is None else {"e_tag": instead_of.e_tag}
        stamp = {WRITE_ID: write_id, EPOCH: str(self._epoch), DIGEST: digest}
        failure: Exception | None = None
        for _ in range(_ATTEMPTS):
            try:
                return self._put(key, parts, mode, stamp)
            except _REFUSALS as error:
                raise self._refused(key, error) from error
            except BaseError as error:
                failure = error
            # No pause before the next attempt: the bucket has answered this question, which the
            # store itself repeats with pauses.
            found = self.look(key)
            if found is not None and found.write_id == write_id:
                return found
            if found is not None and (instead_of is None or found.e_tag != instead_of.e_tag):
                raise KeyTakenError(found)
        raise self._refused(key, failure) from failure

    def look(self, key: str) -> Stamped | None:
        """Return what has a key, or None where nothing has it.

        Raises
        ------
        StorageError
            If the bucket does not say.
        """
        try:
            head = obstore.get(self._store, key, options={"head": True})
        except FileNotFoundError:
            return None
        except BaseError as error:
            raise self._refused(key, error) from error
        attributes: Mapping[str, str] = head.attributes
        epoch = attributes.get(EPOCH, "")
        return Stamped(
            bytes=head.meta["size"],
            e_tag=head.meta["e_tag"],
            write_id=attributes.get(WRITE_ID),
            epoch=int(epoch) if epoch.isascii() and epoch.isdecimal() else 0,
            blake3=attributes.get(DIGEST),
        )

    def copy(self, key: str, target: str) -> None:
        """Copy an object within the bucket, over what may be there.

        Raises
        ------
        StorageError
            If the bucket refuses, or does not answer.
        """
        try:
            obstore.copy(self._store, key, target)
        except (BaseError, FileNotFoundError) as error:
            raise self._refused(target, error) from error

    def _put(
        self, key: str, parts: Sequence[Buffer], mode: "PutMode", stamp: dict[str, str]
    ) -> Stamped:
        result = obstore.put(
            self._store,
            key,
            list(parts) or b"",
            # The attributes are user metadata: the type of their names is any string.
            attributes={**stamp},
            mode=mode,
            use_multipart=False,
        )
        return Stamped(
            bytes=sum(memoryview(part).nbytes for part in parts),
            e_tag=result["e_tag"],
            write_id=stamp[WRITE_ID],
            epoch=self._epoch,
            blake3=stamp[DIGEST],
        )

    def _refused(self, key: str, error: Exception | None) -> StorageError:
        kind = StorageAwayError if _is_away(error) else StorageError
        return kind(refusal(f"{self._where}/{key}", error))


def _is_away(error: Exception | None) -> bool:
    """Tell whether nobody has answered, or only that it is to be tried later."""
    answered = (*_REFUSALS, AlreadyExistsError, PreconditionError)
    return not isinstance(error, answered) and may_be_asked_again(error)


def refusal(what: str, error: Exception | None) -> str:
    """Say in one line what a bucket did not do, why, and what helps."""
    match error:
        case PermissionDeniedError() | UnauthenticatedError():
            remedy = (
                "permission is denied; check the credentials, and let them read and write there"
            )
        case FileNotFoundError():
            remedy = "there is no such bucket; make it, or check its name and the endpoint"
        case NotImplementedError() | NotSupportedError():
            remedy = "this store knows no conditional puts with metadata; give a path for a folder"
        case AlreadyExistsError() | PreconditionError():
            remedy = "another writer is at it"
        case _:
            remedy = (
                "it does not answer, or not to us; check the bucket's name, network and endpoint"
            )
    return f"cannot write {what}: {remedy_for(error) or remedy} ({said_by_store(error)})"
