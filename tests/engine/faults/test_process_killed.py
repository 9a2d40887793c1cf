"""``forebay process`` that is killed and run again at once."""

import pytest
from tests.engine.faults.conftest import GiveRun
from tests.engine.faults.site import Site

from forebay.engine import SubmittedJob
from forebay.engine.queue.schema import JOBS

pytestmark = pytest.mark.fault


def test_it_goes_on_at_once(site: Site, give_run: GiveRun) -> None:
    """It waits for no lease, and computes nothing again but what was not published."""
    run = give_run(40)
    # Longer than anything is waited for.
    site.configure({"lease_seconds": 3600})
    words = ["process", run.location, "harmful", "--results", site.results, "--cluster", "none"]
    words += ["-p", f"log={site.folder / 'log-2'}", "-p", "seconds=0.05", "--json"]
    first = site.start(*words)
    first.wait_for("published", 7)
    first.kill()
    done = set(site.units("done"))
    open_frames = {row.start for row in site.rows_of_units() if row.unit not in done}
    assert 7 <= len(done) < 40
    assert site.units("running")
    second = site.start(*words)
    assert second.ended() == 0
    (told,) = second.told("done")
    assert told["computed"] == 40 - len(done)
    job = SubmittedJob(site.ledger, 2)
    begun = [first for _, first in site.begun(job)]
    again = {first for first in begun if begun.count(first) > 1}
    assert again <= open_frames
    (folder,) = (site.results / run.name).iterdir()
    site.check_result(run, folder)
    assert [row.state for row in site.rows(JOBS)] == ["cancelled", "done"]
    site.check_nobody_is_there()
