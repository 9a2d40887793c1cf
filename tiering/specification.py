"""Tiers and how runs move between them, as it stands in the configuration."""

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
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
    return given.rstrip("/")


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
        description="Storage class of what is put there, such as STANDARD_IA.",
    )
    cost_per_gb_month: float = Field(
        default=0.0, ge=0.0, description="What a gigabyte (10^9 bytes) costs there in a month."
    )
    cost_per_gb_read: float = Field(
        default=0.0, ge=0.0, description="What it costs to read a gigabyte from there."
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
    older_than_days: float = Field(default=0.0, ge=0.0, description="Days since it was closed.")
    unread_days: float = Field(default=0.0, ge=0.0, description="Days since it was last opened.")
    larger_than: ByteSize = Field(default=ByteSize(0), description="Least size of the run.")
    when: Literal["always", "full"] = Field(
        default="always",
        description="'full': only while the tier that they lie in is above its watermark 'high', "
        "and only until it is below 'low', those that were not read for longest first.",
    )
    keep: bool = Field(default=False, description="Whether the copy in the first tier stays.")

    @model_validator(mode="after")
    def _elsewhere(self) -> Self:
        if self.source == self.target:
            raise ValueError(f"policy {self.name!r} moves runs from {self.source!r} to itself")
        return self


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
    interval_seconds: float | None = Field(
        default=None,
        gt=0.0,
        description="Time between two moments at which 'forebay serve' looks what policies would "
        "move, and moves it; it moves nothing if not given.",
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


def check_places(tiers: Mapping[str, TierSpecification]) -> None:
    """Refuse tiers that share a place.

    Parameters
    ----------
    tiers
        The tiers by name.

    Raises
    ------
    ValueError
        If two of them do.

    Examples
    --------
    >>> hot = TierSpecification(url="/data/runs")
    >>> check_places({"hot": hot, "warm": TierSpecification(url="/data")})
    Traceback (most recent call last):
    ValueError: tiers 'hot' (/data/runs) and 'warm' (/data) share a place: ...
    """
    for name, tier in tiers.items():
        for other, beside in tiers.items():
            if name < other and _share(tier.url, beside.url):
                raise ValueError(
                    f"tiers {name!r} ({tier.shown}) and {other!r} ({beside.shown}) share a place: "
                    "deleting in one would delete in the other; give each its own"
                )


def check_policies(
    policies: Sequence[PolicySpecification], tiers: Mapping[str, TierSpecification]
) -> None:
    """Refuse policies that cannot be carried out, or that would never end.

    Parameters
    ----------
    policies
        The policies.
    tiers
        The tiers by name.

    Raises
    ------
    ValueError
        If one names no tier, or some of them move a run round and round.
    """
    for policy in policies:
        for end in (policy.source, policy.target):
            if end not in tiers:
                known = ", ".join(tiers) or "none"
                raise ValueError(
                    f"policy {policy.name!r} names the tier {end!r}; there are {known}"
                )
    moving = [policy for policy in policies if policy.when == "always"]
    for policy in moving:
        if circle := _way_back([policy], moving):
            names = ", ".join(repr(each.name) for each in circle)
            raise ValueError(
                f"policies {names} move the same runs round and round, without end: drop one"
            )


def _way_back(
    way: list[PolicySpecification], moving: list[PolicySpecification]
) -> list[PolicySpecification]:
    """Return policies that take a run along `way` and back to where it began; none is best."""
    for following in moving:
        if following.source != way[-1].target or following in way:
            continue
        if not all(_overlap(following.runs, each.runs) for each in way):
            continue
        if following.target == way[0].source:
            return [*way, following]
        if circle := _way_back([*way, following], moving):
            return circle
    return []


def _overlap(one: str, other: str) -> bool:
    return fnmatchcase(one, other) or fnmatchcase(other, one)


def _share(one: Path | str, other: Path | str) -> bool:
    if isinstance(one, Path) and isinstance(other, Path):
        first, second = one.absolute(), other.absolute()
        return first == second or first in second.parents or second in first.parents
    if isinstance(one, str) and isinstance(other, str):
        first_url, second_url = f"{one}/", f"{other}/"
        return first_url.startswith(second_url) or second_url.startswith(first_url)
    return False
