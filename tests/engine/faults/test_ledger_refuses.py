"""A ledger without room, one that may not be written, and one that is damaged."""

import contextlib
import shutil
from pathlib import Path

import pytest
from tests.engine.faults.conftest import GiveRun
from tests.engine.faults.site import Site, until, with_own_mounts

from forebay.errors import ExitCode

pytestmark = pytest.mark.fault

ON_A_SMALL_DISK = (
    'cp -r "$0" "$0-before" && mount -t tmpfs -o size=8m none "$0" && '
    'cp "$0-before"/* "$0" && exec "$@"'
)
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'


def test_work_waits_for_room_and_goes_on(site: Site, give_run: GiveRun) -> None:
    disk = site.folder / "disk"
    disk.mkdir()
    site.move_ledger(disk / "ledger.sqlite")
    job = site.submit(give_run(60), seconds=0.05)
    service = site.serve(before=with_own_mounts(ON_A_SMALL_DISK, disk))
    service.wait_for("published", 4)
    seen = Path(f"/proc/{service.pid}/root{disk}")
    with contextlib.suppress(OSError), (seen / "ballast").open("wb", buffering=0) as ballast:
        while ballast.write(bytes(4096)):
            pass
    until(lambda: "trying again in" in service.errors, "that there is no room")
    assert f"the ledger {disk}/ledger.sqlite cannot be used: database or disk is full" in (
        service.errors
    )
    (seen / "ballast").unlink()
    service.wait_for("ready", 2)
    service.wait_for("published", 60)
    # What is published twice would be told twice.
    units = [each["unit"] for each in service.told("published")]
    assert len(units) == len(set(units)) == 60
    # SQLite follows links to what is outside; files are copied as they are.
    for name in ("ledger.sqlite", "ledger.sqlite-wal"):
        shutil.copyfile(seen / name, disk / name)
    site.check(job)
    assert service.end() == 0


def test_a_ledger_that_cannot_be_used_is_named(site: Site, give_run: GiveRun) -> None:
    """Nothing is made of it, and what was published is there when it can be used again."""
    disk = site.folder / "disk"
    disk.mkdir()
    ledger = disk / "ledger.sqlite"
    site.move_ledger(ledger)
    job = site.submit(give_run(24), seconds=0.05)
    service = site.serve()
    service.wait_for("published", 4)
    assert service.end() == 0
    done = site.units("done")
    assert 4 <= len(done) < 24
    assert not ledger.with_name("ledger.sqlite-wal").exists()

    sound = ledger.read_bytes()
    started = {"read-only": site.serve(ready=False, before=with_own_mounts(READ_ONLY, disk))}
    until(lambda: started["read-only"].process.poll() is not None, "its end")
    ledger.write_bytes(sound[:4096] + b"\xa5" * (len(sound) - 4096))
    started["damaged"] = site.serve(ready=False)
    for what, each in started.items():
        assert each.ended() == ExitCode.STORAGE, (what, each.errors)
        assert each.errors.startswith("forebay: error: the ledger ")
        assert "cannot be used: " in each.errors
        assert each.events == []

    for rest in disk.glob("ledger.sqlite-*"):
        rest.unlink()
    ledger.write_bytes(sound)
    assert site.units("done") == done
    service = site.serve()
    site.check(job)
    assert len(service.told("published")) == 24 - len(done)
    assert service.end() == 0
    site.check_nobody_is_there()
