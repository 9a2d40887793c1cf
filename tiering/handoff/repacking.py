"""Sending a run whose frames are packed otherwise where it goes to."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from forebay.acquisition.format.codec import CompressionName
from forebay.acquisition.run.recompress import recompress, recompressed_id
from forebay.tiering.errors import PlaceUnavailableError
from forebay.tiering.handoff.aside import emptied, held_folder
from forebay.tiering.handoff.contents import Contents, contents_of
from forebay.tiering.handoff.destination import Destination, check_target
from forebay.tiering.handoff.sending import Sent, sent_already


def send_repacked(
    contents: Contents,
    destination: Destination,
    compression: CompressionName,
    scratch: Path,
    *,
    send: Callable[[Contents], Sent],
    on_block: Callable[[], None] = lambda: None,
) -> Sent:
    """Pack the frames of a run anew, and send that.

    What is sent is another run, with an identity that follows from the first one and from the
    compression: so an interrupted transfer goes on, and one that is done is known again.

    Parameters
    ----------
    contents
        The run.
    destination
        Where it goes.
    compression
        How the frames are to be packed there.
    scratch
        A folder with room for the new run, which goes when it has been sent.
    send
        Sends what it is given.
    on_block
        Called after each block that is packed, to show progress.

    Raises
    ------
    TargetTakenError
        If something else is at the target.
    RunDamagedError
        If a block is missing or has changed, or what was packed does not give back its pixels.
    HandoffBusyError
        If another process does the same.
    PlaceUnavailableError, StorageError
        If the folder cannot be used; and what `send` raises.
    """
    if contents.run.layout.compression.name == compression:
        return send(contents)
    identity = recompressed_id(contents.run, compression)
    check_target(destination.shelf, identity)
    done = sent_already(identity, destination, contents.own_shelf)
    if done is not None:
        return done
    with _repacked(contents, compression, scratch, identity, on_block) as packed:
        return send(packed)


@contextmanager
def _repacked(
    contents: Contents,
    compression: CompressionName,
    scratch: Path,
    identity: str,
    on_block: Callable[[], None],
) -> Iterator[Contents]:
    """Give what an earlier attempt has packed already, or pack it now."""
    if not scratch.is_dir():
        raise PlaceUnavailableError(
            f"{scratch} cannot be used: there is no such folder; make it, or mount what it is on"
        )
    with held_folder(scratch.absolute() / f".{contents.name}.{identity}") as folder:
        ready = folder / "ready"
        if not ready.is_dir():
            making = emptied(folder) / "making"
            path = making / contents.name
            recompress(contents.run, path, compression, on_block=lambda _: on_block())
            # It has this name only when its pixels have been compared.
            making.rename(ready)
        yield contents_of(ready / contents.name)
