"""May this data move? Legal bases, consents and the decision that combines them."""
