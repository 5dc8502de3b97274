"""Connected components of a graph that no one machine holds: alternating large-star and small-star operations until every component is a star.

An edge is (child, parent) with child > parent. Either operation needs the edges of a node together and nothing else, so an engine that
shuffles edges by node can carry it out on any number of machines; the stars that are left, each around its least node, do not depend on how
edges were parted or ordered (Kiveris, Lattanzi, Mirrokni, Rastogi and Vassilvitskii 2014, "Connected Components in MapReduce and Beyond",
sections 3 and 4). O(log² n) rounds are proven; a handful are seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

Nodes = npt.NDArray[np.int64]
Edges = tuple[Nodes, Nodes]
"""Children and their parents."""
T = TypeVar("T")


class Star(Protocol):
    """An operation on the edges of some nodes: what becomes of them, and how many of the new ones were not there before."""

    def __call__(self, nodes: Nodes, others: Nodes) -> tuple[Nodes, Nodes, int]: ...


def meeting(bands: npt.NDArray[np.int16], keys: npt.NDArray[np.uint64], documents: Nodes) -> Edges:
    """Edges between each document and the first one with the same key in the same band; of a band and key, all documents must be here."""
    order = np.lexsort((documents, keys, bands))
    bands, keys, documents = bands[order], keys[order], documents[order]
    new = np.ones(len(order), bool)
    new[1:] = (bands[1:] != bands[:-1]) | (keys[1:] != keys[:-1])
    first = documents[np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))] if len(order) else documents
    return _once(documents[~new], first[~new])


def both_ways(edges: Edges) -> Edges:
    """What `large_star` asks for: every edge at either end."""
    return np.concatenate([edges[0], edges[1]]), np.concatenate([edges[1], edges[0]])


def large_star(nodes: Nodes, others: Nodes) -> tuple[Nodes, Nodes, int]:
    """Every greater neighbour of a node goes to the least of the node and its neighbours. Edges are given both ways."""
    nodes, others, least = _least(nodes, others)
    least = np.minimum(nodes, least)
    greater = others > nodes
    children, parents = _once(others[greater], least[greater])
    return children, parents, int((least[greater] != nodes[greater]).sum())


def small_star(nodes: Nodes, others: Nodes) -> tuple[Nodes, Nodes, int]:
    """A node and its smaller neighbours go to the least of these. Edges are given as (child, parent)."""
    nodes, others, least = _least(nodes, others)
    moved = others != least
    children, parents = _once(np.concatenate([nodes, others[moved]]), np.concatenate([least, least[moved]]))
    return children, parents, int(moved.sum())


def connected(edges: T, take: Callable[[T, Star], tuple[T, int]], few: Callable[[T], bool], finish: Callable[[T], T]) -> T:
    """Edges to stars. `take` carries an operation out over all edges, whatever T keeps them in; where they are `few`, `finish` ends it at once."""
    while not few(edges):
        edges, left = take(edges, large_star)
        edges, right = take(edges, small_star)
        if not left and not right:
            return edges
    return finish(edges)


def finished(edges: Edges) -> Edges:
    """The stars of edges that one machine holds: (child, least node of its component)."""
    from lilong.floors.corpus.curation.dedup.clusters import joined

    named, places = np.unique(np.concatenate(edges), return_inverse=True)
    half = len(edges[0])
    roots = named[joined(len(named), places[:half].astype(np.int64), places[half:].astype(np.int64))]
    child = roots != named
    return named[child], roots[child]


def _least(nodes: Nodes, others: Nodes) -> tuple[Nodes, Nodes, Nodes]:
    """Edges sorted by node, each once, and the least neighbour of each edge's node."""
    nodes, others = _once(nodes, others)
    new = np.ones(len(nodes), bool)
    new[1:] = nodes[1:] != nodes[:-1]
    return nodes, others, others[new][np.cumsum(new) - 1]


def _once(nodes: Nodes, others: Nodes) -> Edges:
    order = np.lexsort((others, nodes))
    nodes, others = nodes[order], others[order]
    new = np.ones(len(nodes), bool)
    new[1:] = (nodes[1:] != nodes[:-1]) | (others[1:] != others[:-1])
    return nodes[new], others[new]
