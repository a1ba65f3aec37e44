"""Pictures of a report, as data URIs. Renders that are not shown are never read."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from spti_ray.errors import RunDamaged
from spti_ray.release.report.generations import generation_folder, read_columns


class Pictures:
    """Makes data URIs of pictures, until they have taken `max_bytes` together."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self.bytes_left = max_bytes

    def of_candidates(self, wanted: Mapping[str, int], max_side: int) -> dict[str, str]:
        """URI of each candidate's first render, for `wanted` (candidate id -> the generation it was born in)."""
        pngs: dict[str, tuple[int, bytes]] = {}
        for number in sorted(set(wanted.values())):
            path = generation_folder(self._folder, number) / "renders.parquet"
            ids = [candidate_id for candidate_id, born in wanted.items() if born == number]
            if path.exists():
                columns = ["candidate_id", "variant", "png"]
                table = read_columns(path, columns=columns, filters=[("candidate_id", "in", ids)])
                for row in table.to_pylist():
                    known = pngs.get(row["candidate_id"])
                    if known is None or row["variant"] < known[0]:
                        pngs[row["candidate_id"]] = (row["variant"], row["png"])
        uris = {candidate_id: self._uri(png, max_side) for candidate_id, (_, png) in pngs.items()}
        return {candidate_id: uri for candidate_id, uri in uris.items() if uri}

    def of_file(self, file: str, max_side: int) -> str | None:
        """URI of a file of the release folder; None when there is no room left."""
        path = self._folder / "release" / file
        if not path.is_file():  # also a pipe, which would be waited for
            raise RunDamaged(f"{path}: is no file; restore the release")
        return self._uri(path.read_bytes(), max_side)

    def _uri(self, png: bytes, max_side: int) -> str | None:
        kind, data = "png", png
        with Image.open(io.BytesIO(png)) as image:
            # About what a WebP of that size takes: a larger PNG is worth the conversion.
            if max(image.size) > max_side or len(png) > max(8_192, max_side * max_side):
                image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
                buffer = io.BytesIO()
                # What a released image says of itself stays with its picture.
                image.convert("RGB").save(buffer, "WEBP", quality=82, xmp=image.info.get("xmp", b""))
                kind, data = "webp", buffer.getvalue()
        if len(data) > self.bytes_left:
            return None
        self.bytes_left -= len(data)
        return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
