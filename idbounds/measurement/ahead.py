"""What a forward pass will ask for is known from the one before: it is written at the begin of the pass, and left at hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.parametrize import ParametrizationList

from idbounds.measurement.at_hand import Modes, Places, is_of, lay
from idbounds.measurement.undisturbed import undisturbed
from idbounds.projections.adjoint_sum import small_together
from idbounds.projections.point import Point, Write, Writing

#: When memory was filled, and from what, so that a change of either makes it stale: the version of the memory; address and
#: version of θ₀.
_Stamp = tuple[int, int, int]


@dataclass(eq=False)
class Kept:
    """Memory for θ of a tensor in a dtype."""

    name: str
    memory: Tensor
    theta_0: Tensor  # of which θ is, or is to be, made
    is_used: bool = True  # since it was written
    _stamp: _Stamp | None = None  # None: it is not θ now

    def holds(self, theta_0: Tensor) -> bool:
        """Whether it is θ now, of this θ₀ as it is."""
        return self._stamp is not None and self._stamp == self._stamp_of(theta_0)

    def forget(self) -> None:
        """It is not θ any more: the trained numbers have changed."""
        self._stamp = None

    def written(self) -> None:
        """It is θ now."""
        self.is_used, self._stamp = False, self._stamp_of(self.theta_0)

    def _stamp_of(self, theta_0: Tensor) -> _Stamp:
        return self.memory._version, theta_0.data_ptr(), theta_0._version


def write(point: Point, stale: Sequence[Kept], writing: Writing | None = None) -> Writing:
    """Write θ of some tensors, each of its own θ₀; what is returned does it again, for another point."""
    with undisturbed(stale[0].memory.device):
        writing = writing or point.writing([Write(kept.name, kept.memory, kept.theta_0) for kept in stale])
        writing.write(point)
    # Compiled code has written to it behind autograd's back.
    torch.autograd.graph.increment_version([kept.memory for kept in stale])
    for kept in stale:
        kept.written()
    return writing


def by_point(some: Iterable[Kept], points: Mapping[str, Point]) -> dict[Point, list[Kept]]:
    """What is moved to each point."""
    groups: dict[Point, list[Kept]] = {}
    for kept in some:
        groups.setdefault(points[kept.name], []).append(kept)
    return groups


class _Together:
    """Weights that share a node of autograd's graph.

    It is made when the first of them is asked for, because a backward pass runs what was made last first: with nodes from the
    begin of the pass, no gradient would be projected before all of them had arrived.
    """

    def __init__(self, members: Sequence[Kept]) -> None:
        self._memories = {kept.name: kept.memory for kept in members}
        self._held: tuple[Tensor, ...] = ()
        self.point: Point | None = None
        self.modes: Modes | None = None

    def begin(self, point: Point | None, modes: Modes | None) -> None:
        """θ is wanted at a point, or not at all."""
        self._held, self.point, self.modes = (), point, modes

    def held(self) -> tuple[Tensor, ...]:
        """θ of all members."""
        if not self._held:
            assert self.point is not None, "a pass is going on"
            self._held = self.point.held(self._memories)
        return self._held


class _Written(NamedTuple):
    """θ of a tensor, written before it is asked for."""

    together: _Together
    number: int  # among them
    kept: Kept

    def is_on(self) -> bool:
        """Whether a pass is going on, and as it began."""
        modes = self.together.modes
        return modes is not None and modes.are_on()

    def take(self) -> Tensor:
        """θ, now that it is asked for."""
        self.kept.is_used = True
        return self.together.held()[self.number]

    def __deepcopy__(self, memo: object) -> None:
        """A copy of a module has nothing at hand."""


class _AtOnePoint:
    """Tensors that are moved to one point."""

    def __init__(self, members: Sequence[Kept]) -> None:
        self._members = members
        self._is_contiguous = all(kept.theta_0.is_contiguous() for kept in members)
        self._writing: Writing | None = None
        self._parts = [members[part] for part in small_together([kept.memory for kept in members])]
        self._together = [_Together(part) for part in self._parts]

    @property
    def name(self) -> str:
        """Of one of them."""
        return self._members[0].name

    def at_hand(self) -> Iterator[_Written]:
        """Of each."""
        for together, part in zip(self._together, self._parts, strict=True):
            yield from (_Written(together, number, kept) for number, kept in enumerate(part))

    def begin(self, point: Point, modes: Modes) -> None:
        """Write those that are not θ now."""
        stale = [kept for kept in self._members if not kept.holds(kept.theta_0)]
        if len(stale) == len(self._members):
            writing = write(point, stale, self._writing)
            # What is not contiguous it has copied.
            self._writing = writing if self._is_contiguous else None
        elif stale:
            write(point, stale)
        for together in self._together:
            together.begin(point, modes)

    def end(self) -> None:
        """Let go of autograd's graph."""
        for together in self._together:
            together.begin(None, None)


class Ahead:
    """What passes ask for under one setting of autocast, and all that can be known of it before they do."""

    def __init__(self, used: Sequence[Kept], places: Places, points: Mapping[str, Point], autocast: torch.dtype | None) -> None:
        self._used, self._autocast, self._is_all = frozenset(used), autocast, True
        self._groups = [_AtOnePoint(members) for members in by_point(used, points).values()]
        self._places: list[tuple[ParametrizationList, Kept, int]] = []
        for one in (one for group in self._groups for one in group.at_hand()):
            for steps in places[one.kept.name]:
                lay(steps, one)
                self._places.append((steps, one.kept, one.kept.theta_0.data_ptr()))

    @classmethod
    def of_nothing(cls) -> Ahead:
        """Before the first pass."""
        return cls((), {}, {}, None)

    def serves(self, autocast: torch.dtype | None) -> bool:
        """Whether the last pass asked for all of this and nothing else, and θ₀ is where it was."""
        if not self._is_all or autocast != self._autocast:
            return False
        return all(
            kept.is_used and is_of(steps, kept.theta_0) and kept.theta_0.data_ptr() == address
            for steps, kept, address in self._places
        )

    def asked_for(self, kept: Kept) -> None:
        """A pass has asked for something else than what is at hand."""
        self._is_all = self._is_all and kept in self._used

    def begin(self, points: Mapping[str, Point], modes: Modes) -> None:
        """Write what is not θ now, at the points that the tensors are moved to."""
        for group in self._groups:
            group.begin(points[group.name], modes)

    def end(self) -> None:
        """Until the next pass."""
        for group in self._groups:
            group.end()

    def take_away(self) -> None:
        """Leave nothing at hand."""
        for steps, _, _ in self._places:
            lay(steps, None)
