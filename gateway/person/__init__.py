"""Who a person is: identifiers, pseudonyms, keys and words, as one value. All that concerns a person asks here."""
