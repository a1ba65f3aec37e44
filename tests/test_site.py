"""The documentation site: links and anchors lead somewhere, the reference is the code's, nothing loads from afar."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from docs._site.hooks import linked
from spti_ray.config import Config
from spti_ray.config.identity import flatten
from tests.snippets import DOCUMENTS, ROOT, tokens


def build(config: Path, out: Path) -> subprocess.CompletedProcess[str]:
    # Not with --quiet: MkDocs then counts no warning, and --strict finds nothing.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(out)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True, timeout=240, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it; a link or anchor that leads nowhere fails the build."""
    out = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", out)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


class Loads(HTMLParser):
    """What a browser fetches by itself when it opens a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "link" and values.get("rel") not in ("canonical", "next", "prev"):
            self.found.append(values.get("href") or "")
        if tag in ("script", "img", "iframe", "source") and values.get("src"):
            self.found.append(values["src"] or "")

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(page: Path) -> Loads:
    parser = Loads()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser


def test_every_page_of_the_site_loads_only_its_own_files(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        loads = [link for link in read(page).found if not link.startswith("data:")]
        assert len(loads) > 3
        for link in loads:
            where = site / link[1:] if link.startswith("/") else page.parent / link
            assert "//" not in link and where.is_file(), f"{page.name}: {link}"
    for style in site.rglob("*.css"):
        assert "url(http" not in style.read_text(encoding="utf-8") and "@import" not in style.read_text(
            encoding="utf-8"
        )


def test_the_reference_has_every_setting_and_every_command(site):
    settings = " ".join(read(site / "reference" / "configuration.html").text)
    example = {
        "data": {"path": "x"},
        "dataset": {"id": "x"},
        "privacy": {"epsilon": 1, "delta": 1e-5},
        "evolution": {"generations": 1, "candidates": 1},
        "prompts": {"domain": "x"},
        "release": {"images": 1},
    }
    keys = flatten(Config.model_validate(example).model_dump(mode="json"))
    assert len(keys) > 70
    assert [key for key in keys if key not in settings] == []
    for name in (
        "tensor_parallel_size",
        "api_key_env",
        "prices.input",
        "guidance_scale",
        "nodes[].most",
        "node_wait_s",
    ):
        assert name in settings
    commands = " ".join(read(site / "reference" / "command-line.html").text)
    for name in ("spti run", "spti ledger register", "spti manifest render", "--private-records", "--lifetime-epsilon"):
        assert name in commands
    assert "bundled:stickers" in " ".join(read(site / "reference" / "python.html").text)


def test_the_layout_has_every_module_and_its_purpose(site):
    shown = read(site / "reference" / "layout.html").text
    modules = [path for path in (ROOT / "spti_ray").rglob("*.py") if path.name != "__init__.py"]
    assert len(modules) > 150
    for folder in {path.parent for path in modules}:
        name = folder.relative_to(ROOT / "spti_ray").as_posix()
        assert name == "." or f"{name}/" in shown, name
    assert {path.name for path in modules} <= set(shown)
    assert not [file for file in modules if not ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))]


def test_a_link_and_an_anchor_that_lead_nowhere_fail_the_build(tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.md").write_text("# A\n\n[b](b.md#nowhere)\n")
    (docs / "b.md").write_text("# B\n")
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nhooks:")[0].replace("\ndocs_dir: docs", "")
    checks = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nvalidation:")[1].split("\nnav:")[0]
    (tmp_path / "mkdocs.yml").write_text(f"{settings}\nvalidation:{checks}\n")
    done = build(tmp_path / "mkdocs.yml", tmp_path / "out")
    assert done.returncode != 0 and "nowhere" in done.stdout + done.stderr
    (docs / "b.md").write_text("# B\n\n## Nowhere\n")
    assert build(tmp_path / "mkdocs.yml", tmp_path / "out").returncode == 0


def test_a_link_to_what_a_page_is_made_of_leads_to_that_page_on_the_site():
    links = "[a](../SECURITY.md) [b](../spti_ray/config/) [c](../spti_ray/cli/) [d](tutorial.md)"
    made = "[a](security.md) [b](reference/configuration.md) [c](reference/command-line.md) [d](tutorial.md)"
    assert linked(links, "docs/index.md", "index.md") == made


def test_links_between_files_of_the_repository_lead_somewhere():
    checked = 0
    for document in DOCUMENTS:
        for token in tokens(document):
            link = str(token.attrs.get("href" if token.type == "link_open" else "src", "")).partition("#")[0]
            if link and "://" not in link:
                assert (document.parent / link).exists(), f"{document.relative_to(ROOT)}: {link}"
                checked += 1
    assert checked > 80
