"""The archive classes of S3: whether an object can be read, asking for it, putting it away.

What became of a request is known to S3 alone, and asked there each time: nothing is written down
beside it that could say otherwise.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

from forebay.tiering.archive.terms import CLASSES, RecallTerms
from forebay.tiering.errors import PlaceUnavailableError
from forebay.tiering.storage.encryption import Encryption
from forebay.tiering.storage.s3 import S3Place

_EXPIRY = re.compile(r'expiry-date="([^"]+)"')


class Reach(StrEnum):
    """How far away an object is."""

    NEAR = "near"
    """It can be read."""
    COMING = "coming"
    """It was asked for, and cannot be read yet."""
    AWAY = "away"
    """It has to be asked for."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How it is with an object of an archive."""

    reach: Reach
    """How far away it is."""
    until: datetime | None = None
    """Of one that was recalled: when it is away again."""


def _now() -> datetime:
    return datetime.now(UTC)


class Archive:
    """The objects of one copy, in an archive class of S3.

    Parameters
    ----------
    url
        ``s3://bucket/prefix`` of the copy.
    terms
        On which terms it gives objects back.
    encryption
        How objects are encrypted that are put away; as the bucket does it if not given.
    now
        The time.
    """

    def __init__(
        self,
        url: str,
        terms: RecallTerms,
        *,
        encryption: Encryption | None = None,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self.url = url
        self.terms = terms
        self._place = S3Place(url)
        self._encryption = {} if encryption is None else encryption.for_copies()
        self._now = now

    def check(self) -> None:
        """Look whether it can be spoken to at all.

        Raises
        ------
        TierError
            If botocore is not installed.
        PlaceUnavailableError
            If the bucket does not answer, or not to us.
        """
        with self._place.translated(""):
            self._place.client.head_bucket(Bucket=self._place.bucket)

    def standing(self, key: str) -> Standing:
        """Return how it is with an object.

        Raises
        ------
        CopyDamagedError
            If there is none.
        PlaceUnavailableError
            If the bucket does not answer, or not to us.
        """
        head = self._place.head(key)
        if head.get("StorageClass") not in CLASSES:
            return Standing(Reach.NEAR)
        told = str(head.get("Restore", ""))
        if 'ongoing-request="true"' in told:
            return Standing(Reach.COMING)
        expiry = _EXPIRY.search(told)
        until = None if expiry is None else parsedate_to_datetime(expiry[1])
        if until is None or until <= self._now():
            return Standing(Reach.AWAY)
        return Standing(Reach.NEAR, until)

    def recall(self, key: str, *, days: int) -> None:
        """Ask for an object to be readable for some days; asking twice is as asking once.

        Raises
        ------
        CopyDamagedError
            If there is none.
        PlaceUnavailableError
            If the bucket does not answer, or not to us.
        """
        standing = self.standing(key)
        if standing.reach is Reach.COMING:
            return
        if standing.reach is Reach.NEAR and (
            standing.until is None or standing.until >= self._now() + timedelta(days=days)
        ):
            return
        wanted: dict[str, Any] = {
            "Days": days,
            "GlacierJobParameters": {"Tier": self.terms.speed.capitalize()},
        }
        place = self._place
        with place.translated(key, done="recalled", passed_over="RestoreAlreadyInProgress"):
            place.client.restore_object(
                Bucket=place.bucket, Key=place.key(key), RestoreRequest=wanted
            )

    def put_away(self, key: str) -> None:
        """Give an object the class of the archive; one that has it stays as it is.

        Raises
        ------
        CopyDamagedError
            If there is none.
        PlaceUnavailableError
            If the bucket does not answer, or keeps the object in another class.
        """
        place, wanted = self._place, self.terms.storage_class
        name = place.key(key)
        head = place.head(key, done="put away")
        if head.get("StorageClass") == wanted:
            return
        with place.translated(key, done="put away"):
            place.client.copy_object(
                Bucket=place.bucket,
                Key=name,
                CopySource={"Bucket": place.bucket, "Key": name},
                # What was read back is what is put away, and nothing that came since.
                CopySourceIfMatch=head["ETag"],
                StorageClass=wanted,
                MetadataDirective="COPY",
                **self._encryption,
            )
        head = place.head(key, done="put away")
        if head.get("StorageClass") != wanted:
            raise PlaceUnavailableError(
                f"{self.url}/{key} is not of the class {wanted} after it was put into it: check "
                "whether this object store has that class"
            )
