"""A flame graph: what called what, each as wide as the time that it took."""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self
from xml.sax.saxutils import escape, quoteattr

from forebay.cluster.node.profiling.stacks import Stack

_WIDTH, _ROW, _TOP = 1200.0, 18, 46
_LETTER = 6.6
_NARROWEST = 0.4


@dataclass(slots=True)
class _Node:
    name: str
    count: int = 0
    below: dict[str, Self] = field(default_factory=dict)

    @property
    def depth(self) -> int:
        return 1 + max((each.depth for each in self.below.values()), default=0)


def flame_graph(stacks: Mapping[Stack, int], *, title: str) -> str:
    """Draw samples as SVG, which any browser shows; each box tells of itself under the pointer.

    Parameters
    ----------
    stacks
        What was called, and how often that was seen.
    title
        What stands above.

    Examples
    --------
    >>> flame_graph({("f", "g"): 3}, title="a unit").count("<rect")
    4
    """
    root = _Node("all")
    for stack, count in stacks.items():
        node = root
        node.count += count
        for name in stack:
            node = node.below.setdefault(name, _Node(name))
            node.count += count
    height = _TOP + root.depth * _ROW + 10
    total = max(root.count, 1)
    boxes = "\n".join(_boxes(root, 0.0, _WIDTH / total, 0, total))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:g} {height}" '
        'font-family="monospace" font-size="11">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n'
        f'<text x="4" y="18" font-size="14">{escape(title)}</text>\n'
        f'<text x="4" y="36" fill="#666666">{root.count} samples; callers above, what they call '
        "below, as wide as its time</text>\n"
        f"{boxes}\n</svg>\n"
    )


def _boxes(node: _Node, x: float, scale: float, level: int, total: int) -> Iterator[str]:
    width = node.count * scale
    if width < _NARROWEST:
        return
    y = _TOP + level * _ROW
    told = f"{node.name}: {node.count} samples, {node.count / total:.1%}"
    letters = int((width - 4) / _LETTER)
    shown = node.name if len(node.name) <= letters else node.name[: letters - 1] + "…"
    text = f'<text x="{x + 2:.1f}" y="{y + 13}">{escape(shown)}</text>' if letters > 2 else ""
    yield (
        f"<g><title>{escape(told)}</title>"
        f'<rect x="{x:.1f}" y="{y}" width="{max(width - 0.5, 0.1):.1f}" height="{_ROW - 1}" '
        f"fill={quoteattr(_colour(node.name))}/>{text}</g>"
    )
    for child in sorted(node.below.values(), key=lambda each: each.name):
        yield from _boxes(child, x, scale, level + 1, total)
        x += child.count * scale


def _colour(name: str) -> str:
    """Return a warm colour, the same for the same file in every picture."""
    file = name.rpartition("(")[2].partition(":")[0]
    shade = zlib.crc32(file.encode(errors="replace"))
    return f"hsl({shade % 50},{60 + shade // 50 % 30}%,{68 + shade // 1500 % 14}%)"
