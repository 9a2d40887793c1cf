"""How numbers of things are written in messages."""


def counted(number: int, thing: str) -> str:
    """Return a number of things in words that fit it.

    Examples
    --------
    >>> counted(1, "dead letter"), counted(0, "unit"), counted(3, "unit")
    ('1 dead letter', '0 units', '3 units')
    """
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
