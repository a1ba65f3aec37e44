"""How does the work get onto Ray? The only package that imports it."""
