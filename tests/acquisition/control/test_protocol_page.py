"""The page on the protocol says what an acquisition does."""

import re
import socket
from pathlib import Path
from typing import get_args

from tests.acquisition.control.conftest import SECONDS
from tests.acquisition.control.serving import serving

from forebay.acquisition.control.connection import OUTGOING_BYTES
from forebay.acquisition.control.messages import LINE_BYTES, Event, Request
from forebay.acquisition.control.server import ANNOUNCEMENTS, CLIENTS

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "control-protocol.md"


def table(heading: str) -> dict[str, str]:
    """Return the rows of the table under a heading, its head too: first column, and the rest."""
    section = PAGE.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \|(.*)$", section, re.MULTILINE))


def test_the_conversation_goes_as_it_stands_there(tmp_path: Path, runtime_folder: Path) -> None:
    example = PAGE.read_text().partition("<!-- example: conversation -->\n```text\n")[2]
    spoken = example.partition("```")[0].splitlines()
    with serving(tmp_path / "run") as recording, socket.socket(socket.AF_UNIX) as client:
        client.settimeout(SECONDS)
        client.connect(str(runtime_folder / f"{recording.writer.layout.run_id}.sock"))
        with client.makefile("r") as answers:
            for line in spoken:
                speaker, said = line[:3], line[3:]
                if speaker == "C: ":
                    client.sendall(f"{said}\n".encode())
                else:
                    if "closed" in said:
                        recording.finish()
                    assert answers.readline() == f"{said}\n"


def test_every_request_and_event_is_described_with_its_fields() -> None:
    for heading, union, tag in (("Requests", Request, "request"), ("Events", Event, "event")):
        described = table(heading)
        models = {
            get_args(model.model_fields[tag].annotation)[0]: model
            for model in get_args(union.__value__)
        }
        assert set(described) == {tag, *models}
        for name, model in models.items():
            for field in set(model.model_fields) - {"version", tag}:
                assert f"`{field}`" in described[name], (name, field)


def test_the_limits_are_those_of_the_code() -> None:
    page = " ".join(PAGE.read_text().split())
    assert f"{LINE_BYTES:,} bytes at most".replace(",", " ") in page
    assert f"{CLIENTS} at a time" in page
    assert f"the latest {ANNOUNCEMENTS} events" in page
    assert f"more than {OUTGOING_BYTES // 1024} KiB" in page
