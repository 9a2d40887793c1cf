"""SeaweedFS on loopback: an S3 server that stores what it is given, and checks who signs."""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from tests.ports import free_ports

ACCESS_KEY, SECRET, REGION = "AKIAEXAMPLE", "hush", "us-east-1"
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_LISTENING = ("master", "volume", "filer", "s3")
_OFF = ("s3.port.iceberg", "s3.port.lance")


@contextmanager
def running_seaweedfs(*buckets: str, folder: Path | None = None) -> Iterator[int]:
    """Run the server with empty buckets; give its port.

    Parameters
    ----------
    buckets
        Their names.
    folder
        Where a folder for what it stores is made; memory if not given.
    """
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="fb-", dir=folder or (memory if memory.is_dir() else None)
    ) as temporary:
        root = Path(temporary)
        names = [f"{name}.port{kind}" for name in _LISTENING for kind in ("", ".grpc")]
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        settings: dict[str, Any] = {
            "dir": root,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "s3": "true",
            "s3.config": _identity(root / "s3.json"),
            "master.telemetry": "false",
            "master.volumeSizeLimitMB": 256,
            "volume.max": 40,
            **ports,
            **dict.fromkeys(_OFF, 0),
        }
        program = Path(sys.executable).with_name("weed")
        command = [str(program), "server", *(f"-{name}={each}" for name, each in settings.items())]
        with (root / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=root)
            try:
                _make_buckets(ports["s3.port"], buckets, process, root / "log")
                yield ports["s3.port"]
            finally:
                process.kill()
                process.wait(_STOP_SECONDS)


def _identity(path: Path) -> Path:
    keys = [{"accessKey": ACCESS_KEY, "secretKey": SECRET}]
    path.write_text(
        json.dumps({"identities": [{"name": "lab", "credentials": keys, "actions": ["Admin"]}]})
    )
    return path


def _make_buckets(
    port: int, buckets: tuple[str, ...], process: "subprocess.Popen[bytes]", log: Path
) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET,
        region_name=REGION,
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=20),
    )
    deadline = time.monotonic() + _START_SECONDS
    left = list(buckets)
    with contextlib.closing(client):
        while left:
            try:
                client.create_bucket(Bucket=left[-1])
                # A volume to write to is only there when the first object is.
                client.put_object(Bucket=left[-1], Key="ready", Body=b"ready")
                client.delete_object(Bucket=left.pop(), Key="ready")
            except (BotoCoreError, ClientError) as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"weed did not start: {log.read_text()}") from error
                time.sleep(0.05)
