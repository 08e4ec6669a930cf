"""Edge loops of the quad mesh: the neck's border, and the concentric rings around an eye or the mouth."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Int


@dataclass(frozen=True)
class QuadGraph:
    """Edges of a quad mesh: the neighbours of every vertex, and the quads beside every edge."""

    quads: Int[np.ndarray, "Q 4"]
    neighbours: dict[int, list[int]]
    beside: dict[tuple[int, int], list[int]]

    def loop(self, start: int, towards: int) -> list[int]:
        """Closed edge loop: at every vertex of valence four go straight on, until back at `start`.

        Raises:
            ValueError: the loop meets an irregular vertex (another base mesh than the one this was written for).
        """
        loop = [start, towards]
        while True:
            before, here = loop[-2:]
            flanks = {v for q in self.beside[min(before, here), max(before, here)] for v in self.quads[q].tolist()}
            ahead = [v for v in self.neighbours[here] if v not in flanks]
            if len(self.neighbours[here]) != 4 or len(ahead) != 1 or len(loop) > len(self.neighbours):
                raise ValueError(f"edge loop from vertex {start} is not regular at {here}: not the hm08 base mesh")
            if ahead[0] == start:
                return loop
            loop.append(ahead[0])

    def flood(self, start: int, border: list[int]) -> list[int]:
        """Vertices reached from `start` along edges without crossing `border`, including the border; sorted."""
        stop = set(border)
        seen, waiting = {start}, [start]
        while waiting:
            for v in self.neighbours[waiting.pop()]:
                if v not in seen:
                    seen.add(v)
                    if v not in stop:
                        waiting.append(v)
        return sorted(seen)


def quad_graph(quads: Int[np.ndarray, "Q 4"]) -> QuadGraph:
    """The `QuadGraph` of a mesh; neighbours in ascending order."""
    neighbours: dict[int, set[int]] = defaultdict(set)
    beside: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, quad in enumerate(quads.tolist()):
        for a, b in zip(quad, quad[1:] + quad[:1], strict=True):
            neighbours[a].add(b)
            neighbours[b].add(a)
            beside[min(a, b), max(a, b)].append(i)
    return QuadGraph(quads, {v: sorted(around) for v, around in neighbours.items()}, dict(beside))


def concentric_rings(graph: QuadGraph, start: int, towards: int, across: int, count: int) -> Int[np.ndarray, "count n"]:
    """Edge loops side by side; column k of every row lies on one edge path across them.

    Args:
        graph: edges of the mesh.
        start, towards: first two vertices of the first ring.
        across: neighbour of `start` on the second ring.
        count: number of rings.
    """
    rings = [graph.loop(start, towards)]
    nearer: set[int] = set(rings[0])
    step = across
    for _ in range(count - 1):
        ring = rings[-1]
        following = [step]
        for previous, here in pairwise(ring):
            sharing = [
                v
                for q in graph.beside[min(previous, here), max(previous, here)]
                if following[-1] in graph.quads[q]
                for v in graph.quads[q].tolist()
                if v not in (previous, here, following[-1])
            ]
            assert len(sharing) == 1, "rings are not side by side"
            following.append(sharing[0])
        onward = [v for v in graph.neighbours[following[0]] if v not in (ring[0], following[1], following[-1])]
        nearer |= set(following)
        rings.append(following)
        step = onward[0] if len(onward) == 1 else -1
    return np.array(rings)
