"""Each request does what it says, and one that is none is answered with what is wrong."""

import socket
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.acquisition.control.conftest import RUN, Remembering
from tests.acquisition.control.raw_client import RawClient

from forebay.acquisition.control import ControlClient, ControlServer
from forebay.acquisition.control.errors import RequestError
from forebay.acquisition.control.messages import LINE_BYTES
from forebay.acquisition.errors import ControlError


def test_status_gives_what_the_acquisition_says(
    server: ControlServer, controlled: Remembering
) -> None:
    controlled.found = {"run": Path("/data/a"), "rate": float("nan"), "flow": "normal"}
    with ControlClient(RUN) as client:
        assert client.request("status") == {"run": "/data/a", "rate": None, "flow": "normal"}


def test_what_is_asked_reaches_the_acquisition(
    server: ControlServer, controlled: Remembering
) -> None:
    with ControlClient(RUN) as client:
        client.request("annotate", text=" lamp replaced\nby Ada ")
        client.request("mark", name="pump on")
        client.request("mark", name="pump off", text="leak")
        client.request("reduce", level=2)
        client.request("reduce", level=0, seconds=60)
        client.request("stop")
        client.request("stop", reason="sample dried")
    assert controlled.asked == [
        ("note", "annotation", "lamp replaced\nby Ada"),
        ("note", "event", "pump on"),
        ("note", "event", "pump off: leak"),
        ("reduce", "2", "10.0"),
        ("reduce", "0", "60.0"),
        ("stop", "stopped by the operator"),
        ("stop", "sample dried"),
    ]


def test_a_client_can_be_reached_by_the_path_of_its_socket(
    server: ControlServer, runtime_folder: Path
) -> None:
    with ControlClient(runtime_folder / f"{RUN}.sock") as client:
        assert client.request("status")["flow"] == "normal"


def test_what_the_acquisition_refuses_is_told_to_who_asked(server: ControlServer) -> None:
    with ControlClient(RUN) as client:
        with pytest.raises(RequestError, match="has begun already"):
            client.request("start")
        assert client.request("status")["flow"] == "normal"


def test_a_defect_in_the_acquisition_ends_neither_the_server_nor_the_connection(
    server: ControlServer, controlled: Remembering, caplog: pytest.LogCaptureFixture
) -> None:
    with ControlClient(RUN) as client:
        with pytest.raises(RequestError, match="ZeroDivisionError: one by nothing"):
            client.request("annotate", text="defect")
        assert "the request annotate failed" in caplog.text
        controlled.found = {"long": "x" * LINE_BYTES}
        with pytest.raises(RequestError, match="and a line 65536 at most"):
            client.request("status")
        client.request("annotate", text="fine")
    assert controlled.asked == [("note", "annotation", "fine")]


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        (b"", "the line is no JSON"),
        (b"status", "the line is no JSON"),
        (b"\xff\xfe", "the line is no JSON"),
        (b"[" * 5000, "recursion limit"),
        (b"[1]", "the line is no JSON object"),
        (b"{}", "no field 'request'"),
        (b'{"version": 1, "request": "stpo"}', "there is no request 'stpo'; there are 'status'"),
        (b'{"version": 1, "request": ["status"]}', "there is no request"),
        (b'{"request": "status"}', "status: the field 'version' is missing"),
        (b'{"version": 2, "request": "status"}', "this acquisition speaks version 1"),
        (b'{"version": true, "request": "status"}', "this acquisition speaks version 1"),
        (b'{"version": 1.0, "request": "status"}', "this acquisition speaks version 1"),
        (b'{"version": 1, "request": "reduce", "level": true}', "reduce: level: Input should be a"),
        (b'{"version": 1, "request": "status", "of": 1}', "status: it has no field 'of'"),
        (b'{"version": 1, "request": "mark"}', "mark: the field 'name' is missing"),
        (b'{"version": 1, "request": "reduce", "level": 9}', "reduce: level: Input should be less"),
        (
            b'{"version": 1, "request": "reduce", "level": 1, "seconds": 0}',
            "reduce: seconds: Input",
        ),
        (b'{"version": 1, "request": "mark", "name": 7}', "mark: name: Input should be a valid"),
        (b'{"version": 1, "request": "mark", "name": "a\\nb"}', "control character '\\n'"),
        (b'{"version": 1, "request": "annotate", "text": "\\u001b[2J"}', "control character"),
        (b'{"version": 1, "request": "annotate", "text": "\\ud800"}', "the line is no JSON"),
        (b'{"version": 1, "request": "annotate", "text": "  "}', "at least 1 character"),
    ],
)
def test_a_bad_request_is_answered_with_what_is_wrong(
    server: ControlServer, runtime_folder: Path, line: bytes, wrong: str
) -> None:
    with RawClient(runtime_folder) as client:
        answer = client.ask(line)
        assert not answer["ok"]
        assert wrong in answer["error"]
        assert client.ask(b'{"version": 1, "request": "status"}')["ok"]


@given(lines=st.lists(st.binary(max_size=300), min_size=1, max_size=4))
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_bytes_are_answered_and_the_server_goes_on(
    server: ControlServer, runtime_folder: Path, lines: list[bytes]
) -> None:
    sent = b"".join(line + b"\n" for line in lines)
    with RawClient(runtime_folder) as client:
        client.socket.sendall(sent)
        for _ in range(sent.count(b"\n")):
            assert not client.read()["ok"]
        assert client.ask(b'{"version": 1, "request": "status"}')["ok"]


def test_requests_may_come_in_pieces_and_many_at_once(
    server: ControlServer, runtime_folder: Path, controlled: Remembering
) -> None:
    marks = b"".join(
        b'{"version": 1, "request": "mark", "name": "%d"}\n' % number for number in range(300)
    )
    with RawClient(runtime_folder) as client:
        for start in range(0, len(marks), 1000):
            client.socket.sendall(marks[start : start + 1000])
        assert all(client.read()["ok"] for _ in range(300))
    assert controlled.asked == [("note", "event", str(number)) for number in range(300)]


def test_who_sends_much_and_reads_nothing_is_not_read_from_any_more(
    server: ControlServer, runtime_folder: Path
) -> None:
    """What is kept of a client stays bounded, and the others are answered."""
    with RawClient(runtime_folder) as greedy, ControlClient(RUN) as other:
        greedy.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            greedy.socket.sendall(b"\n" * 16 * 2**20)
        assert other.request("status")["flow"] == "normal"


def test_a_line_without_an_end_ends_the_connection(
    server: ControlServer, runtime_folder: Path
) -> None:
    with RawClient(runtime_folder) as client:
        client.socket.sendall(b"x" * (LINE_BYTES - 1) + b"\n")
        assert "the line is no JSON" in client.read()["error"]
        client.socket.sendall(b"x" * LINE_BYTES)
        assert "a line has at most 65536 bytes" in client.read()["error"]
        assert client.lines.read() == b""
    with ControlClient(RUN) as other:
        assert other.request("status")
        with pytest.raises(RequestError, match="65536 are the most"):
            other.request("annotate", text="x" * LINE_BYTES)


def test_a_client_that_sends_no_more_still_gets_its_answers(
    server: ControlServer, runtime_folder: Path
) -> None:
    """So ``socat`` and the like can be used, which close their side behind the last line."""
    with RawClient(runtime_folder) as client:
        client.socket.sendall(b'{"version": 1, "request": "status"}\n' * 3 + b'{"version"')
        client.socket.shutdown(socket.SHUT_WR)
        assert [client.read()["ok"] for _ in range(3)] == [True] * 3
        assert client.lines.read() == b""


def test_an_acquisition_that_does_not_answer_is_named(
    server: ControlServer, controlled: Remembering
) -> None:
    controlled.hold.clear()
    with ControlClient(RUN, timeout=0.1) as client:
        with pytest.raises(ControlError, match=r"does not answer within 0\.1 s"):
            client.request("status")
        controlled.hold.set()


def test_a_client_is_told_that_the_acquisition_has_ended(controlled: Remembering) -> None:
    with ControlServer(RUN, controlled):
        client = ControlClient(RUN)
    with client, pytest.raises(ControlError, match=r"that was writing run .* is gone"):
        client.request("status")
    with pytest.raises(ControlError, match="no acquisition of this user is writing run"):
        ControlClient(RUN)


def test_something_else_at_the_socket_is_noticed(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "other"))
        listener.listen()
        with ControlClient(tmp_path / "other") as client:
            accepted, _ = listener.accept()
            with accepted:
                accepted.sendall(b"220 smtp ready\n")
                with pytest.raises(ControlError, match="none of this protocol, version 1"):
                    next(client.events(threading.Event()))
