"""spti-ray: differentially private synthetic images by private votes on public texts (SPTI, arXiv 2506.07555)."""

__version__ = "0.1.0"
