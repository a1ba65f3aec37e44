"""How many texts and images a run will have made at its end, which texts that are asked for again add to."""

from __future__ import annotations

from spti_ray.config import Config
from spti_ray.planning.workload import phases


class StepsAhead:
    """The steps of a run, foreseen from its settings and from how often texts had to be asked for again so far."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._before, self._current = 0, 0
        self._asked, self._asked_again = 0, 0
        self._again_in_this = 0

    def begin(self, generation: int, done: int) -> int:
        """A generation's candidates come next.

        Args:
            generation: its number.
            done: steps that were made before it.

        Returns:
            How many steps there will be at the end of the run.
        """
        self._before, self._again_in_this = done, 0
        self._current = max(0, generation - self._config.generation_numbers.start)
        self._asked += phases(self._config)[self._current].items("writer")
        return self.total

    def again(self, count: int) -> int:
        """So many texts are asked for once more. Returns as `begin`."""
        self._again_in_this += count
        self._asked_again += count
        return self.total

    @property
    def total(self) -> int:
        """As many later texts will need another attempt as earlier ones did."""
        current, *later = phases(self._config)[self._current :]
        attempts = 1 + self._asked_again / self._asked if self._asked else 1.0
        to_come = sum(round(attempts * phase.items("writer")) + phase.items("renderer") for phase in later)
        return self._before + current.steps + self._again_in_this + to_come
