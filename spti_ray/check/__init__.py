"""What is in the private images, record by record? A page for their owner alone (`spti check`)."""
