"""The name that all threads begin with in which an engine loads or works."""

ENGINE_THREAD = "engine: "
