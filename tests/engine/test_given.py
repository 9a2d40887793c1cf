"""What public functions are given that is of another type is refused in words, before any work."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from tests.engine.conftest import WriteRun

import forebay
from forebay.engine import (
    REGISTRY,
    Blockwise,
    RecallAgreement,
    Sequential,
    SubmittedJob,
    algorithm,
    open_result,
    process,
    reprocess,
    reproduce,
    submit,
)
from forebay.engine.errors import EngineError


class Wrong:
    """Of no type that anything asks for."""

    def __repr__(self) -> str:
        return "Wrong()"


def arguments(function: Callable[..., Any]) -> list[str]:
    """Return the names of a function's arguments but its first one."""
    named = inspect.signature(function).parameters.values()
    return [each.name for each in named if each.kind is inspect.Parameter.KEYWORD_ONLY]


@pytest.mark.parametrize(
    ("function", "name"),
    [(each, name) for each in (process, reprocess, submit, reproduce) for name in arguments(each)],
    ids=lambda each: each if isinstance(each, str) else each.__name__,
)
def test_wrong_types_are_refused_before_any_work(
    write_run: WriteRun, function: Callable[..., Any], name: str
) -> None:
    """Python's own errors told of the insides of the engine; some came when all was computed."""
    run = write_run()
    assert run.path is not None
    before = sorted(run.path.parent.rglob("*"))
    first = str(run.path) if function is reproduce else [run] if function is reprocess else run
    with pytest.raises(EngineError, match=rf"{name} cannot be Wrong\(\): give \w+"):
        function(first, "find-particles", **{name: Wrong()})
    assert sorted(run.path.parent.rglob("*")) == before


CALLS: dict[str, Callable[[Any], Any]] = {
    "process": lambda wrong: process(wrong, "find-particles"),
    "reprocess": lambda wrong: reprocess(wrong, "find-particles"),
    "submit": lambda wrong: submit(wrong, "find-particles"),
    "reproduce": lambda wrong: reproduce(wrong, "find-particles"),
    "reproduce, algorithm": lambda wrong: reproduce("run", wrong),
    "open_result": open_result,
    "add": REGISTRY.add,
    "get": REGISTRY.get,
    "load": REGISTRY.load,
    "name": lambda wrong: algorithm(wrong, version="1.0.0")(lambda frames: frames),
    "function": algorithm("anything", version="1.0.0"),
    "needs": lambda wrong: algorithm("anything", version="1.0.0", needs=wrong)(len),
    "eager": lambda wrong: algorithm("anything", version="1.0.0", eager=wrong)(len),
    "halo_frames": lambda wrong: Blockwise(halo_frames=wrong),
    "state": lambda wrong: Sequential(state=wrong),
    "most_cost": lambda wrong: RecallAgreement(most_cost=wrong),
    "ledger": lambda wrong: SubmittedJob(wrong, 1),
    "number": lambda wrong: SubmittedJob("ledger.sqlite", wrong),
    "timeout": lambda wrong: SubmittedJob("ledger.sqlite", 1).wait(timeout=wrong),
    "stop": lambda wrong: SubmittedJob("ledger.sqlite", 1).wait(stop=wrong),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("wrong", [Wrong(), b"x", [Wrong()]], ids=repr)
def test_what_names_nothing_is_refused(call: Callable[[Any], Any], wrong: Any) -> None:
    """Also where it can be gone through, or is not true."""
    with pytest.raises(EngineError, match=r"Wrong\(\)|b'x'|120"):
        call(wrong)


def test_an_empty_answer_is_not_taken_for_none(write_run: WriteRun) -> None:
    """Neither is a number for True, nor a text for the list of its letters."""
    run = write_run()
    for wrong, told in [
        ({"stop": ""}, r"give Event\(...\) or None"),
        ({"force": 1}, "give True or False"),
        ({"results": "a\0b"}, r"such character as \\0"),
    ]:
        with pytest.raises(EngineError, match=told):
            forebay.process(run, "find-particles", **wrong)  # type: ignore[arg-type]
    with pytest.raises(EngineError, match=r"modules cannot be 'mine\.py': give a list"):
        reproduce(str(run.path), "find-particles", modules="mine.py")
    with pytest.raises(EngineError, match="needs cannot be ''"):
        algorithm("anything", version="1.0.0", needs="")(lambda frames: frames)  # type: ignore[arg-type]
