"""Sizes as they are given on the command line and in a configuration file."""

from forebay.cli.errors import OptionError

_UNITS = {
    f"{prefix}{unit}": base**power
    for unit, base, prefixes in (("iB", 1024, "KMGTP"), ("B", 1000, "kMGTP"))
    for power, prefix in enumerate(prefixes, start=1)
}


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


def size_written(count: int) -> str:
    """Return a size as it is written in a configuration file, to the byte.

    Examples
    --------
    >>> size_written(67108864), size_written(4_000_000_000), size_written(1001)
    ('64 MiB', '4 GB', '1001 B')
    """
    whole = [(count // each, name) for name, each in _UNITS.items() if count and not count % each]
    number, unit = min(whole, default=(count, "B"))
    return f"{number} {unit}"
