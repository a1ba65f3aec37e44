"""What may leave, and what does it cost? The gate, the noise, the ledger and the certificate."""
