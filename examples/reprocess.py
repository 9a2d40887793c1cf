# /// script
# requires-python = ">=3.12"
# dependencies = ["forebay"]
# ///
"""Find particles in all runs of a folder, on a cluster on this machine.

Ctrl-C stops it and a further call goes on: what is done is not done again. Runs are recorded first
where there are none.

    python examples/reprocess.py [FOLDER]
"""

import sys
import tempfile
from pathlib import Path

import forebay
from forebay.cluster import LocalClusterSpecification, connect


def main(folder: Path) -> None:
    """Reprocess, and tell what is done and what is missing."""
    runs = [forebay.open_run(path) for path in forebay.find_runs(folder)]
    with connect(LocalClusterSpecification(workers=2)) as client:
        report = forebay.reprocess(runs, "find-particles", client=client, diameter=7, minmass=500)
    print(f"{report.computed} units computed now, {dict(report.progress.units)} in all")
    for letter in report.dead:
        print(f"missing: {letter.target.job.run_name} {letter.label}: {letter.error}")
    for error in report.progress.errors:
        print(f"missing: {error}")


def record(folder: Path) -> None:
    """Record three runs of a simulated microscope, where there are none."""
    for day in ("monday", "tuesday", "wednesday"):
        if not (folder / day).exists():
            with forebay.open_source("simulated:shape=96x96,emitters=8", frames=12) as camera:
                forebay.acquire(camera, folder / day, frames_per_block=2)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        chosen = Path(sys.argv[1] if len(sys.argv) > 1 else temporary)
        record(chosen)
        try:
            main(chosen)
        except KeyboardInterrupt:
            sys.exit(130)
