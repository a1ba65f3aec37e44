"""The configuration: pydantic v2 models read from YAML. Unknown keys fail.

Everything in a configuration is public: it is written to the run folder, the certificate and the report.
`privacy`, `dataset`, `data`, `evolution`, `prompts` and `release` say *what* is computed and are fixed by a run's first
start, as are the ledger and the engines' models. Only where a run works and on how many actors may change between two
starts (`identity.pinned`).
"""

from spti_ray.config.card import CardConfig
from spti_ray.config.data import DataConfig, DatasetConfig, LedgerConfig, PrivacyConfig
from spti_ray.config.engines import EngineConfig, EnginesConfig, RuntimeConfig, ShardConfig
from spti_ray.config.evolution import EvolutionConfig, ImageVariationConfig, LabelConfig, VariationConfig
from spti_ray.config.filters import FiltersConfig
from spti_ray.config.finetune import FinetuneConfig
from spti_ray.config.prompts import FillExample, PromptsConfig, RephraseExample
from spti_ray.config.provenance import ProvenanceConfig
from spti_ray.config.run import Config, OriginConfig, ReleaseConfig
from spti_ray.config.section import Section
from spti_ray.types import ROLES, Role

__all__ = [
    "ROLES",
    "CardConfig",
    "Config",
    "DataConfig",
    "DatasetConfig",
    "EngineConfig",
    "EnginesConfig",
    "EvolutionConfig",
    "FillExample",
    "FiltersConfig",
    "FinetuneConfig",
    "ImageVariationConfig",
    "LabelConfig",
    "LedgerConfig",
    "OriginConfig",
    "PrivacyConfig",
    "PromptsConfig",
    "ProvenanceConfig",
    "ReleaseConfig",
    "RephraseExample",
    "Role",
    "RuntimeConfig",
    "Section",
    "ShardConfig",
    "VariationConfig",
]
