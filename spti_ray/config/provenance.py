"""How released images say that they are synthetic, and who signs it."""

from __future__ import annotations

from pydantic import Field, model_validator

from spti_ray.config.section import Section

TEST = "test"
"""In place of a certificate's file: one that is made for the run, and proves nothing about who made it."""


class ProvenanceConfig(Section):
    """What each image of a release says of itself."""

    xmp: bool = Field(
        default=True,
        description="XMP in each image: that it is synthetic, the method, what protects the private images, the run.",
    )
    certificate: str | None = Field(
        default=None,
        min_length=1,
        description="Sign a C2PA manifest in each image with this certificate: a PEM file, its chain after it; or "
        "`test`, to try it without one.",
    )
    key_file: str | None = Field(default=None, min_length=1, description="PEM file of the certificate's private key.")
    key_env: str | None = Field(
        default=None, min_length=1, description="In place of `key_file`: the environment variable that holds the key."
    )

    @model_validator(mode="after")
    def _one_key(self) -> ProvenanceConfig:
        has_key = self.key_file is not None or self.key_env is not None
        if self.key_file is not None and self.key_env is not None:
            raise ValueError("key_file and key_env are both set; leave one out")
        if has_key and self.certificate is None:
            raise ValueError("a key is named, but no certificate; name its file, or leave the key out")
        if has_key and self.certificate == TEST:
            raise ValueError("certificate: test has a key of its own; leave key_file and key_env out")
        return self
