"""Tiers and how runs move between them, as it stands in the configuration."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    PositiveInt,
    model_validator,
)

from forebay.tiering.archive.terms import CLASSES, HOURS, USUAL_DAYS, RecallTerms
from forebay.tiering.storage.encryption import Encryption

_SCHEMES = ("s3", "gs", "az")
_SECRET = re.compile(r"[^/]*@")


def _path_or_url(given: object) -> object:
    """Let a path be one, so that it starts where the file lies that it stands in."""
    if isinstance(given, str) and given.startswith("file://"):
        return Path(given.removeprefix("file://"))
    return Path(given) if isinstance(given, str) and given and "://" not in given else given


def _known_kind(given: Path | str) -> Path | str:
    if isinstance(given, Path):
        return given
    parts = urlsplit(given)
    if parts.scheme not in _SCHEMES or not parts.netloc or parts.query or parts.fragment:
        known = ", ".join(f"{scheme}://bucket/prefix" for scheme in _SCHEMES)
        raise ValueError(f"a tier is a folder, or one of {known}")
    if _SECRET.match(parts.netloc):
        raise ValueError("credentials come from the environment, never from a URL")
    prefix = [part for part in parts.path.split("/") if part]
    if {".", ".."} & {*prefix}:
        raise ValueError("a prefix of a bucket knows no '.' and '..': give it as it is")
    return "/".join([f"{parts.scheme}://{parts.netloc}", *prefix])


class TierSpecification(BaseModel):
    """One place where runs may lie."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[Path | str, BeforeValidator(_path_or_url), AfterValidator(_known_kind)] = Field(
        description="A folder, or 's3://bucket/prefix', 'gs://…' or 'az://…'; credentials, region "
        "and endpoint come from the environment.",
    )
    capacity: ByteSize | None = Field(
        default=None, gt=0, description="Bytes that runs may take there; any if not given."
    )
    low: float = Field(
        default=0.70, gt=0.0, le=1.0, description="Part of the capacity down to which it is freed."
    )
    high: float = Field(
        default=0.85, gt=0.0, le=1.0, description="Part of the capacity at which freeing begins."
    )
    bandwidth: ByteSize | None = Field(
        default=None, gt=0, description="Most bytes per second that a mover reads or writes there."
    )
    storage_class: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-]+$",
        description="Storage class of what is put there, such as STANDARD_IA; of s3://, GLACIER and "
        "DEEP_ARCHIVE are archives, which are recalled before they are read.",
    )
    pack_bytes: ByteSize | None = Field(
        default=None,
        gt=0,
        le=2**31,
        description="Objects that are shorter are put together into packs of about that length; "
        "none are if not given.",
    )
    versioned: bool = Field(
        default=False,
        description="Whether the bucket may keep versions of what is deleted, as one with object "
        "lock has to; one that does is refused if not.",
    )
    encryption: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = Field(
        default=None,
        description="Of s3://: how the server encrypts what is put there; as the bucket does it if "
        "not given.",
    )
    encryption_key: str | None = Field(
        default=None,
        min_length=1,
        description="Of s3:// with 'aws:kms': the key, by its identity, alias or ARN.",
    )
    lock_days: PositiveInt | None = Field(
        default=None,
        description="Of s3:// with object lock: days for which what has come there cannot be "
        "deleted, by nobody who may not bypass it; not locked if not given.",
    )
    lock_mode: Literal["governance", "compliance"] = Field(
        default="governance",
        description="Of s3:// with object lock: 'compliance' cannot be bypassed by anyone.",
    )
    cost_per_gb_month: float = Field(
        default=0.0, ge=0.0, description="What a gigabyte (10^9 bytes) costs there in a month."
    )
    cost_per_gb_read: float = Field(
        default=0.0, ge=0.0, description="What it costs to read a gigabyte from there."
    )

    recall_speed: Literal["expedited", "standard", "bulk"] = Field(
        default="standard",
        description="Of an archive class: how fast its objects are asked for; the faster, the "
        "dearer.",
    )
    recall_hours: float | None = Field(
        default=None,
        ge=0.0,
        description="Of an archive class: hours until its objects can be read; what AWS says of "
        "the class if not given.",
    )
    recall_days: PositiveInt = Field(
        default=USUAL_DAYS, description="Of an archive class: days for which objects stay readable."
    )
    recall_cost_per_gb: float = Field(
        default=0.0, ge=0.0, description="Of an archive class: what it costs to recall a gigabyte."
    )
    recall_cost_per_1000: float = Field(
        default=0.0,
        ge=0.0,
        description="Of an archive class: what it costs to recall a thousand objects, beside that.",
    )

    @model_validator(mode="after")
    def _recalled(self) -> Self:
        given = sorted(name for name in self.model_fields_set if name.startswith("recall_"))
        if given and not self._is_archive:
            raise ValueError(
                f"{given[0]} is for a tier in s3:// whose storage_class is one of "
                f"{', '.join(CLASSES)}: others are read at once"
            )
        if self._is_archive and (self.storage_class, self.recall_speed) not in HOURS:
            raise ValueError(f"{self.storage_class} has no recall_speed {self.recall_speed!r}")
        return self

    @model_validator(mode="after")
    def _read_at_once(self) -> Self:
        azure = isinstance(self.url, str) and self.url.startswith("az://")
        if azure and str(self.storage_class).casefold() == "archive":
            raise ValueError(
                "Azure's class Archive cannot be recalled from here, and nobody could read what is "
                "put there: choose Cold, Cool or Hot"
            )
        return self

    @model_validator(mode="after")
    def _protected(self) -> Self:
        wanted = ("encryption", "encryption_key", "lock_days", "lock_mode")
        given = [name for name in wanted if name in self.model_fields_set]
        if given and not (isinstance(self.url, str) and self.url.startswith("s3://")):
            raise ValueError(
                f"{given[0]} is for a tier in s3://: elsewhere it is set where the bucket is made"
            )
        if self.encryption_key is not None and not str(self.encryption).startswith("aws:kms"):
            raise ValueError("encryption_key is for encryption = 'aws:kms': no other takes a key")
        if self.lock_days is not None and not self.versioned:
            raise ValueError(
                "lock_days needs versioned = true: a bucket with object lock keeps versions, which "
                "something else has to end"
            )
        return self

    @property
    def encrypted(self) -> Encryption | None:
        """How what is put there is encrypted; None for as the bucket does it."""
        if self.encryption is None:
            return None
        return Encryption(self.encryption, self.encryption_key)

    @property
    def _is_archive(self) -> bool:
        return (
            isinstance(self.url, str)
            and self.url.startswith("s3://")
            and self.storage_class in CLASSES
        )

    @property
    def recall(self) -> RecallTerms | None:
        """On which terms its objects are read; None where that is at once."""
        if not self._is_archive or self.storage_class is None:
            return None
        hours = HOURS[self.storage_class, self.recall_speed]
        return RecallTerms(
            self.storage_class,
            self.recall_speed,
            hours if self.recall_hours is None else self.recall_hours,
            self.recall_cost_per_gb,
            self.recall_cost_per_1000,
            self.recall_days,
        )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low > self.high:
            raise ValueError(
                f"low = {self.low} is above high = {self.high}: nothing would be freed"
            )
        return self

    @property
    def shown(self) -> str:
        """The place, for messages."""
        return str(self.url)


class PolicySpecification(BaseModel):
    """Which runs move from one tier to another, and when."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    name: str = Field(min_length=1, description="What it is called where it decides.")
    source: str = Field(alias="from", description="Tier that the runs lie in.")
    target: str = Field(alias="to", description="Tier that they are to lie in.")
    runs: str = Field(default="*", description="Names of the runs, with '*' for any text.")
    data: Literal["raw", "result", "both"] = Field(
        default="raw",
        description="'raw': runs as they were recorded; 'result': what was published of them; or "
        "'both'.",
    )
    state: Literal["any", "closed"] = Field(
        default="any",
        description="'closed': runs when they are closed; 'any': of a run that is still recorded, "
        "the blocks that have become whole volumes as well (see 'newest_blocks').",
    )
    older_than_days: float = Field(
        default=0.0,
        ge=0.0,
        description="Days since it was closed, or since the last block of a volume was recorded.",
    )
    unread_days: float = Field(default=0.0, ge=0.0, description="Days since it was last opened.")
    larger_than: ByteSize = Field(default=ByteSize(0), description="Least size of the run.")
    when: Literal["always", "full"] = Field(
        default="always",
        description="'full': only while the tier that they lie in is above its watermark 'high', "
        "and only until it is below 'low', those that were not read for longest first.",
    )
    keep: bool = Field(default=False, description="Whether the copy in the first tier stays.")
    recall_cost: float | None = Field(
        default=None,
        ge=0.0,
        description="Of a policy that moves runs out of an archive: what it may cost to recall them "
        "within 30 days, in all.",
    )

    @model_validator(mode="after")
    def _elsewhere(self) -> Self:
        if self.source == self.target:
            raise ValueError(f"policy {self.name!r} moves runs from {self.source!r} to itself")
        return self


class CacheSpecification(BaseModel):
    """A folder in which what was read from other tiers is kept near."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Path = Field(description="Where it lies; on a fast disk of this machine.")
    capacity: ByteSize = Field(gt=0, description="Bytes that are kept there at the most.")


class TieringSettings(BaseModel):
    """How runs are moved between tiers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    grace_seconds: float = Field(
        default=3600.0,
        ge=0.0,
        description="Time between the moment when a run can be read in its new tier and the "
        "deletion of its copy in the old one.",
    )
    min_copies: PositiveInt = Field(
        default=1,
        description="Verified copies in other tiers that must be there before one is deleted.",
    )
    lease_seconds: float = Field(
        default=600.0, ge=1.0, description="Silence of a mover after which another one goes on."
    )
    most_attempts: PositiveInt = Field(
        default=12, description="Attempts in a row that fail before a move is given up."
    )
    first_pause_seconds: float = Field(
        default=5.0, gt=0.0, description="Pause after the first attempt that failed; then doubled."
    )
    cache: CacheSpecification | None = Field(
        default=None, description="Keeps near what was read from other tiers; none if not given."
    )
    interval_seconds: float | None = Field(
        default=None,
        gt=0.0,
        description="Time between two moments at which 'forebay serve' looks what policies would "
        "move, and moves it; it moves nothing if not given.",
    )
    newest_blocks: PositiveInt = Field(
        default=64,
        description="Blocks of a run that is still recorded, the newest ones, that stay where they "
        "are: those who follow the run read them.",
    )
    volume_bytes: ByteSize = Field(
        default=ByteSize(4_000_000_000),
        gt=0,
        description="Bytes of blocks that are moved together out of a run that is still recorded; "
        "less where that is more than a quarter of what is between the tier's 'low' and 'high'.",
    )
    recording_bandwidth: ByteSize = Field(
        default=ByteSize(50_000_000),
        gt=0,
        description="Most bytes per second that 'forebay serve' moves while something is recorded, "
        "unless a tier fills faster than that.",
    )
    policies: tuple[PolicySpecification, ...] = Field(
        default=(), description="Which runs move where; the first one that fits a run decides."
    )
