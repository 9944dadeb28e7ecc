"""What every exchange shares: deciding, releasing, sending, keeping, and witnessing each other's logs."""
