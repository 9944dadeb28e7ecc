"""The exchange itself: both sides of a query, handovers and their deliveries."""
