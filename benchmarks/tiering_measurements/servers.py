"""S3 servers on loopback to copy to; the environment names the one that runs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from tests.acquisition.storage.seaweedfs import ACCESS_KEY, REGION, SECRET, running_seaweedfs
from tests.acquisition.storage.server import BUCKET, running_server


@contextmanager
def s3_server(kind: Literal["seaweedfs", "moto"], folder: Path) -> Iterator[str]:
    """Run a server; give the name of its bucket, which rclone knows as one of ``lab:``.

    SeaweedFS keeps what it stores in the folder, moto in its memory.
    """
    running = running_seaweedfs(BUCKET, folder=folder) if kind == "seaweedfs" else running_server()
    with running as port:
        endpoint = f"http://127.0.0.1:{port}"
        os.environ |= {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ALLOW_HTTP": "true",
            # No configuration of whoever measures.
            "RCLONE_CONFIG": os.devnull,
            "RCLONE_CONFIG_LAB_TYPE": "s3",
            "RCLONE_CONFIG_LAB_PROVIDER": "Other",
            "RCLONE_CONFIG_LAB_ENV_AUTH": "true",
            "RCLONE_CONFIG_LAB_ENDPOINT": endpoint,
            "RCLONE_CONFIG_LAB_REGION": REGION,
        }
        yield BUCKET
