"""What is the algorithm? The loop of SPTI and of Private Evolution, without Ray and without engines."""
