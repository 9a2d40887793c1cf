"""Whether a home is still that of the run that left it."""

from forebay.acquisition.errors import RunDamagedError
from forebay.acquisition.format.record import Created, decode_line
from forebay.tiering.errors import RunNotTieredError


def check_own(line: bytes, *, run_id: str, location: str) -> None:
    """Refuse a home that was emptied, and that another run was recorded into since.

    Parameters
    ----------
    line
        The first line of the first log that lies there; one that is damaged says nothing.
    run_id
        The run that was recorded there, as the catalogue knows it.
    location
        The home, for messages.

    Raises
    ------
    RunNotTieredError
        If there is another run.
    """
    try:
        first = decode_line(line, previous=None, where=location)
    except RunDamagedError:
        return
    if isinstance(first, Created) and first.attributes.get("run_id") != run_id:
        raise RunNotTieredError(
            f"{location} holds another run than the one that the catalogue knows by this name, and "
            "that was moved from there: move it to another name; then 'forebay tier scan --repair' "
            "makes a home for that one anew, and takes the other one in"
        )
