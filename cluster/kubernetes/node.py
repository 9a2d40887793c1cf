"""What runs in a pod: the scheduler, or a worker.

``python -m forebay.cluster.kubernetes.node scheduler|worker …``: its certificate is a secret of
Kubernetes, which it finds in files.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from forebay.cluster.keeping import container
from forebay.cluster.keeping.certificates import security_of


def main(given: Sequence[str] | None = None) -> int:
    """Run what the pod is for, until it is over."""
    parser = argparse.ArgumentParser(prog="python -m forebay.cluster.kubernetes.node")
    parser.add_argument("--certificate", type=Path, required=True, help="certificate, in PEM")
    parser.add_argument("--key", type=Path, required=True, help="its private key, in PEM")
    return container.main(
        parser, lambda each: security_of(str(each.certificate), str(each.key)), given
    )


if __name__ == "__main__":
    sys.exit(main())
