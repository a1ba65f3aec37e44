import re
from html.parser import HTMLParser

import numpy as np
import pytest

from spti_ray.dp import artifact
from spti_ray.errors import RunDamaged
from spti_ray.io.files import sha256_of
from spti_ray.release.report import build, data, generations, plots
from spti_ray.release.report.build import build_report
from spti_ray.release.report.statistics import evenly_spaced, mark_new_words, vote_curve, word_shifts
from spti_ray.release.report.template import attacker_sentence, readable_number
from spti_ray.types import Candidate
from tests.unit.release.report.runs import CERTIFICATE, EVIL, MODELS, SIGMA, make_run


class Page(HTMLParser):
    VOID = frozenset({"meta", "link", "img", "br", "input", "hr"})

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.ids, self.sources, self.links, self.text = [], [], [], [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if "id" in attributes:
            self.ids.append(attributes["id"])
        self.sources += [attributes["src"]] if "src" in attributes else []
        self.links += [attributes[key] for key in ("href", "xlink:href") if key in attributes]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        self.text += data


def test_the_page_is_well_formed_and_has_all_sections(built):
    folder, path, text = built
    page = Page(text)
    assert path == folder / "release" / "report.html"
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    anchors = {link[1:] for link in page.links if link.startswith("#")}
    assert {"gallery", "texts", "histograms", "privacy", "models", "settings"} <= anchors <= set(page.ids)
    assert sum(tag == "svg" for tag, _ in page.tags) >= 3
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")


def test_texts_of_a_language_model_are_never_markup(built):
    page = Page(built[2])
    assert not [tag for tag, _ in page.tags if tag in {"script", "b>", "iframe", "object"}]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert EVIL in page.text  # shown as it is
    assert "the <b>label</b> list" in page.text


def test_nothing_is_loaded_from_elsewhere(built):
    page = Page(built[2])
    assert page.sources and all(source.startswith("data:image/") for source in page.sources)
    assert not [link for link in page.links if re.match(r"[a-z]+:|//", link)]
    assert not [tag for tag, _ in page.tags if tag == "link"]
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "@import" not in built[2] and "url(http" not in built[2]


def test_places_secrets_and_internal_files_are_not_mentioned(built):
    for canary in ("/hospital", "10.1.2.3", "sk-canary", "canary-of-internal", "internal", "canary-host"):
        assert canary not in built[2]
    assert "max_tokens: 9" in built[2]


def test_the_certificate_is_shown_with_fields_it_may_grow(built):
    text = Page(built[2]).text
    for part in ("ε = 1 at δ = 1e-5", "At most 10.7 % better", "ε 1 of 4 spent", "spti verify x", "f" * 64):
        assert part in text
    assert "Something new" in text and "deep" in text
    assert "not private" not in text.lower()


def test_without_a_certificate_the_report_says_so_loudly(tmp_path):
    text = Page(build_report(make_run(tmp_path, certificate=None)).read_text()).text
    assert "This release is not private" in text
    assert "Differentially private" not in text and "epsilon (" not in text


def test_a_run_of_simulated_engines_is_told_at_the_top_of_report_and_datasheet(built, tmp_path):
    simulated = {role: {"kind": "fake", "model": "SIMULATED"} for role in ("writer", "image_embedder")}
    folder = make_run(tmp_path, models=MODELS | simulated)
    header = Page(build_report(folder).read_text().split("</header>")[0]).text
    assert "Simulated." in header and "the image embedder, writer only took their places" in header
    assert "**SIMULATED.**" in (folder / "release" / "datasheet.md").read_text().split("\n## ")[0]
    assert "simulated" not in built[2].lower()
    assert "SIMULATED" not in (built[0] / "release" / "datasheet.md").read_text()


def test_the_same_run_gives_the_same_bytes(built):
    assert build_report(built[0]).read_text() == built[2]


def test_caption_voting_has_no_renders_and_still_a_report(tmp_path):
    text = build_report(make_run(tmp_path, renders=False)).read_text()
    assert "a blue thing" in text and 'class="thumb"' not in text


def test_labels_become_a_filter_without_scripts(tmp_path):
    page = Page(build_report(make_run(tmp_path, labels=("all", "cat & <dog>"), images=8)).read_text())
    inputs = [a["id"] for tag, a in page.tags if tag == "input"]
    assert inputs == ["label0", "label1", "label2", "born0", "born1", "born2"]
    assert "cat & <dog>" in page.text


def test_a_large_run_stays_small(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "MAX_PICTURE_BYTES", 40_000)
    folder = make_run(tmp_path, num_candidates=1000, images=450, renders=False, size=(300, 300))
    text = build_report(folder).read_text()
    assert len(text) < 600_000
    shown = len([tag for tag, a in Page(text).tags if tag == "img"])
    assert 0 < shown <= 400
    assert f"{shown} of 450 images are shown" in Page(text).text


def test_a_release_that_is_not_written_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no run"):
        build_report(tmp_path)
    (tmp_path / "run.yaml").write_text("run: x\n")
    with pytest.raises(FileNotFoundError, match="release is not written"):
        build_report(tmp_path)


def test_a_generation_without_a_histogram_is_left_out(tmp_path):
    folder = make_run(tmp_path)
    for path in (folder / "generations" / "01").glob("histogram-*"):
        path.unlink()
    assert data.read_run(folder).generations == (0,)
    assert "Generation 1" not in build_report(folder).read_text()


def test_an_altered_histogram_is_refused(tmp_path):
    folder = make_run(tmp_path)
    path = next((folder / "generations" / "01").glob("histogram-*"))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(artifact.ArtifactError, match="altered"):
        build_report(folder)


def test_a_lineage_tells_the_noised_votes_of_each_step(built):
    votes = {number: generations.read_generation(built[0], number) for number in (0, 1)}
    founder = next(c for c in votes[1].candidates if c.id == "g00-00000")
    shown = " ".join(Page(built[2]).text.split())
    counts = [votes[n].counts_K[[c.id for c in votes[n].candidates].index(founder.id)] for n in (0, 1)]
    assert f"noised votes: {counts[0]} (gen. 0), {counts[1]} (gen. 1)" in shown


def test_an_auditor_finds_every_committed_histogram_by_its_hash(built):
    text = Page(built[2]).text
    files = sorted((built[0] / "generations").glob("*/histogram-*.arrow"))
    assert len(files) == 2 and all(sha256_of(file) in text for file in files)
    assert sha256_of(built[0] / "release" / "manifest.parquet") in text


def test_curves_follow_best_survivors_and_all(built):
    generation = generations.read_generation(built[0], 1)
    curve = vote_curve(generation)
    assert curve.best == 60 and curve.survivors == np.mean([60, 55, 50, 45])
    assert curve.average == generation.counts_K.mean() and curve.sigma == SIGMA
    assert "Noised votes, generation by generation" in built[2]


def generation(texts, counts, sigma):
    candidates = tuple(Candidate(f"g00-{i:05d}", text, "all", 0) for i, text in enumerate(texts))
    label = artifact.Metadata("r1", 0, 0, "c" * 64, sigma, 1, "opendp", True, "0")
    return generations.GenerationData(0, candidates, np.array(counts, dtype=np.int64), sigma, frozenset(), label, "ab")


def test_moved_words_are_signal_and_noise_moves_none():
    texts = ["red cat", "red dog", "blue cat", "blue dog"] * 5
    first = generation(texts, [0] * 20, 1.0)
    liked = generation(texts, [50 if "red" in text else 0 for text in texts], 1.0)
    assert [word for word, _, _ in word_shifts(first, liked)] == ["red", "blue"]
    assert word_shifts(first, generation(texts, [1, -1] * 10, 5.0)) == []


def test_changed_words_mark_what_is_new():
    assert mark_new_words(None, "a cat") == [("a cat", False)]
    assert mark_new_words("a cat on grass", "A small grey cat") == [("A", False), ("small grey", True), ("cat", False)]


def test_the_attacker_bound_falls_back_to_epsilon_and_delta():
    assert attacker_sentence({"attacker": {"in_words": "given"}}) == "given"
    assert "46.2 %" in attacker_sentence({"epsilon": 1.0, "delta": 0.0})
    assert "100.0 %" in attacker_sentence({"epsilon": 1000.0})


@pytest.mark.parametrize(
    ("value", "shown"), [(1232, "1,232"), (1e-5, "1e-5"), (1.0, "1"), (8.3421256, "8.34213"), (True, "yes"), ("x", "x")]
)
def test_numbers_are_readable(value, shown):
    assert readable_number(value) == shown


def test_spread_keeps_both_ends():
    assert evenly_spaced(range(1000), 5) == [0, 250, 500, 749, 999]
    assert evenly_spaced([1, 2], 5) == [1, 2]


@pytest.mark.parametrize("num", [1, 50, 200, 5000])
def test_plots_follow_the_page_and_stay_small(num):
    counts = np.sort(np.random.default_rng(0).normal(0, 5, num).astype(np.int64))[::-1]
    svg = plots.histogram_plot(counts, 5.0, (-20, 40), "h1")
    assert svg.startswith("<svg ") and "var(--accent)" in svg + plots.operator_plot([{"rephrase": 1.0}], [0], "o")
    assert len(svg) < 120_000 and "math" not in svg
    assert not re.search(r'id="(?!h1-)', svg)
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", svg)


def test_words_in_plots_are_escaped():
    svg = plots.word_plot([("<b>&", 0.1, 0.4), ("$x_1$", 0.5, 0.1)], "w")
    assert "&lt;b&gt;&amp;" in svg and "$x_1$" in svg and "<b>" not in svg


@pytest.mark.parametrize("format_3", [True, False])
def test_the_figure_of_a_continued_run_is_the_releases_rounded_upwards(tmp_path, format_3):
    own, both = 4.0, 6.4581234
    parts = {"parts": [{"run": "a", "epsilon": own}, {"run": "b", "epsilon": own}]} if format_3 else {}
    origin = {"runs": ["a"], "epsilon_together": both, "replace_one_epsilon_together": 9.7654321}
    told = CERTIFICATE | {"epsilon": both if format_3 else own, "origin": origin} | parts
    make_run(tmp_path, certificate=told)
    page = build_report(tmp_path).read_text()
    assert "ε = 6.45813 at δ" in page and "<dt>epsilon (ε)</dt><dd>6.45813</dd>" in page
    assert "the queries of this run alone have ε = 4." in page


@pytest.mark.parametrize("name", ["candidates.parquet", "renders.parquet", "selected.parquet"])
def test_a_file_of_a_generation_that_cant_be_read_is_named_in_one_line(name, tmp_path):
    run = make_run(tmp_path / "run")
    (run / "generations" / "01" / name).write_bytes(b"damaged")
    with pytest.raises(RunDamaged, match=rf"01/{name}: can't be read as Parquet; restore the run's folder$"):
        build_report(run)


def test_images_that_could_not_be_made_are_told(tmp_path):
    make_run(tmp_path, images=4)
    assert "could not be made" not in build_report(tmp_path).read_text()
    settings = (tmp_path / "run.yaml").read_text()
    (tmp_path / "run.yaml").write_text(settings.replace("images: 4", "images: 6"))
    assert "2 of 6 could not be made" in build_report(tmp_path).read_text()
