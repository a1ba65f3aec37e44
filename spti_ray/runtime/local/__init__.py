"""The same run without Ray, on this machine alone, for tests and debugging.

The driver's process hosts the writer and the renderer, which have public input only. All that sees private images (the
shards, the engines that serve them, the trainer) is in one process of its own, the *private process*. It is as silent
as a shard's actor, and its errors are as free of content.

Nothing is restarted here. If the private process or an engine dies the run ends in one line, and the same command goes
on with it.
"""
