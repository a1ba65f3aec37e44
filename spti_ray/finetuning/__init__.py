"""Methods to compare SPTI with that read the private images without the gate. Internal: they write no certificate."""
