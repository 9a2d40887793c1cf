"""What was changed of a machine, and how it was before: written down before anything is changed."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from forebay.cluster.node.errors import RecordError
from forebay.cluster.node.purpose import Role

FOLDER = "var/lib/forebay/tune"
"""Where it lies, below the root."""
FILE = f"{FOLDER}/record.json"
"""The record itself."""


class _Model(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, ser_json_bytes="base64", val_json_bytes="base64"
    )


class Before(_Model):
    """A file as it was."""

    content: bytes
    """What it said."""
    mode: int
    """Who may do what with it."""
    owner: int
    """The user that it belonged to."""
    group: int
    """The group that it belonged to."""


class FileEntry(_Model):
    """A file that was written."""

    path: str
    """Where it lies, below the root."""
    before: Before | None
    """How it was; None where there was none."""
    ours: tuple[str, ...]
    """SHA-256 of what was written, now and by earlier calls."""


class LiveEntry(_Model):
    """A value that was set while the system ran."""

    path: str
    """Where it was set, below the root."""
    written: tuple[str, ...]
    """What it was set to, now and by earlier calls."""
    restore_path: str
    """Where to set what takes it back."""
    restore: str
    """What takes it back."""


class Record(_Model):
    """Everything that was changed, or may have been."""

    version: Literal[1] = 1
    """Of this form of the record."""
    role: Role
    """The role that it was done for."""
    complete: bool
    """Whether all of it was done; else it was interrupted."""
    files: tuple[FileEntry, ...] = ()
    """Files."""
    live: tuple[LiveEntry, ...] = ()
    """Values."""
    folders: tuple[str, ...] = ()
    """Folders that were made, the outer ones first."""


def record_of(content: bytes) -> Record:
    """Return a record as it was kept.

    Raises
    ------
    RecordError
        If it is none.
    """
    try:
        return Record.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RecordError(
            f"/{FILE} cannot be read{f' at {where}' if where else ''} ({first['msg']}): it says what "
            "was there before, so that nothing is changed without it; bring it back from a backup, "
            "or move it away and undo by hand"
        ) from error
