"""URLs of data and ledgers: stores that there are, and secrets that are never repeated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spti_ray.io.urls import (
    problem_of_address,
    problem_of_data,
    problem_of_ledger,
    redacted,
    redacted_address,
    redacted_in,
    scheme_of,
)

SECRET = "sEcReT"
WITH_A_SECRET = [
    f"s3://key:{SECRET}@bucket/x",
    f"s3://{SECRET}@bucket/x",
    f"s3://key:a/{SECRET}@bucket/x",  # a slash in the secret: what follows it is no part of the address
    f"s3://bucket/x?secret_key={SECRET}",
    f"s3://bucket/x?region=eu&access_key={SECRET}#x",
    f"gs://{SECRET}@bucket/x",
    f"gs://anonymous:{SECRET}@bucket/x",
    f"az://container/x?sv=2&sig={SECRET}",
    f"abfs://container:{SECRET}@account.dfs.core.windows.net/x",
    f"abfss://:{SECRET}@account.blob.core.windows.net/x",
    f"https://{SECRET}@account.example/x",
]


@pytest.mark.parametrize("url", WITH_A_SECRET)
@pytest.mark.parametrize("problem", [problem_of_data, problem_of_ledger])
def test_credentials_are_refused_and_not_repeated(url, problem):
    assert problem(url) and SECRET not in problem(url)
    assert SECRET not in redacted(url)


@pytest.mark.parametrize(
    "url",
    [
        "scans",
        "/data/scans",
        "~/scans",
        "bundled:stickers",
        "s3://bucket/x",
        "s3://bucket/x?region=eu-west-1",
        "az://c/x",
    ]
    + ["gs://anonymous@bucket/x", "abfs://container@account.dfs.core.windows.net/x", "abfss://container/x", "C:/x"],
)
def test_data_are_read_from_paths_and_stores(url):
    assert problem_of_data(url) == "" and redacted(url) == url


@pytest.mark.parametrize("url", ["ledger", "/ledgers", "~/ledger", "s3://bucket", "gs://bucket/x", "az://container/x"])
def test_ledgers_are_kept_in_folders_and_stores_with_an_atomic_create(url):
    assert problem_of_ledger(url) == ""


@pytest.mark.parametrize(
    ("url", "data", "ledger"),
    [
        ("s3a://bucket/x", "write s3://", "write s3://"),
        ("s3:/bucket/x", "names no bucket", "names no bucket"),
        ("s3:///x", "names no bucket", "names no bucket"),
        ("hdfs://host/x", "hdfs:// is none of s3://, gs://, abfs://", "must be a folder or a URL"),
        ("wasbs://c@a.example/x", "write abfs://", "write az://"),
        ("abfs://c@a.dfs.core.windows.net/x", "", "write az://"),
        ("gcs://bucket/x", "", "write gs://"),
        ("file:///x", "write the path without file://", "write the path without file://"),
        ("az://container@account/x", "", "go into the environment"),
        ("s3://bucket/x?region=eu", "", "go into the environment"),
        ("bundled:stickers", "", "must be a folder or a URL"),
    ],
)
def test_what_can_not_be_used_is_told_with_what_to_write(url, data, ledger):
    for problem, told in ((problem_of_data(url), data), (problem_of_ledger(url), ledger)):
        assert (told in problem) and bool(problem) == bool(told) and "\n" not in problem


@given(st.text(max_size=30))
def test_whatever_is_written_is_judged_without_an_error(text):
    for url in (text, f"s3://{text}", f"abfs://{text}"):
        assert isinstance(problem_of_data(url) + problem_of_ledger(url) + redacted(url) + scheme_of(url), str)


@pytest.mark.parametrize("url", WITH_A_SECRET)
def test_a_url_in_a_message_is_shown_without_its_credentials(url):
    for written in (url, url.replace("://", ":/")):  # as pathlib leaves it
        assert SECRET not in redacted_in(
            f"{written}: holds no run (no {written}/run.yaml); use '{written}', or another"
        )
        assert problem_of_data(written) and SECRET not in problem_of_data(written)


@pytest.mark.parametrize(
    "text",
    ["s3://bucket/x: gone; or gs://bucket, abfs://a@b/c.", "see http://head:8265: x", "s3:/bucket: y", "C:/x: a@b:c"],
)
def test_a_message_without_credentials_stays_as_it_is(text):
    assert redacted_in(text) == text


@pytest.mark.parametrize(
    "address", ["ray://me:{}@host:1", "http://me:a/{}@host:1", "{}@host:6379", "ray://h:1?token={}"]
)
def test_credentials_in_the_address_of_ray_are_refused_and_not_repeated(address):
    problem = problem_of_address(address.format(SECRET))
    assert "RAY_AUTH_TOKEN" in problem and SECRET not in problem


@pytest.mark.parametrize("address", ["", "auto", "local", "10.0.0.1:6379", "ray://head.example:10001", "[::1]:6379"])
def test_an_address_of_ray_without_credentials_is_taken(address):
    assert not problem_of_address(address)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("10.0.0.1:6379", "10.0.0.1:6379"),
        ("ray://u:p@head:10001", "ray://head:10001"),
        ("https://token@head/path?key=1#2", "https://head/path"),
        ("http://u:p@ss@head:8265", "http://head:8265"),
        ("auto", "auto"),
    ],
)
def test_credentials_in_an_address_are_not_shown(address: str, shown: str):
    assert redacted_address(address) == shown
