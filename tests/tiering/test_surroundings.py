"""What surrounds a mover is not as it should be: its clock, its file system."""

import errno
import os

import pytest
from tests.tiering.site import Killed, Site, killed_at

from forebay.tiering.catalogue.records import MoveState
from forebay.tiering.handoff.contents import contents_of
from forebay.tiering.handoff.destination import FolderDestination
from forebay.tiering.handoff.exporting import export_run
from forebay.tiering.handoff.importing import import_run
from forebay.tiering.handoff.sending import Transfer


@pytest.mark.parametrize("seconds", [-86_400, 86_400])
@pytest.mark.parametrize("point", [2, 12, 30, 44])
def test_a_clock_that_steps_in_the_middle_of_a_move_loses_nothing(
    site: Site, point: int, seconds: float
) -> None:
    """Back or ahead by a day, as a mover dies: another one ends the move, if later."""
    site.plan("cold")
    with pytest.raises(Killed):
        site.mover(killed_at(point)).work()
    site.pass_by(seconds)
    site.check_readable()
    site.work()
    site.check_readable()
    site.pass_by(86_400)
    site.settle()
    assert site.lies_in() == {"cold"}
    site.check_readable()


def test_a_file_system_without_hard_links_can_hold_a_tier(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As FAT, and some of those that are mounted from elsewhere; only recorders need them."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    for tier in ("cold", "packed", "hot"):
        assert site.move(tier).state is MoveState.DONE
        assert site.lies_in() == {tier}
        site.check_readable()
    away = site.folder / "away"
    away.mkdir()
    contents = contents_of(site.runs / "water")
    Transfer(contents, FolderDestination(away, "water"), contents.own_shelf).run()
    export_run(contents, site.folder / "bundle")
    (away / "again").mkdir()
    assert import_run(site.folder / "bundle", away / "again").run == "water"
