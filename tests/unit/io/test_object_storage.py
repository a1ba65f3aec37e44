"""Where files are: each store of the three clouds by its URL, with what the environment says of it."""

import pytest
from pyarrow import fs

from spti_ray.config import DataConfig
from spti_ray.io.object_storage import storage_path
from spti_ray.private.dataset import load_shard
from spti_ray.private.source import describe, fingerprint
from tests.unit.private.conftest import png, values


@pytest.fixture(params=["gcs", "azure"])
def cloud(request):
    """The URL of a folder in an emulator that speaks the store's protocol."""
    return request.getfixturevalue(request.param)


def write(url: str, name: str, content: bytes) -> None:
    folder = storage_path(url)
    if not isinstance(folder.filesystem, fs.GcsFileSystem):
        folder.filesystem.create_dir(folder.path, recursive=True)
    with folder.filesystem.open_output_stream(f"{folder.path}/{name}", compression=None) as file:
        file.write(content)


def test_data_are_read_from_the_clouds(cloud):
    for name, value in (("dog/1.png", 10), ("cat/2.png", 20)):
        write(cloud, name, png(value))
    data = DataConfig(path=cloud)
    assert describe(data).kind == "folder"
    records = list(load_shard(data, "record", 0, 1, ("cat", "dog")))
    assert [record.label for record in records] == ["cat", "dog"] and values(records) == [20, 10]
    before = fingerprint(describe(data))
    write(cloud, "dog/1.png", png(30) + b"more")
    assert fingerprint(describe(data)) != before


def test_a_container_without_an_account_is_told_where_to_name_one(monkeypatch):
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    for scheme in ("az", "abfs", "abfss"):
        with pytest.raises(ValueError, match="set AZURE_STORAGE_ACCOUNT_NAME"):
            storage_path(f"{scheme}://container/data")


def test_an_azure_url_may_name_its_account():
    assert storage_path("abfss://container@account.dfs.core.windows.net/data/").path == "container/data"


def test_an_s3_url_may_name_its_options(monkeypatch):
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    there = storage_path("s3://bucket/data?region=eu-north-1")
    assert there.path == "bucket/data" and there.filesystem.region == "eu-north-1"


def test_another_scheme_is_refused():
    with pytest.raises(ValueError, match="ftp:// is none of s3://"):
        storage_path("ftp://host/data")
