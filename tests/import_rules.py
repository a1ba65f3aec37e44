"""Who may import whom: the table that `test_imports.py` holds the code to and that the documents show."""

SUBPACKAGES = (
    "planning.costs",
    "planning.page",
    "release.export",
    "release.report",
    "runtime.hosting",
    "runtime.local",
    "runtime.placement",
    "runtime.ray",
    "runtime.scheduling",
)
"""Packages within packages that have a row of their own."""

BASE = ("types", "votes", "probe", "step_progress", "errors", "figures", "io", "methods", "config")
"""May be imported by all, and import nothing but those before them."""

MAY_IMPORT: dict[str, tuple[str, ...]] = {
    # What images say of themselves, in words and figures that are public.
    "provenance": (),
    # The security boundary: the public side and the private side know nothing of each other, the gate of neither.
    "models": (),
    "private": ("models",),
    "public": ("models", "provenance"),
    "dp": (),
    # The paper's loop: what is asked of the private side goes through a protocol, what comes back through the gate.
    "evolution": ("dp", "public"),
    # DP fine-tuning of a renderer. Of the gate's package only what a step of DP-SGD costs.
    "finetuning": ("dp.subsampled", "models", "private"),
    # The gate and the votes, attacked with canaries instead of images.
    "audit": ("dp", "private"),
    # A run's folder holds public values and noised counts.
    "runs": ("dp", "models", "public"),
    # What settings ask for, from settings alone.
    "runtime.placement": ("models",),
    "planning": ("dp", "models", "public", "runs"),
    "planning.costs": ("models", "planning", "public", "runs"),
    # A plan as a page: its script has the formulas once more, and the planner's tables.
    "planning.page": ("models", "planning", "planning.costs"),
    "kubernetes": ("models", "runtime.placement"),
    # How it goes, for people and machines: public values only.
    "plotting": (),
    # Pages for the owner alone: templates, and how they are written.
    "internal_pages": (),
    "observability": (),
    # Engines at work.
    "runtime.scheduling": ("public",),
    "runtime.hosting": ("finetuning", "models", "private", "runs"),
    "runtime": ("models", "observability", "private", "runs", "runtime.scheduling"),
    "runtime.ray": (
        "finetuning", "models", "private", "runs", "runtime", "runtime.hosting", "runtime.placement",
        "runtime.scheduling",
    ),
    "runtime.local": (
        "finetuning", "models", "private", "runs", "runtime", "runtime.hosting", "runtime.scheduling",
    ),
    # What a run leaves for others. A report reads the gate's noised artifacts and nothing else of it.
    "release.report": ("dp.artifact", "plotting", "public"),
    "release.export": ("public", "runs"),
    # Who proves a release reads the ledger and makes the certificate again.
    "release": ("dp", "provenance", "public", "release.export", "release.report", "runs"),
    # One run from checks to report: the one place where all of it meets.
    "driver": (
        "dp", "evolution", "finetuning", "models", "observability", "planning", "private", "provenance", "public",
        "release.report", "runs", "runtime", "runtime.local", "runtime.ray", "runtime.scheduling",
    ),
    # A run, while it goes and after, in the owner's browser: what a report may show.
    "show": ("dp", "internal_pages", "observability", "public", "release.report", "runs"),
    # What is in the private images, by the shards of the run to come; a page for their owner, who tells the ledger.
    "check": ("dp", "driver", "internal_pages", "models", "observability", "planning", "private", "runs", "runtime"),
    # Measures images against the private ones, and tells the ledger so; no run and no release can reach it.
    "evaluate": ("dp", "internal_pages", "models", "private", "runs"),
    # How much of the machines' time reaches the engines; votes on random vectors.
    "bench": (
        "models", "observability", "plotting", "private", "public", "runtime.hosting", "runtime.placement",
        "runtime.ray", "runtime.scheduling",
    ),
    # What people and programs call.
    "api": ("driver", "runs"),
    "cli": (
        "audit", "bench", "check", "dp", "driver", "evaluate", "kubernetes", "models", "observability", "planning",
        "planning.costs", "planning.page", "public", "release", "release.export", "release.report", "runs",
        "runtime.local", "runtime.placement", "runtime.ray", "show",
    ),
    "__init__": ("api",),
}  # fmt: skip
"""Package or module of spti_ray: which others it may import beside itself and BASE. A dotted name is a part alone."""

ONLY_IN: dict[str, tuple[str, ...]] = {
    "ray": ("runtime.ray",),
    # Doctor asks torch which devices there are; a peer in the bench calls both as anybody would.
    "torch": ("bench.plain_script", "cli.doctor_checks", "finetuning", "models", "private.device"),
    "vllm": ("models",),
    "transformers": ("bench.plain_script", "models"),
    "diffusers": ("finetuning", "models"),
    "openai": ("models",),
    "opacus": ("finetuning",),
    "peft": ("finetuning",),
    "opendp": ("dp",),
    "dp_accounting": ("dp",),
    "obstore": ("dp",),
    "lmdb": ("private",),
    "pydicom": ("private",),
    "imagecodecs": ("private",),
    "datasets": ("release.export",),
    "c2pa": ("provenance",),
    "cryptography": ("provenance",),
    "sklearn": ("evaluate",),
    "jsonschema": ("kubernetes",),
    "matplotlib": ("plotting",),
    "typer": ("cli",),
}
"""Library: the only packages or modules that may import it."""

NOWHERE = ("pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal")
"""Artifacts are Arrow, JSON, PNG or safetensors: never pickle."""
