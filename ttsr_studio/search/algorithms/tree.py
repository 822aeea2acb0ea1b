"""Tree: ways through the noise levels as a tree, gone down again and again where its values are high."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ttsr_studio.diffusion.noise import NoiseKey
from ttsr_studio.errors import OptionError
from ttsr_studio.search.algorithms.local import standardised, uniform
from ttsr_studio.search.protocol import (
    Budget,
    Candidate,
    Problem,
    Rollout,
    Search,
    choose,
    resume,
    score,
    solve,
    too_small,
)


@dataclass(eq=False)
class TreeNode:
    """A state on the way; the root stands for the window.

    Attributes:
        candidate: that stands there; None at the root.
        visits: ways that went through it.
        value: soft maximum of the leaves below it, in standard deviations of their scores.
    """

    candidate: Candidate | None = None
    children: list["TreeNode"] = field(default_factory=list)
    visits: int = 0
    value: float = 0.0


@dataclass(frozen=True)
class Descent:
    """How ways go down: random numbers' key, steps of the plan, and what `tree_search` says."""

    key: NoiseKey
    steps: int
    temperature: float
    widening: float

    def way(self, root: TreeNode, turn: int, left: int) -> list[TreeNode]:
        """From the root to the node that takes a new child; the rest of the way may take `left` evaluations."""
        way = [root]
        while True:
            node, depth = way[-1], len(way) - 1
            node.visits += 1
            open_here = depth == self.steps - 1 or len(node.children) < self.widening * math.sqrt(node.visits)
            if not node.children or (open_here and self.steps - depth <= left):
                return way
            values = np.array([child.value for child in node.children]) / self.temperature
            chances = np.cumsum(np.exp(values - values.max()))
            number = uniform(self.key, turn * self.steps + depth, "descend")
            chosen = int(np.searchsorted(chances, number * chances[-1], side="right"))
            way.append(node.children[min(chosen, len(node.children) - 1)])

    def back_up(self, node: TreeNode, values: Mapping[int, float]) -> float:
        """Values of a node and all below it from those of the leaves, by the index of their candidates."""
        if node.children:
            below = np.array([self.back_up(child, values) for child in node.children]) / self.temperature
            node.value = self.temperature * (float(below.max()) + math.log(float(np.exp(below - below.max()).mean())))
        elif node.candidate is not None:
            node.value = values.get(node.candidate.index, min(values.values()))
        return node.value


def tree_search(
    problem: Problem,
    budget: Budget,
    *,
    eta: float = 1.0,
    temperature: float = 0.5,
    widening: float = 1.0,
    ways: int = 1,
) -> Search:
    """Diffusion tree sampling (Jain et al. 2025, "Diffusion tree sampling: scalable inference-time alignment of
    diffusion models", arXiv 2506.20701, algorithm 1), which learns from all ways gone so far.

    A way goes down from the root: where a node has fewer children than widening · sqrt(visits) it leaves the tree by a
    new stochastic step (a new draw at the root, DDIM with eta below it), else it goes on to a child, with a chance that
    grows as exp(value / temperature). At its end the x0-prediction of the last level, which is the result, is scored;
    the value of a node is the soft maximum of the leaves below it. A new node takes one evaluation, so that a way costs
    the less the further it follows old ones.

    Args:
        eta: of the steps, above 0 to 1.
        temperature: of choices and soft maxima, in standard deviations of the score, above 0.
        widening: of nodes, above 0: larger spreads, smaller goes deeper.
        ways: gone down together before values are known again, at least 1.
    """
    if not 0 < eta <= 1 or not 0 < temperature < math.inf or not 0 < widening < math.inf or ways < 1:
        raise OptionError(
            f"tree: eta {eta:g} above 0 to 1, temperature {temperature:g} and widening {widening:g} above 0, "
            f"ways {ways} from 1 on"
        )
    plan, root, turn, made = problem.plan, TreeNode(), 0, 0
    left = budget.nfe // plan.each
    if left < plan.steps:
        raise too_small("tree", budget, plan.each * plan.steps)
    descent, ends = Descent(problem.key, plan.steps, temperature, widening), list[Candidate]()
    while left:
        going: list[list[TreeNode]] = []
        while len(going) < ways and left:
            going.append(descent.way(root, turn, left))
            left -= plan.steps - len(going[-1]) + 1
            turn += 1
        for level in range(plan.steps):
            # Ways that are still in the old tree wait for those that have left it higher up.
            leaving = [way for way in going if len(way) - 1 == level]
            rollouts = [stepped(way[-1], problem.key, made + i, eta) for i, way in enumerate(leaving)]
            fresh = yield from solve(rollouts, level, preview=1, essential=0 if ends else 1)
            made += len(fresh)
            for way, candidate in zip(leaving, fresh, strict=False):
                way[-1].children.append(TreeNode(candidate))
                way.append(way[-1].children[-1])
            left = left if len(fresh) == len(rollouts) else 0
        ends += [way[-1].candidate for way in going if len(way) > plan.steps and way[-1].candidate]
        z = standardised((yield from score(ends)))
        descent.back_up(root, {end.index: float(value) for end, value in zip(ends, z, strict=True)})
    finished = yield from solve(resume(ends), essential=1)
    return (yield from choose(finished))


def stepped(node: TreeNode, key: NoiseKey, number: int, eta: float) -> Rollout:
    """A new child of a node: a draw below the root, a stochastic step below others."""
    at = node.candidate
    return Rollout(key.child("draw", number) if at is None else at.key.child("walk", number, at.step, eta), at)
