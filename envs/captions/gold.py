"""Which captions to read: the visits that the reward for finding the evidence values most."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from videozoom.envs.captions.tree import CaptionTree, Level, Node
from videozoom.envs.tasks import Span
from videozoom.rewards.navigation import EVIDENCE_GAP_S
from videozoom.rewards.overlap import intersection_s, union

_SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class _Choice:
    """Some visits, and what they find."""

    found_s: float = 0.0
    num_leaves: int = 0
    """How many low-level spans they cover."""
    nodes: tuple[Node, ...] = ()

    def plus(self, other: "_Choice") -> "_Choice":
        return _Choice(self.found_s + other.found_s, self.num_leaves + other.num_leaves, self.nodes + other.nodes)


def gold_visits(tree: CaptionTree, evidence: Sequence[Span], max_visits: int) -> tuple[Node, ...]:
    """Return at most `max_visits` medium- and low-level nodes, in order of time, whose F1 score no others exceed.

    Among those of the highest score they are the fewest. Without evidence, none.

    Example:
        >>> tree = CaptionTree(duration_s=64.0, width=4)
        >>> gold_visits(tree, [Span(17.0, 18.0)], 14), gold_visits(tree, [Span(16.0, 20.0)], 14)
        (((2, 1, 2),), ((2, 1),))
    """
    wanted = union(evidence, EVIDENCE_GAP_S)
    # The best by visits and leaves: the score depends on what is found, and on these two numbers.
    best = {(0, 0): _Choice()}
    for medium in tree.nodes(Level.MEDIUM):
        options = list(_options(tree, medium, wanted, max_visits))
        for choice in list(best.values()) if options else ():
            for option in options:
                both = choice.plus(option)
                key = (len(both.nodes), both.num_leaves)
                if len(both.nodes) <= max_visits and (key not in best or both.found_s > best[key].found_s):
                    best[key] = both
    wanted_s = sum(span.length_s for span in wanted)
    leaf_s = tree.duration_s / tree.width**3

    def f1(choice: _Choice) -> float:
        return 2.0 * choice.found_s / (wanted_s + choice.num_leaves * leaf_s) if choice.nodes else 0.0

    highest = max(map(f1, best.values()))
    fewest = min((it for it in best.values() if f1(it) >= highest - _SLACK), key=lambda it: len(it.nodes))
    return tuple(sorted(fewest.nodes, key=tree.span))


def _options(tree: CaptionTree, medium: Node, wanted: Sequence[Span], max_visits: int) -> Iterator[_Choice]:
    """Yield what may be visited in a medium-level span: all of it at once, or those leaves that show most."""

    def found_s(node: Node) -> float:
        return sum(intersection_s(tree.span(node), span) for span in wanted)

    whole_s = found_s(medium)
    if whole_s <= 0.0:
        return
    yield _Choice(whole_s, tree.width, (medium,))
    leaves = sorted(((*medium, part) for part in range(1, tree.width + 1)), key=found_s, reverse=True)
    choice = _Choice()
    for leaf in leaves[:max_visits]:
        if found_s(leaf) <= 0.0:
            return
        choice = choice.plus(_Choice(found_s(leaf), 1, (leaf,)))
        yield choice
