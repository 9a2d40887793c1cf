"""A run that is sent to a bucket of an S3 server, on a line that fails."""

from pathlib import Path

import pytest
from tests.acquisition.storage.server import Line
from tests.tiering.site import Site

from forebay.acquisition.errors import RunNotFoundError
from forebay.opening import open_run
from forebay.tiering.errors import PlaceUnavailableError, TargetTakenError
from forebay.tiering.handoff.contents import contents_of
from forebay.tiering.handoff.destination import destination_at
from forebay.tiering.handoff.sending import Sent, Transfer

pytestmark = pytest.mark.s3


def send(run: Path | str, to: Path | str) -> Sent:
    """Send a run."""
    contents = contents_of(run)
    destination = destination_at(to, contents.name)
    return Transfer(contents, destination, contents.own_shelf).run()


def test_a_run_goes_to_a_bucket_and_on_to_a_folder(site: Site, bucket: str) -> None:
    """It is known again there, and what is there already is left alone."""
    sent = send(site.runs / "water", bucket)
    assert open_run(f"{bucket}/water").verify().ok
    assert send(site.runs / "water", bucket).state == "there already"
    away = site.folder / "away"
    away.mkdir()
    onward = send(f"{bucket}/water", away)
    assert onward.receipt.manifest == sent.receipt.manifest
    assert open_run(away / "water").verify().ok
    assert send(f"{bucket}/water", away).state == "there already"
    site.record("other")
    contents = contents_of(site.runs / "other", name="water")
    with pytest.raises(TargetTakenError, match="holds another run"):
        Transfer(contents, destination_at(bucket, "water"), contents.own_shelf).run()


def test_nothing_is_seen_of_a_run_whose_line_was_cut_and_the_rest_is_sent_later(
    site: Site, bucket: str, line: Line
) -> None:
    line.cut(12)
    with pytest.raises(PlaceUnavailableError, match="check the network") as told:
        send(site.runs / "water", bucket)
    assert "hush" not in str(told.value)
    line.always("pass")
    with pytest.raises(RunNotFoundError):
        open_run(f"{bucket}/water")
    sent = send(site.runs / "water", bucket)
    # The manifest is one of those that had got through.
    assert sent.sent_objects == sent.receipt.objects - 11
    assert open_run(f"{bucket}/water").verify().ok


def test_a_server_that_is_busy_now_and_then_costs_time_only(
    site: Site, bucket: str, line: Line
) -> None:
    requests = iter(range(10**6))
    line.fate = lambda method, path: "busy" if next(requests) % 4 == 3 else "pass"
    send(site.runs / "water", bucket)
    assert line.harmed > 5
    line.always("pass")
    assert open_run(f"{bucket}/water").verify().ok


def test_a_bucket_that_is_not_there_or_not_ours(site: Site, bucket: str, line: Line) -> None:
    with pytest.raises(PlaceUnavailableError, match="no-such-bucket"):
        send(site.runs / "water", "s3://no-such-bucket/runs")
    line.always("forbid")
    with pytest.raises(PlaceUnavailableError, match="check the credentials"):
        send(site.runs / "water", bucket)
