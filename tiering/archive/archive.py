"""The archive classes of S3: whether an object can be read, asking for it, putting it away.

What became of a request is known to S3 alone, and asked there each time: nothing is written down
beside it that could say otherwise.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from forebay.tiering.archive.terms import CLASSES, RecallTerms
from forebay.tiering.errors import CopyDamagedError, PlaceUnavailableError, TierError

_EXPIRY = re.compile(r'expiry-date="([^"]+)"')
_ABSENT = {"404", "NoSuchKey", "NotFound"}
_PATIENCE = 30
"""Seconds that one request may be silent."""
_CONNECTIONS = 16


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
    now
        The time.

    Notes
    -----
    The connection is botocore's: obstore cannot restore objects, nor change their class.
    """

    def __init__(self, url: str, terms: RecallTerms, *, now: Callable[[], datetime] = _now) -> None:
        parts = urlsplit(url)
        self.url = url
        self.terms = terms
        self._bucket = parts.netloc
        self._prefix = parts.path.strip("/")
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
        with self._translated(""):
            self._client.head_bucket(Bucket=self._bucket)

    def standing(self, key: str) -> Standing:
        """Return how it is with an object.

        Raises
        ------
        CopyDamagedError
            If there is none.
        PlaceUnavailableError
            If the bucket does not answer, or not to us.
        """
        with self._translated(key):
            head = self._client.head_object(Bucket=self._bucket, Key=self._key(key))
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
        with self._translated(key, done="recalled", passed_over="RestoreAlreadyInProgress"):
            self._client.restore_object(
                Bucket=self._bucket, Key=self._key(key), RestoreRequest=wanted
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
        name, wanted = self._key(key), self.terms.storage_class
        with self._translated(key, done="put away"):
            head = self._client.head_object(Bucket=self._bucket, Key=name)
            if head.get("StorageClass") == wanted:
                return
            self._client.copy_object(
                Bucket=self._bucket,
                Key=name,
                CopySource={"Bucket": self._bucket, "Key": name},
                # What was read back is what is put away, and nothing that came since.
                CopySourceIfMatch=head["ETag"],
                StorageClass=wanted,
                MetadataDirective="COPY",
            )
            head = self._client.head_object(Bucket=self._bucket, Key=name)
        if head.get("StorageClass") != wanted:
            raise PlaceUnavailableError(
                f"{self.url}/{key} is not of the class {wanted} after it was put into it: check "
                "whether this object store has that class"
            )

    def _key(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key

    @property
    def _client(self) -> Any:
        given = os.environ
        endpoint = given.get("AWS_ENDPOINT_URL_S3") or given.get("AWS_ENDPOINT_URL")
        return _connected(
            endpoint or given.get("AWS_ENDPOINT"),
            given.get("AWS_REGION") or given.get("AWS_DEFAULT_REGION"),
            given.get("AWS_ACCESS_KEY_ID"),
        )

    @contextmanager
    def _translated(
        self, key: str, *, done: str = "looked at", passed_over: str = ""
    ) -> Iterator[None]:
        _botocore()
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code == passed_over:
                return
            if code in _ABSENT:
                raise CopyDamagedError(f"{self.url}/{key} is missing") from error
            raise PlaceUnavailableError(
                f"{self.url}/{key} cannot be {done}: check the credentials in the environment, and "
                f"whether they may do that ({code})"
            ) from error
        except BotoCoreError as error:
            said = " ".join(str(error).split())
            raise PlaceUnavailableError(
                f"{self.url}/{key} cannot be {done}: check the network, and credentials, region "
                f"and endpoint in the environment ({said})"
            ) from error


def _botocore() -> Any:
    """Return botocore's module of sessions.

    Raises
    ------
    TierError
        If it is not installed.
    """
    try:
        import botocore.session
    except ImportError as error:
        raise TierError(
            "a tier of an archive class needs botocore, which is not installed: "
            "pip install 'forebay[aws]'"
        ) from error
    return botocore.session


@lru_cache(maxsize=4)
def _connected(endpoint: str | None, region: str | None, _: str | None) -> Any:
    """Return a connection as the environment says; making one takes half a second."""
    session = _botocore().get_session()
    from botocore.config import Config

    return session.create_client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        config=Config(
            connect_timeout=_PATIENCE,
            read_timeout=_PATIENCE,
            max_pool_connections=_CONNECTIONS,
            retries={"max_attempts": 4, "mode": "standard"},
            s3={"addressing_style": "path" if endpoint else "auto"},
        ),
    )
