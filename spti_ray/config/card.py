"""What the data card of a release says that no run can know."""

from __future__ import annotations

import re
from datetime import date
from typing import Literal

from pydantic import Field, field_validator

from spti_ray.config.section import Section

_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")


class CardConfig(Section):
    """What `datasheet.md` and `croissant.json` say of a release for those who find it. Where nothing is set, nothing is
    said: they name no licence, creator, address, version or date that nobody gave them.
    """

    license: str | None = Field(
        default=None,
        max_length=200,
        description="An identifier of https://spdx.org/licenses, such as CC-BY-4.0, or the URL of a licence. Check "
        "what the models allow.",
    )
    creator: str | None = Field(default=None, min_length=1, max_length=200, description="Who publishes it, by name.")
    creator_type: Literal["Organization", "Person"] = "Organization"
    url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s]+$",
        max_length=500,
        examples=["https://example.org/hands"],
        description="Where it will be.",
    )
    version: str | None = Field(
        default=None,
        pattern=r"^\d{1,9}\.\d{1,9}\.\d{1,9}$",
        examples=["1.0.0"],
        description="Of the release, such as 1.0.0.",
    )
    published: date | None = Field(default=None, description="Such as 2027-01-31. A run does not know when that is.")

    @field_validator("license")
    @classmethod
    def _is_known_by_name_or_address(cls, license: str | None) -> str | None:
        if license is None or _IDENTIFIER.fullmatch(license) or re.fullmatch(r"https?://\S+", license):
            return license
        raise ValueError("give an identifier of https://spdx.org/licenses, such as CC-BY-4.0, or a URL")

    @property
    def license_url(self) -> str | None:
        """The licence as a URL, which is what search engines read."""
        if self.license is None or "://" in self.license:
            return self.license
        return f"https://spdx.org/licenses/{self.license}.html"
