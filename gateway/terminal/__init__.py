"""What commands share: where settings are found, and how answers are written."""
