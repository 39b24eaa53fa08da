"""Scripted policies on caption trees: which captions to read is a rule; the answer is as in `scripted`."""

from videozoom.envs.actions import Action, GetCaption
from videozoom.envs.captions.gold import gold_visits
from videozoom.envs.captions.tree import CaptionTree, Level, Node, WidthRule
from videozoom.envs.protocols.base import Protocol
from videozoom.envs.tasks import Task
from videozoom.policies.base import Policy, Request
from videozoom.policies.scripted import ScriptedPolicy, ZoomRule, rng_of


class ScriptedReader(ScriptedPolicy):
    """Reads captions by rule, then answers; run it with `max_steps = reader.num_steps(task)`.

    `never` reads none, `random` one low-level caption, `uniform` as many as it may, spread evenly over the video, and
    `oracle` those worth most (`gold_visits`). Answers are as in `ScriptedPolicy`.

    Args:
        rule: Which captions are read.
        protocol: What the reader writes in.
        width_rule: That of the environment.
        max_visits: The most captions it reads.
        answerer: Who answers, if not the rule.
    """

    def __init__(
        self,
        rule: ZoomRule,
        protocol: Protocol,
        *,
        width_rule: WidthRule,
        max_visits: int = 15,
        answerer: Policy | None = None,
    ) -> None:
        super().__init__(rule, protocol, answerer=answerer)
        self._width_rule, self._max_visits = width_rule, max_visits

    def num_steps(self, task: Task) -> int:
        """Return the steps an episode takes, the answer included."""
        if self.rule in (ZoomRule.NEVER, ZoomRule.RANDOM):
            return 1 + (self.rule is ZoomRule.RANDOM)
        return 1 + len(self._visits(task))

    def look(self, request: Request) -> Action:
        """Return which caption is read next."""
        if self.rule is ZoomRule.RANDOM:
            leaves = list(self._tree(request.task).nodes(Level.LOW))
            return GetCaption(leaves[rng_of(request).integers(len(leaves))])
        return GetCaption(self._visits(request.task)[request.observation["step"]])

    def _visits(self, task: Task) -> tuple[Node, ...]:
        tree = self._tree(task)
        if self.rule is ZoomRule.ORACLE:
            return gold_visits(tree, task.evidence, self._max_visits)
        leaves = list(tree.nodes(Level.LOW))
        count = min(self._max_visits, len(leaves))
        return tuple(leaves[(2 * number + 1) * len(leaves) // (2 * count)] for number in range(count))

    def _tree(self, task: Task) -> CaptionTree:
        return CaptionTree(task.duration_s, self._width_rule.width(task.duration_s))
