"""While transformers converts a GGUF file, the file is read once."""

import gguf
import pytest
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from spti_ray.models.gguf_once import gguf_read_once

pytestmark = pytest.mark.models


@pytest.fixture
def gguf_file(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "tiny.gguf", "llama")
    writer.add_block_count(3)
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()
    return tmp_path / "tiny.gguf"


@pytest.fixture
def read(monkeypatch):
    """The files that were read."""
    read = []

    class Counted(gguf.GGUFReader):
        def __init__(self, path, mode="r"):
            read.append(path)
            super().__init__(path, mode)

    monkeypatch.setattr(gguf, "GGUFReader", Counted)
    return read


def test_transformers_reads_a_file_once_and_finds_in_it_what_it_would_otherwise(gguf_file, read):
    alone = load_gguf_checkpoint(gguf_file)
    assert alone["config"]["num_hidden_layers"] == 3
    read.clear()
    with gguf_read_once():
        assert [load_gguf_checkpoint(gguf_file) for _ in range(3)] == [alone] * 3
        assert gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 3) is gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 3)
    assert read == [gguf_file]


def test_the_next_one_reads_a_file_anew_also_after_an_error(gguf_file, read):
    with pytest.raises(ValueError, match="mine"), gguf_read_once():
        load_gguf_checkpoint(gguf_file)
        raise ValueError("mine")
    load_gguf_checkpoint(gguf_file)
    assert read == [gguf_file] * 2
    assert gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 3) is not gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 3)
