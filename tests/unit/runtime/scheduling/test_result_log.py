"""The files of kept results: what a crash leaves of them is told from what it does not."""

from hypothesis import given
from hypothesis import strategies as st

from spti_ray.runtime.scheduling.result_log import ResultLog

KEYS = [bytes([number] * 32).hex() for number in range(4)]


def there(log: ResultLog) -> list[bytes | None]:
    return [log.get(key) for key in KEYS]


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=4), st.data())
def test_of_a_file_that_is_cut_off_anywhere_all_that_is_whole_is_found(tmp_path_factory, results, data):
    folder = tmp_path_factory.mktemp("kept")
    log = ResultLog(folder)
    ends = []
    for key, result in zip(KEYS, results, strict=False):
        log.put(0, key, [result[:3], memoryview(result)[3:]])
        (file,) = folder.glob("*.log")
        ends.append(file.stat().st_size)
    assert there(ResultLog(folder)) == results + [None] * (4 - len(results))
    cut = data.draw(st.integers(0, ends[-1]))
    file.write_bytes(file.read_bytes()[:cut])
    whole = sum(end <= cut for end in ends)
    again = ResultLog(folder)
    assert there(again) == results[:whole] + [None] * (4 - whole)
    again.put(0, KEYS[3], [b"more"])
    assert ResultLog(folder).get(KEYS[3]) == b"more", "what follows a cut is in a file of its own"


def test_a_result_with_a_changed_byte_is_not_there_and_those_after_it_are(tmp_path):
    log = ResultLog(tmp_path)
    for key in KEYS:
        log.put(0, key, [b"a result"])
    (file,) = tmp_path.glob("*.log")
    content = bytearray(file.read_bytes())
    content[50] ^= 1
    file.write_bytes(content)
    assert there(ResultLog(tmp_path)) == [None] + [b"a result"] * 3


def test_a_file_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "000000-x.log").write_bytes(b"something else " * 30)
    assert len(ResultLog(tmp_path)) == 0


def test_results_of_earlier_generations_go_away_with_their_files(tmp_path):
    log = ResultLog(tmp_path)
    for generation, key in enumerate(KEYS):
        log.put(generation, key, [b"r"])
    log.keep_from(2)
    assert there(log) == there(ResultLog(tmp_path)) == [None, None, b"r", b"r"]
    assert len(list(tmp_path.iterdir())) == 2
