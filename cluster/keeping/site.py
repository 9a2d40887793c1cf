"""What a site is called: what is left somewhere else is known by it."""

import os
import uuid
from pathlib import Path

from forebay.cluster.errors import ClusterError


def site_of(folder: Path) -> str:
    """Return the name of the site whose clusters a folder holds; it is made up once, and kept."""
    path = folder / "site"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            new = folder / f"site.{uuid.uuid4().hex}"
            with new.open("w") as file:
                file.write(uuid.uuid4().hex)
                file.flush()
                os.fsync(file.fileno())
            try:
                # Of several that do this at once, the first one names the site.
                os.link(new, path)
            except FileExistsError:
                pass
            finally:
                new.unlink()
        return path.read_text().strip()
    except OSError as error:
        raise ClusterError(
            f"{path} cannot be used ({error}): what this site has started is known by it"
        ) from error
