"""Other engines and queues, doing the same work; ``uv sync --group peers`` installs them."""
