"""What can be done with a finished run: proofs, comparisons, exports, reports."""
