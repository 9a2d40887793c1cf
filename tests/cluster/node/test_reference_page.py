"""The reference page lists what is looked at and wanted, as the code has it."""

import re
import subprocess
from pathlib import Path

import pytest

from forebay.cluster.node import Role
from forebay.cluster.node.doctor import CHECKS
from forebay.cluster.node.wanted import (
    ARGUMENTS,
    ATTRIBUTES,
    DISK_ATTRIBUTES,
    LIMITS,
    SYSCTLS,
)
from forebay.cluster.node.wishes import DiskAttribute, Wish

DOCS = Path(__file__).parents[3] / "docs"
WISHES: tuple[Wish, ...] = (*SYSCTLS, *ATTRIBUTES, *DISK_ATTRIBUTES, *LIMITS, *ARGUMENTS)


def row(wish: Wish) -> str:
    """Return the line of the page that tells of a wish."""
    name = f"{wish.key}, {wish.kind}" if isinstance(wish, DiskAttribute) else wish.key
    told = [wish.told(role) for role in Role]
    return f"| {' | '.join([name, *told])} |"


def test_every_wish_stands_on_the_page_with_its_values() -> None:
    page = (DOCS / "reference" / "machine-checks.md").read_text().splitlines()
    assert [row(wish) for wish in WISHES if row(wish) not in page] == []


def test_every_check_stands_on_the_page() -> None:
    page = (DOCS / "reference" / "machine-checks.md").read_text()
    by_wish = ("kernel parameter", "socket buffers", "dirty data", "huge pages", "limit of")
    missing = [
        check.name
        for check in CHECKS
        if not check.name.startswith(by_wish) and f"| {check.name} |" not in page
    ]
    assert missing == []


@pytest.mark.parametrize("page", ["how-to/profile-a-unit.md", "explanation/dma-paths.md"])
def test_commands_that_need_other_machines_are_bash(page: str) -> None:
    """They need root, hardware and tools that are not here; their grammar does not."""
    blocks = re.findall(
        r"^```bash\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL
    )
    assert blocks
    for block in blocks:
        ended = subprocess.run(
            ["bash", "-n"], input=block, capture_output=True, text=True, check=False
        )
        assert ended.stderr == ""
