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


def test_of_two_results_with_one_key_the_later_one_counts_whatever_its_file_is_called(tmp_path):
    (tmp_path / "kept").mkdir()
    for number in range(20):  # the end of a file's name is drawn at random
        ResultLog(tmp_path / "kept").put(0, KEYS[0], [b"%d" % number])
        assert ResultLog(tmp_path / "kept").get(KEYS[0]) == b"%d" % number


def test_results_of_a_version_whose_files_had_no_number_are_found_and_give_way_to_later_ones(tmp_path):
    ResultLog(tmp_path).put(0, KEYS[0], [b"earlier"])
    (file,) = tmp_path.glob("*.log")
    file.rename(tmp_path / "000000-ffffffffffffffff.log")
    assert ResultLog(tmp_path).get(KEYS[0]) == b"earlier"
    ResultLog(tmp_path).put(0, KEYS[0], [b"later"])
    assert ResultLog(tmp_path).get(KEYS[0]) == b"later"


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
