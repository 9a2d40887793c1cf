"""What runs in the container of a machine of AWS: the scheduler, or a worker.

``python -m forebay.cluster.aws.node scheduler|worker …``: fetches the certificates of the cluster
with the role of the machine.  It ends when the cluster does; the machine ends with it.
"""

import argparse
import sys
from collections.abc import Sequence

from forebay.cluster.aws import certificates
from forebay.cluster.keeping import container


def main(given: Sequence[str] | None = None) -> int:
    """Run what the machine is for, until it is over."""
    parser = argparse.ArgumentParser(prog="python -m forebay.cluster.aws.node")
    parser.add_argument("--region", required=True, help="region of the certificates")
    parser.add_argument("--certificates", required=True, help="parameter with the certificates")
    return container.main(
        parser, lambda each: certificates.fetch(each.certificates, each.region), given
    )


if __name__ == "__main__":
    sys.exit(main())
