"""What an authority and a joining member do to the trust registry."""
