"""The policy of whoever starts clusters, as the template has it, and what it allows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import forebay.cluster

FOLDER = Path(forebay.cluster.__file__).parent
TEMPLATE = FOLDER / "deploy" / "cloudformation.yaml"
_FOR_ALL = {"sts:GetCallerIdentity"}
"""What AWS lets everybody do."""
_TAG = "forebay:cluster"


@dataclass(frozen=True)
class Asked:
    """A call of AWS."""

    action: str
    """What the policy calls it."""
    fields: dict[str, Any]
    """What was given."""


def statements() -> list[dict[str, Any]]:
    """Return the statements of the policy."""
    from cfnlint.decode import decode

    template, wrong = decode(str(TEMPLATE))
    assert not wrong
    policy: list[dict[str, Any]] = template["Resources"]["Starting"]["Properties"][
        "PolicyDocument"
    ]["Statement"]
    return policy


def actions(statement: dict[str, Any]) -> list[str]:
    """Return what a statement is about."""
    given = statement["Action"]
    return [given] if isinstance(given, str) else list(given)


def refused(asked: Sequence[Asked]) -> list[str]:
    """Return what the policy does not allow: actions, parameters and tags that are none of ours."""
    return sorted({why for each in asked for why in _refusals(each)})


def _refusals(asked: Asked) -> Iterator[str]:
    action, fields = asked.action, asked.fields
    about = [each for each in statements() if action in actions(each)]
    if not about and action not in _FOR_ALL:
        yield f"{action} is in no statement"
    if action.startswith("ssm:"):
        for name in [*fields.get("Names", []), *filter(None, [fields.get("Name")])]:
            ours = (_sub(each).rpartition(":parameter")[2] for each in about)
            if not any(fnmatchcase(name, each) for each in ours):
                yield f"{action} of {name}"
    if action == "ec2:RunInstances":
        given = {each["ResourceType"]: each["Tags"] for each in fields["TagSpecifications"]}
        for kind in ("instance", "volume"):
            if _TAG not in {each["Key"] for each in given.get(kind, [])}:
                yield f"{action} without the tag {_TAG} of the {kind}"
        if more := given.keys() - {"instance", "volume"}:
            yield f"{action} with tags of {', '.join(more)}"
    if action == "ecs:RunTask" and _TAG not in {each["key"] for each in fields["tags"]}:
        yield f"{action} without the tag {_TAG}"
    if action == "ecs:RegisterTaskDefinition":
        ours = (_sub(each).rpartition("task-definition/")[2] for each in _named("ecs:TagResource"))
        if not any(fnmatchcase(fields["family"], each) for each in ours if each):
            yield f"{action} with tags, called {fields['family']}"


def _named(action: str) -> list[dict[str, Any]]:
    return [
        {"Resource": resource}
        for each in statements()
        if action in actions(each)
        for resource in each["Resource"]
    ]


def _sub(statement: dict[str, Any]) -> str:
    resource = statement["Resource"]
    return str(resource["Fn::Sub"]) if isinstance(resource, dict) else str(resource)
