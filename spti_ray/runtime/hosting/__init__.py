"""What an engine, a shard or the trainer is to its process, whoever started that: plain classes, no Ray."""
