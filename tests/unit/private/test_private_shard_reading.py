from spti_ray.config import DataConfig
from spti_ray.io.object_storage import StoragePath
from spti_ray.private.shard_reading import ShardReading, in_files


def test_what_a_shard_reads_does_not_print_its_files():
    root, file = StoragePath(None, "canary", False), StoragePath(None, "canary/a.png", False)
    shard = ShardReading(root, [file], DataConfig(path="canary"), "record", 0, 1, ("canary",), "voting")
    assert "canary" not in f"{shard!r} {shard} {[shard]}"


def test_records_that_are_wanted_are_found_in_their_files():
    assert list(in_files([3, 0, 4, 2], range(2, 7))) == [(0, 0, range(2, 3)), (2, 3, range(0, 4))]
    assert list(in_files([3, 4], range(5, 5))) == []
