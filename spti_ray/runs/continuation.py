"""A finished run as the start of another one: what `spti refine` takes over from its folder.

All of it is public or differentially private: texts that were voted on, their renders, the release and the certificate.
Nothing in the run's `internal/` is opened, and nothing is written.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from spti_ray import __version__
from spti_ray.config import Config, EngineConfig, OriginConfig
from spti_ray.config.identity import changed_keys, resolved
from spti_ray.config.loading import ConfigError, parse_config
from spti_ray.config.method_traits import is_charged, stays_inside
from spti_ray.config.parsing import parse_json
from spti_ray.dp import artifact
from spti_ray.dp.certificate import certificate
from spti_ray.dp.entries import Entry
from spti_ray.dp.history import attempts_of
from spti_ray.dp.ledger import Ledger
from spti_ray.errors import RunDamaged
from spti_ray.public.release import MODELS_KEY, Models
from spti_ray.public.released_files import ManifestDamaged, label_counts_in, read_certificate, read_manifest
from spti_ray.public.scoring import ScoreCache
from spti_ray.public.themes import Theme, by_candidate
from spti_ray.runs.folder import RunDir
from spti_ray.runs.generation_store import GenerationStore, last_themes
from spti_ray.runs.run_file import read_run
from spti_ray.types import Candidate, Candidates, NoisyHistogram, ReleaseItem, Selected, StoredImage

_NOT_OF_CANDIDATES = (
    *("origin.", "privacy.", "dataset.", "data.", "ledger.", "release.", "title."),
    *("evolution.generations.", "evolution.candidates.", "evolution.survivors.", "evolution.selection."),
    *("evolution.label_shares.", "evolution.themes.", "evolution.vocabulary.", "evolution.shrinkage."),
    *("evolution.keep_survivors.", "evolution.image_variation.", "prompts.hold_subject."),
    "prompts.max_tokens_rendered.",
)
"""Settings that have no part in how a candidate is rendered and embedded."""

_MAY_BE_NULL = {"parent_id"}
_IMAGE_COLUMNS = ["file", "sha256", "text", "label", "generation", "candidate_id", "parent_id", "variant", "seed"]


def output_settings(engine: EngineConfig) -> dict[str, Any]:
    """The settings of an engine that decide what it makes; the others decide where and how fast it runs."""
    return engine.model_dump(include={"kind", "model", "revision", "dtype", "options"})


@dataclass(frozen=True)
class _Released:
    """An image that a run has released."""

    file: Path
    sha256: str

    @property
    def num_bytes(self) -> int:
        return self.file.stat().st_size

    def read(self) -> bytes:
        png = self.file.read_bytes() if self.file.is_file() else b""
        if hashlib.sha256(png).hexdigest() != self.sha256:
            raise RunDamaged(f"{self.file}: is missing or not what the manifest says; restore the run's release")
        return png


class Origin:
    """A finished run with a release, from which another run can start.

    Args:
        folder: the run's folder.

    Raises:
        ConfigError: the folder holds no such run.
    """

    def __init__(self, folder: Path) -> None:
        known = read_run(folder)
        self.folder, self.run_id, self.raw = folder, str(known["run"]), known["config"]
        self._version = known.get("code_version")
        self.config: Config = parse_config(self.raw)
        if stays_inside(self.config):
            raise ConfigError(f"{folder}: its run has no certificate, and so no release to start from")
        if self.config.origin and self.config.rerenders:
            raise ConfigError(
                f"{folder}: is a re-rendering of run {self.config.origin.run}; refine that one, "
                f"in {self.config.origin.path}"
            )
        self._run = RunDir(folder, self.run_id, self.config)
        if not self._run.finished:
            raise ConfigError(f"{folder}: the run is not finished; run the same command again first")

    @classmethod
    def of(cls, wanted: OriginConfig) -> Origin:
        """The run that a configuration names.

        Raises:
            ConfigError: its folder holds another run, or none that can be started from.
        """
        origin = cls(Path(wanted.path))
        if origin.run_id != wanted.run:
            raise ConfigError(
                f"{wanted.path}: holds run {origin.run_id}, not {wanted.run}; give the folder of that one"
            )
        return origin

    @property
    def last_generation(self) -> int | None:
        """The number of the last generation that was voted on; None where nobody voted."""
        found = [path.parent.name for path in self._run.generations.glob("*/selected.parquet")]
        return max((int(name) for name in found if name.isdigit()), default=None)

    @property
    def models(self) -> Models:
        """What each role's engine ran, as the release's manifest says.

        Raises:
            ConfigError: the manifest can't be read.
        """
        file = self._run.release / "manifest.parquet"
        try:
            return parse_json((pq.read_metadata(file).metadata or {}).get(MODELS_KEY, b"{}"))
        except ValueError:
            raise ConfigError(f"{file}: can't be read; restore the run's folder") from None

    @property
    def label_counts(self) -> dict[str, int]:
        """The noised number of records of each label, which this run or the one that it starts from asked for; else
        empty.

        Raises:
            ConfigError: the manifest can't be read.
        """
        try:
            return label_counts_in(read_manifest(self._run.release))
        except ManifestDamaged as error:
            raise ConfigError(str(error)) from None

    def texts(self, cache: ScoreCache) -> tuple[Selected, ...]:
        """The texts that a re-rendering may render, in rank order.

        They are the survivors of the last generation, or the released texts where those were never voted on.

        Args:
            cache: gets the renders that were voted on, of these texts and of their parents.

        Raises:
            RunDamaged: a file of the run is missing or damaged.
        """
        selected = self._survivors(cache)
        if self.config.release.texts == "varied" or not selected:
            selected = self._released()
        wanted = {item.candidate.id for item in selected} | {item.candidate.parent_id or "" for item in selected}
        cache.keep_only(wanted)
        return selected

    def survivors(
        self, config: Config, cache: ScoreCache, learn: Callable[[Candidates, NoisyHistogram, tuple[Theme, ...]], None]
    ) -> tuple[Selected, ...]:
        """The survivors of the last generation, in rank order, as the first candidates of a run with `config`.

        Args:
            config: the new run's configuration.
            cache: gets their renders and embeddings if the new run would make the same ones.
            learn: is called with the last generation's candidates and their noised counts.

        Raises:
            RunDamaged: a file of the run is missing or damaged.
        """
        selected = self._survivors(cache)
        last = self.last_generation
        if last is None:
            raise RunDamaged(f"{self.folder}: holds no generation that was voted on")
        paths = artifact.complete(self._run.generations, last)
        if not paths:
            raise RunDamaged(f"{self._run.generations}: generation {last} has no histogram; restore the run's folder")
        store = GenerationStore(self._run, ScoreCache())
        candidates = store.load(last)
        if candidates is None:
            raise RunDamaged(f"{self._run.generations}: generation {last} has no candidates; restore the run's folder")
        _, histogram = artifact.charged_last(paths)
        themes = store.load_themes(last)
        learn(candidates, by_candidate(candidates, histogram, themes), themes or store.load_kin(last))
        kept = {item.candidate.id for item in selected} if self.embeds_as(config) else set[str]()
        cache.keep_only(kept)
        return selected

    def themes(self) -> dict[str, str]:
        """As `generation_store.last_themes`."""
        return last_themes(self._run)

    def embeds_as(self, config: Config) -> bool:
        """Whether a run with `config` would render and embed this run's candidates just as this run did."""
        changed = changed_keys(self.raw, resolved(config))
        return self._version == __version__ and all(f"{key}.".startswith(_NOT_OF_CANDIDATES) for key in changed)

    def _survivors(self, cache: ScoreCache) -> tuple[Selected, ...]:
        last = self.last_generation
        if last is None:
            return ()
        store = GenerationStore(self._run, cache)
        candidates: Candidates | None = None
        for folder in sorted(self._run.generations.iterdir()):
            if folder.name.isdigit() and int(folder.name) <= last:
                candidates = store.load(int(folder.name))
                # Of all generations but the last, only the renders are needed.
                if int(folder.name) < last:
                    cache.rows = {"image": {}, "text": {}}
        if candidates is None:
            raise RunDamaged(f"{store.folder(last)}: its candidates are gone; restore the run's folder")
        return store.load_selected(last, candidates)

    def _released(self) -> tuple[Selected, ...]:
        rows = self._image_rows()
        times = Counter(row["candidate_id"] for row in rows)
        sampled = self.config.evolution.selection == "sample"
        texts = {
            row["candidate_id"]: Candidate(
                row["candidate_id"], row["text"], row["label"], row["generation"], row["parent_id"]
            )
            for row in rows
        }
        return tuple(Selected(text, 0, times[text.id] if sampled else 1) for text in texts.values())

    def images(self) -> Callable[[ReleaseItem], StoredImage | None]:
        """A function that finds an image among those that the run released.

        Returns:
            A function from an item of a release to the PNG of the same text, variant and seed, or None. Reading it
            raises RunDamaged where the file is not what the manifest says.
        """
        known = {(row["candidate_id"], row["variant"], row["seed"]): row for row in self._image_rows()}

        def find(item: ReleaseItem) -> StoredImage | None:
            row = known.get((item.candidate_id, item.variant, item.seed))
            return None if row is None else _Released(self._run.release / row["file"], row["sha256"])

        return find

    def renders_as(self, config: Config, renderer: EngineConfig, ours: EngineConfig, models: Models) -> bool:
        """Whether a run would render the images of this run just as this run did.

        Args:
            config: the other run's configuration.
            renderer: its renderer.
            ours: this run's renderer.
            models: what the other run's engines run.
        """
        return (
            output_settings(renderer) == output_settings(ours)
            and config.runtime.seed == self.config.runtime.seed
            and self.models.get("renderer") == models.get("renderer")
        )

    def entries(self) -> list[Entry] | None:
        """The entries of the run's ledger; None if the run has no certificate.

        Raises:
            ConfigError: the ledger is not where the run's configuration says.
        """
        if not is_charged(self.config):
            return None
        ledger = Ledger(self.config.ledger.location, self.config.dataset.id)
        entries = ledger.entries()
        if not attempts_of(entries, self.run_id):
            raise ConfigError(f"{ledger.location} does not know run {self.run_id}; {self.config.ledger.if_missing}")
        return entries

    def certificate(self) -> dict[str, Any] | None:
        """The run's certificate as of now, with the audit results of the released one.

        Returns:
            The certificate; None if the run has none, because it used no private data or simulated its noise.

        Raises:
            ConfigError: the ledger is not where the run's configuration says.
        """
        entries = self.entries()
        if entries is None:
            return None
        audits = (read_certificate(self._run.release) or {}).get("audits")
        return certificate(entries, self.run_id, audits if isinstance(audits, dict) else None)

    def _image_rows(self) -> list[dict[str, Any]]:
        known = [name for name in _IMAGE_COLUMNS if name not in _MAY_BE_NULL]
        return read_manifest(self._run.release, known).select(_IMAGE_COLUMNS).to_pylist()
