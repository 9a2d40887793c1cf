"""What S3 knows beyond other object stores, asked of it by botocore."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from forebay.acquisition.storage.said import remedy_for, said_by_store
from forebay.tiering.errors import CopyDamagedError, PlaceUnavailableError, TierError

_ABSENT = {"404", "NoSuchKey", "NotFound"}
_MEANT = {"404": "NoSuchBucket", "301": "PermanentRedirect"}
"""What is meant where the answer has but a status, since nothing but the head was asked for."""
_PATIENCE = 30
"""Seconds that one request may be silent."""
_CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class S3Place:
    """A prefix of a bucket.

    Notes
    -----
    The connection is botocore's: obstore cannot restore objects, nor change their class, nor lock
    them.
    """

    url: str
    """``s3://bucket/prefix``."""

    @property
    def bucket(self) -> str:
        """The name of the bucket."""
        return urlsplit(self.url).netloc

    def key(self, key: str) -> str:
        """Return the key, in the bucket, of an object below the prefix."""
        prefix = urlsplit(self.url).path.strip("/")
        return f"{prefix}/{key}" if prefix else key

    def head(self, key: str, *, done: str = "looked at") -> dict[str, Any]:
        """Return what S3 says of an object.

        Raises
        ------
        CopyDamagedError
            If there is none.
        PlaceUnavailableError
            If the bucket does not answer, or not to us.
        """
        with self.translated(key, done=done):
            found: dict[str, Any] = self.client.head_object(Bucket=self.bucket, Key=self.key(key))
        return found

    @property
    def client(self) -> Any:
        """The connection, as the environment says.

        Raises
        ------
        TierError
            If botocore is not installed.
        """
        given = os.environ
        endpoint = given.get("AWS_ENDPOINT_URL_S3") or given.get("AWS_ENDPOINT_URL")
        return _connected(
            endpoint or given.get("AWS_ENDPOINT"),
            given.get("AWS_REGION") or given.get("AWS_DEFAULT_REGION"),
            given.get("AWS_ACCESS_KEY_ID"),
        )

    @contextmanager
    def translated(
        self, key: str, *, done: str = "looked at", passed_over: str = ""
    ) -> Iterator[None]:
        """Turn what S3 says into one line of ours.

        Parameters
        ----------
        key
            The object that was asked for; nothing for the bucket itself.
        done
            What was to be done to it.
        passed_over
            What it may say without being in the way.

        Raises
        ------
        CopyDamagedError
            If there is no such object.
        PlaceUnavailableError
            If the bucket does not answer, or not to us.
        """
        _botocore()
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code == passed_over:
                return
            if code in _ABSENT and key:
                raise CopyDamagedError(f"{self.url}/{key} is missing") from error
            remedy = remedy_for(OSError(f"<Code>{_MEANT.get(code, code)}</Code>"))
            raise PlaceUnavailableError(
                f"{self._named(key)} cannot be {done}: "
                f"{remedy or 'check the credentials, and whether they may do that'} ({code})"
            ) from error
        except BotoCoreError as error:
            raise PlaceUnavailableError(
                f"{self._named(key)} cannot be {done}: check the network, and credentials, region "
                f"and endpoint in the environment ({said_by_store(error)})"
            ) from error

    def _named(self, key: str) -> str:
        return f"{self.url}/{key}" if key else self.url


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
            "a tier of an archive class, with encryption or with object lock needs botocore, which "
            "is not installed: pip install 'forebay[aws]'"
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
