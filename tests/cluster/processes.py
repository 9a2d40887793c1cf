"""Which processes a test has started and not ended."""

import psutil


def children() -> set[int]:
    """The processes that descend from this one; Python keeps two of its own for the rest of it."""
    this = psutil.Process()
    lasting = {
        child.pid
        for child in this.children()
        if any(
            name in word for name in ("resource_tracker", "forkserver") for word in child.cmdline()
        )
    }
    there = (child for child in this.children(recursive=True) if child.is_running())
    return {child.pid for child in there if child.pid not in lasting}
