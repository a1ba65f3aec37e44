"""A folder of private files, here and in object storage."""

import io
from functools import partial

import pytest
from PIL import Image

from spti_ray.io.object_storage import storage_path


def png(value):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (value, value, value)).save(buffer, "PNG")
    return buffer.getvalue()


def values(records):
    return [int(record.image[0, 0, 0]) for record in records]


def put(url, name, content):
    there = storage_path(f"{url}/{name}")
    with there.filesystem.open_output_stream(there.path, compression=None) as file:
        file.write(content)


@pytest.fixture(params=["local", "s3"])
def place(request, tmp_path, monkeypatch):
    """(path or URL of a folder, function that writes a file into it)."""
    if request.param == "local":

        def write(name, content):
            (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "data" / name).write_bytes(content)

        return str(tmp_path / "data"), write
    s3 = request.getfixturevalue("s3")
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    url = s3.new_url()
    return url, partial(put, url)
