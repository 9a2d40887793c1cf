"""Storage of results that is full for a while: nothing is lost, and nothing is given up."""

import contextlib
import shutil
from pathlib import Path

import pytest
from tests.engine.faults.conftest import GiveRun
from tests.engine.faults.site import Site, until, with_own_mounts

pytestmark = pytest.mark.fault

BLOCKS = 40
ON_A_SMALL_DISK = 'mount -t tmpfs -o size=6m none "$0" && exec "$@"'


def test_what_needs_it_waits_for_room_and_the_rest_goes_on(site: Site, give_run: GiveRun) -> None:
    """No unit has used up a retry for it, and `jobs explain` says what is wrong."""
    run, other = give_run(BLOCKS), give_run(12, "other")
    disk = site.results / run.name
    disk.mkdir(parents=True)
    job = site.submit(run, seconds=0.05)
    service = site.serve(before=with_own_mounts(ON_A_SMALL_DISK, disk))
    service.wait_for("published", 4)
    seen = Path(f"/proc/{service.pid}/root{disk}")
    with contextlib.suppress(OSError), (seen / "ballast").open("wb", buffering=0) as ballast:
        while ballast.write(bytes(4096)):
            pass
    until(lambda: "what needs it waits" in service.errors, "that there is no room")
    assert "cannot be written: No space left on device" in service.errors
    site.check(site.submit(other, seconds=0.01))

    def explained() -> bool:
        return any("No space left on device" in reason for reason in job.explain().reasons)

    # Now and then one of them is tried.
    until(explained, "that it is explained")
    assert not job.record().ended
    (seen / "ballast").unlink()
    until(lambda: job.record().ended, "the end of the job", seconds=120)
    # What is looked at below is a copy: it must not have what the service is about to remove.
    until(lambda: not [*seen.glob("*/staging/*")], "that nothing is staged")
    for name in seen.iterdir():
        shutil.copytree(name, disk / name.name)
    site.check(job)
    assert site.attempts("input-output") == {}
    assert service.end() == 0
