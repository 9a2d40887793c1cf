"""A run that is sent to a bucket of an S3 server, on a line that fails."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.acquisition.storage.server import BUCKET, Line, relayed
from tests.tiering.site import Site

from forebay.acquisition.errors import RunNotFoundError
from forebay.opening import open_run
from forebay.tiering import connect
from forebay.tiering.errors import PlaceUnavailableError, TargetTakenError
from forebay.tiering.handoff.contents import contents_of
from forebay.tiering.handoff.destination import destination_at
from forebay.tiering.handoff.sending import Sent, Transfer

pytestmark = pytest.mark.s3


@pytest.fixture
def line() -> Line:
    """What decides of the requests that are made."""
    return Line()


@pytest.fixture
def url(server: int, line: Line, quick: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A prefix of the bucket, reached by way of the line."""
    quickly = {
        "max_retries": 2,
        "retry_timeout": timedelta(seconds=5),
        "backoff": {
            "init_backoff": timedelta(milliseconds=1),
            "max_backoff": timedelta(milliseconds=2),
            "base": 2,
        },
    }
    monkeypatch.setattr(connect, "RETRIES", quickly)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "hush",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    with relayed(server, line) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        yield f"s3://{BUCKET}/{quick.name}"


def send(run: Path | str, to: Path | str) -> Sent:
    """Send a run."""
    contents = contents_of(run)
    destination = destination_at(to, contents.name)
    return Transfer(contents, destination, contents.own_shelf).run()


def test_a_run_goes_to_a_bucket_and_on_to_a_folder(site: Site, url: str) -> None:
    """It is known again there, and what is there already is left alone."""
    sent = send(site.runs / "water", url)
    assert open_run(f"{url}/water").verify().ok
    assert send(site.runs / "water", url).state == "there already"
    away = site.folder / "away"
    away.mkdir()
    onward = send(f"{url}/water", away)
    assert onward.receipt.manifest == sent.receipt.manifest
    assert open_run(away / "water").verify().ok
    assert send(f"{url}/water", away).state == "there already"
    site.record("other")
    contents = contents_of(site.runs / "other", name="water")
    with pytest.raises(TargetTakenError, match="holds another run"):
        Transfer(contents, destination_at(url, "water"), contents.own_shelf).run()


def test_nothing_is_seen_of_a_run_whose_line_was_cut_and_the_rest_is_sent_later(
    site: Site, url: str, line: Line
) -> None:
    line.cut(12)
    with pytest.raises(PlaceUnavailableError, match="check the network") as told:
        send(site.runs / "water", url)
    assert "hush" not in str(told.value)
    line.always("pass")
    with pytest.raises(RunNotFoundError):
        open_run(f"{url}/water")
    sent = send(site.runs / "water", url)
    # The manifest is one of those that had got through.
    assert sent.sent_objects == sent.receipt.objects - 11
    assert open_run(f"{url}/water").verify().ok


def test_a_server_that_is_busy_now_and_then_costs_time_only(
    site: Site, url: str, line: Line
) -> None:
    requests = iter(range(10**6))
    line.fate = lambda method, path: "busy" if next(requests) % 4 == 3 else "pass"
    send(site.runs / "water", url)
    assert line.harmed > 5
    line.always("pass")
    assert open_run(f"{url}/water").verify().ok


def test_a_bucket_that_is_not_there_or_not_ours(site: Site, url: str, line: Line) -> None:
    with pytest.raises(PlaceUnavailableError, match="no-such-bucket"):
        send(site.runs / "water", "s3://no-such-bucket/runs")
    line.always("forbid")
    with pytest.raises(PlaceUnavailableError, match="check the credentials"):
        send(site.runs / "water", url)
