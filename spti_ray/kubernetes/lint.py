"""Lints manifests before they reach a cluster: by the CRDs' schemas, KubeRay's rules and the rules for private runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from spti_ray.config.loading import ConfigError
from spti_ray.kubernetes import ending_rules, kuberay_rules, network_rules, pod_rules, privacy_rules

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The loader in C where there is one: a CRD has tens of thousands of lines, which take half a minute in Python."""

Rule = Callable[[kuberay_rules.Tree], Iterable[str]]

RULES: tuple[Rule, ...] = (
    *kuberay_rules.RULES,
    *privacy_rules.RULES,
    *ending_rules.RULES,
    *pod_rules.RULES,
    *network_rules.RULES,
)


@dataclass(frozen=True)
class Finding:
    """A fault: in which file, in which document (`RayJob/spti`), and what is wrong with it."""

    file: str
    document: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.document}: {self.message}"


def lint(files: Iterable[Path], crds: Path | None = None) -> list[Finding]:
    """Find the faults of manifests.

    Args:
        files: YAML files.
        crds: A folder with KubeRay's CRDs, against whose schemas the manifests are checked too.

    Raises:
        ConfigError: a file that is not there or not YAML; a folder without CRDs.
    """
    schemas = load_schemas(crds) if crds else {}
    found: list[Finding] = []
    for file in files:
        for document in read_documents(file):
            if not document or document.get("kind") in ("Kustomization", "Component"):
                continue
            name = f"{document.get('kind')}/{(document.get('metadata') or {}).get('name')}"
            # Rules rely on the shape that the schema guarantees. Without a schema they may fail on another shape.
            messages = list(_against_schema(document, schemas))
            if not messages:
                try:
                    messages = [message for rule in RULES for message in rule(document)]
                except (AttributeError, TypeError, KeyError, IndexError, ValueError) as error:
                    messages = [f"is not shaped like a {document.get('kind')} ({error})"]
            found += [Finding(str(file), name, message) for message in messages]
    return found


def read_documents(file: Path) -> list[Any]:
    """The documents of a YAML file."""
    try:
        return list(yaml.load_all(file.read_text(encoding="utf-8"), Loader=_LOADER))
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: can't be read as YAML ({type(error).__name__})") from None


@lru_cache(maxsize=4)
def load_schemas(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """The schemas of the CustomResourceDefinitions in a folder, by (apiVersion, kind).

    Raises:
        ConfigError: there are none.
    """
    schemas: dict[tuple[str, str], dict[str, Any]] = {}
    for file in sorted(folder.glob("*.yaml")):
        for crd in read_documents(file):
            if crd and crd.get("kind") == "CustomResourceDefinition":
                for served in crd["spec"]["versions"]:
                    key = f"{crd['spec']['group']}/{served['name']}", crd["spec"]["names"]["kind"]
                    schemas[key] = closed_schema(served["schema"]["openAPIV3Schema"])
    if not schemas:
        raise ConfigError(f"{folder}: holds no CustomResourceDefinition; KubeRay's are in its helm-chart's crds/")
    return schemas


def closed_schema(schema: Any) -> Any:
    """The same schema, refusing unknown fields: the API server would drop them without a word."""
    if isinstance(schema, list):
        return [closed_schema(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    known = {key: closed_schema(value) for key, value in schema.items()}
    closed = "properties" in known and not known.get("x-kubernetes-preserve-unknown-fields")
    if closed and isinstance(known["properties"], dict) and known.get("type") == "object":
        known.setdefault("additionalProperties", False)
    if known.pop("x-kubernetes-int-or-string", False):
        known.pop("type", None)
        known = {
            "anyOf": [
                {"type": "integer"},
                {"type": "string"} | ({"pattern": known["pattern"]} if "pattern" in known else {}),
            ]
        }
    return known


def _against_schema(document: Any, schemas: dict[tuple[str, str], dict[str, Any]]) -> Iterator[str]:
    if not isinstance(document, dict):
        yield "is not a Kubernetes object"
        return
    schema = schemas.get((str(document.get("apiVersion")), str(document.get("kind"))))
    if schema is None:
        if schemas and str(document.get("apiVersion")).startswith("ray.io/"):
            yield f"no schema for {document.get('apiVersion')} {document.get('kind')}"
        return
    from jsonschema import Draft202012Validator

    # The API server owns metadata and apiVersion; the CRD says nothing of them.
    free = schema | {"properties": schema["properties"] | {"metadata": {"type": "object"}}}
    for error in sorted(Draft202012Validator(free).iter_errors(document), key=lambda error: list(map(str, error.path))):
        yield f"{'.'.join(map(str, error.absolute_path)) or 'document'}: {error.message[:300]}"
