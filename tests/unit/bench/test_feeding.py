"""How embedders are fed, with little work: what is measured is a run's own path. Speeds are not judged."""

from spti_ray.bench import feeding


def test_what_embedders_are_given_is_the_same_each_time_and_every_image_gets_there():
    rate, rows = feeding.renders_per_s(32)
    assert rate > 0 and feeding.renders_per_s(32)[1] == rows != feeding.renders_per_s(16)[1]
    assert 0 < feeding.png_ms() < 1000


def test_every_private_record_is_embedded_once(monkeypatch):
    monkeypatch.setattr(feeding, "FORWARD_S", 0.0)
    given = []
    forward = feeding.Forward.__call__
    monkeypatch.setattr(
        feeding.Forward,
        "__call__",
        lambda self, pixel_values: given.append(pixel_values) or forward(self, pixel_values),
    )
    rate, rows = feeding.records_per_s(40)
    assert rate > 0 and len(rows) == 64
    assert [tuple(batch.shape) for batch in given] == [(16, 3, 224, 224)] * 4  # 20 records a shard
