"""`spti manifest`: what Kubernetes is told about a run, written for a configuration and checked beforehand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from spti_ray.cli.common import FAILED, ConfigFile, Overrides, given_path, one_line_errors

manifest_app = typer.Typer(no_args_is_help=True, help="Write KubeRay manifests for a run, and check them.")


@manifest_app.command(
    "render",
    epilog="Examples: `spti manifest render my.yaml --cluster cluster.yaml --out k8s` · then `kubectl apply -k k8s`",
)
def render(
    config: ConfigFile,
    cluster: Annotated[Path, typer.Option(help="The cluster's settings, such as cluster/example/cluster.yaml.")],
    out: Annotated[Path, typer.Option(parser=given_path, help="Folder for the manifests.", metavar="DIR")],
    overrides: Overrides = None,
    kind: Annotated[
        Literal["job", "cluster"],
        typer.Option(help="job: a RayJob that runs it. cluster: a RayCluster that stays, for `spti submit`."),
    ] = "job",
) -> None:
    """Write manifests for this configuration on this cluster: a folder that `kubectl apply -k` takes."""
    with one_line_errors():
        from spti_ray.config.loading import load_config
        from spti_ray.kubernetes.render import render_manifests as documents_of
        from spti_ray.kubernetes.render import write_manifests
        from spti_ray.kubernetes.settings import load_cluster
        from spti_ray.runs.output_places import check_folder

        documents = documents_of(load_config(config, overrides or ()), load_cluster(cluster), kind)
        check_folder("--out", out)
        write_manifests(out, documents)
        typer.echo(f"wrote {', '.join(documents)} to {out}; next: kubectl apply -k {out}")


@manifest_app.command(
    "lint", epilog="Examples: `spti manifest lint k8s/*.yaml` · `spti manifest lint k8s/*.yaml --crds kuberay/crds`"
)
def lint(
    files: Annotated[list[Path], typer.Argument(help="YAML files.", metavar="FILE...")],
    crds: Annotated[
        Path | None,
        typer.Option(help="Folder of KubeRay's CustomResourceDefinitions, to check against their schemas too."),
    ] = None,
) -> None:
    """Check manifests: KubeRay's rules, what a run on private images needs and, with --crds, the schemas.

    Prints one line per fault, and exits with 1 if there is any.
    """
    with one_line_errors():
        from spti_ray.kubernetes.lint import lint as faults_of

        faults = faults_of(files, crds)
        for fault in faults:
            typer.echo(str(fault))
        checked = "rules and schemas" if crds else "rules; no --crds, so no schemas"
        typer.echo(f"{len(files)} file(s), {len(faults)} fault(s) ({checked})")
        if faults:
            raise typer.Exit(FAILED)
