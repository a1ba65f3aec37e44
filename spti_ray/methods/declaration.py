"""What a method declares: all that the rest of spti-ray knows of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from spti_ray.methods.studio import Studio
from spti_ray.types import ReleaseItem, Role, Space


class Candidates(Enum):
    """What a method has of candidates: what evolves, or is made as generation 0."""

    NONE = "none"
    TEXTS = "texts"
    IMAGES = "images"
    """An image keeps the text that its first ancestor was rendered from; its children are variations of it."""


class PrivateData(Enum):
    """What is done with the private images."""

    NOT_READ = "not read"
    VOTES = "votes"
    """Shards hold them; each votes for the candidates that are nearest to its records."""
    CAPTIONS = "captions"
    """Shards hold them, and have captions of them rendered."""
    TRAINING = "training"
    """A trainer holds them all, and trains the renderer's model on them before any engine starts."""


class Protection(Enum):
    """What stands between the private images and what a method makes of them."""

    NOT_NEEDED = "not needed"
    """No private image is read: nothing is charged, and all of it may be released."""
    GATE = "gate"
    """Counts of votes leave by the gate alone, which charges and adds noise: released with a certificate."""
    FLOAT_DP_SGD = "DP-SGD in float arithmetic"
    """Its epsilon holds in exact arithmetic, so that no certificate vouches for it: nothing is charged or released."""
    NONE = "none"
    """Not private: it must be allowed in the settings; nothing is charged or released."""


PROTECTS: Mapping[PrivateData, Protection] = {
    PrivateData.NOT_READ: Protection.NOT_NEEDED,
    PrivateData.VOTES: Protection.GATE,
    PrivateData.CAPTIONS: Protection.NONE,
    PrivateData.TRAINING: Protection.FLOAT_DP_SGD,
}
"""What there is to protect each use of private images. A method can't declare another protection than it has."""


@dataclass(frozen=True)
class Method:
    """One way to make images, as `method: NAME` asks for it.

    Raises ValueError for a declaration that contradicts itself.
    """

    name: str
    help: str
    """What it does, in a few words, for the reference of the settings."""
    candidates: Candidates
    private_data: PrivateData
    protection: Protection
    roles: tuple[Role, ...]
    """The engines that every run of it needs, in the order in which they start: the slowest first."""
    make: Callable[[Studio], Sequence[ReleaseItem] | None]
    """Makes the images, once engines and shards are up. None: shards wrote them, and only their labels are known."""
    roles_of_space: Mapping[Space, tuple[Role, ...]] = field(default_factory=dict[Space, tuple[Role, ...]])
    """Of a method with votes: the engines that voting in a space needs besides, which are shown private images or
    captions of them. Its candidates can be voted on in these spaces alone."""
    title: str = ""
    """What releases call it, with its source; else its name."""
    unprotected: str = ""
    """Of a method that nothing protects: what it makes of the private images, in words."""

    def __post_init__(self) -> None:
        if self.protection is not (there_is := PROTECTS[self.private_data]):
            raise ValueError(
                f"method {self.name}: what protects {self.private_data.name} is {there_is.name}, "
                f"not {self.protection.name}"
            )
        if bool(self.roles_of_space) != (self.private_data is PrivateData.VOTES):
            raise ValueError(f"method {self.name}: roles_of_space is for a method with votes, and such a one needs it")
        if bool(self.unprotected) != (self.protection is Protection.NONE):
            raise ValueError(f"method {self.name}: unprotected is for a method that nothing protects, which needs it")

    def roles_in(self, spaces: Collection[Space]) -> tuple[Role, ...]:
        """The engines that a run needs whose votes are in `spaces`, in the order in which they start."""
        return (*self.roles, *self._of_spaces(spaces))

    def shown_private(self, spaces: Collection[Space]) -> tuple[Role, ...]:
        """Those of them that are shown private images, or captions of them."""
        if self.private_data is PrivateData.NOT_READ:
            return ()
        return self._of_spaces(spaces) if self.private_data is PrivateData.VOTES else self.roles

    def _of_spaces(self, spaces: Collection[Space]) -> tuple[Role, ...]:
        return tuple(role for space in spaces for role in self.roles_of_space.get(space, ()))
