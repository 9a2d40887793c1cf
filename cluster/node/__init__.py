"""The machine itself: what is wrong with it for its role, tuning it, profiling on it."""

from forebay.cluster.node.errors import NodeError
from forebay.cluster.node.purpose import Purpose, Role
from forebay.cluster.node.settings import NodeSettings

__all__ = ["NodeError", "NodeSettings", "Purpose", "Role"]
