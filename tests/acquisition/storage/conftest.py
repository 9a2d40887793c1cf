"""Buckets to write runs to."""

import itertools
from collections.abc import Callable, Iterator

import pytest
from obstore.store import ObjectStore as Bucket
from tests.acquisition.storage.server import Line, bucket_at, relayed, running_server

type NewBucket = Callable[[], tuple[Bucket, Bucket]]


@pytest.fixture(scope="session")
def server() -> Iterator[int]:
    """The port of an S3 server."""
    with running_server() as port:
        yield port


@pytest.fixture
def line() -> Line:
    """What decides of the requests that a writer makes."""
    return Line()


@pytest.fixture(scope="session")
def numbers() -> Iterator[int]:
    return itertools.count()


@pytest.fixture
def new_bucket(server: int, line: Line, numbers: Iterator[int]) -> Iterator[NewBucket]:
    """Give an empty prefix at each call: as it is, and by way of the line."""
    with relayed(server, line) as relay:

        def new() -> tuple[Bucket, Bucket]:
            prefix = f"runs/{next(numbers)}"
            return bucket_at(server, prefix), bucket_at(relay, prefix)

        yield new
