"""Sizes as they are given on the command line."""

from forebay.cli.errors import OptionError


def size_given(option: str, text: str) -> int:
    """Return the bytes that an option is given.

    Raises
    ------
    OptionError
        If that is no size, or nothing.

    Examples
    --------
    >>> size_given("--rate", "100 MB")
    100000000
    """
    # It takes a tenth of a second to import, and few commands have such an option.
    from pydantic import ByteSize, TypeAdapter, ValidationError

    try:
        found = int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError as error:
        raise OptionError(f"{option} {text!r} is no size: give one such as '100 MB'") from error
    if found <= 0:
        raise OptionError(f"{option} {text!r} is nothing: give more than 0 bytes")
    return found
