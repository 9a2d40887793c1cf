"""The template for AWS is valid, and allows what the code asks for."""

import re
from pathlib import Path

import forebay.cluster

FOLDER = Path(forebay.cluster.__file__).parent
TEMPLATE = FOLDER / "deploy" / "cloudformation.yaml"


def test_the_template_is_valid() -> None:
    """By AWS's own rules for resources and their properties."""
    from cfnlint.api import lint_file

    assert [str(each) for each in lint_file(TEMPLATE)] == []


def test_every_question_that_the_code_asks_is_allowed() -> None:
    """What is called on a client stands in the policy, under the name that AWS has for it."""
    policy = TEMPLATE.read_text()
    asked = {
        name
        for file in (FOLDER / "aws").glob("*.py")
        for name in re.findall(
            r"\b(describe_\w+|terminate_instances|list_task\w*|run_task|stop_task|put_parameter|"
            r"delete_parameters|get_parameter|register_task_definition|deregister_task_definition|"
            r"get_instance_profile|get_role|get_console_output)\b",
            file.read_text(),
        )
    }
    assert len(asked) > 12
    for name in asked:
        action = "".join(part.capitalize() for part in name.split("_"))
        assert re.search(rf":{action}\b", policy), action
