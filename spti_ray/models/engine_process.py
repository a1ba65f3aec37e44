"""What an engine's process is given: the environment that it starts in, and its threads. No heavy library."""

from __future__ import annotations

import os

from spti_ray.config import EngineConfig, Role
from spti_ray.models.bundled import is_local
from spti_ray.models.factory import KINDS, is_vllm

THREADS_BESIDE = 4
"""At least, where there are so many cores: a GPU's engine has one CPU by default, and waits for what it is fed."""


WAITING_THREADS_SLEEP = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
"""Read when OpenMP is loaded. Engines share cores, and a thread that spins while it waits takes a core from others: two
such programs on the same two cores ran ten times slower."""


def engine_environment(role: Role, config: EngineConfig, elsewhere: bool = False) -> dict[str, str]:
    """Environment variables that an engine's process needs before its first import.

    The number of threads is that of the settings, or the number of cores of the machine that calls this. `elsewhere`:
    the engine runs on another machine, which knows better: what it is set to there, or the CPUs that Ray gives it.
    """
    del role  # All roles have the same rules today.
    environment = WAITING_THREADS_SLEEP | {
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
        "DIFFUSERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TQDM_DISABLE": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    if config.threads or not elsewhere:
        environment["OMP_NUM_THREADS"] = str(config.threads or os.cpu_count() or 1)
    models = [config.model, *(str(config.options[key]) for key in ("text_encoder", "base") if config.options.get(key))]
    if all(is_local(model) or config.kind.startswith("fake-") for model in models):
        environment["HF_HUB_OFFLINE"] = "1"
    if is_vllm(config):
        environment |= {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
        if not config.num_gpus:
            environment |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
        if not config.num_gpus or config.kind in ("vllm-vision", KINDS["vllm-vision"]):
            # All of vLLM in the engine's own process. On CPU that saves others, each with an import of vLLM. Of the
            # captioner, which sees private images, it is the process whose output is suppressed.
            environment["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    return environment


def threads_beside(config: EngineConfig) -> int:
    """Threads beside an engine, which decode and resize what it is given, or encode what it has made."""
    return min(os.cpu_count() or 1, max(THREADS_BESIDE, threads_of(config)))


def threads_of(config: EngineConfig) -> int:
    """CPU threads of an engine in this process: of its settings, its node's, or as many as there are cores.

    A pod sees all cores of its machine, and may use as many as OMP_NUM_THREADS says.
    """
    of_node = os.environ.get("OMP_NUM_THREADS", "")
    return config.threads or (int(of_node) if of_node.isdecimal() else 0) or os.cpu_count() or 1
