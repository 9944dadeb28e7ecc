"""How nodes speak: identifiers, signed messages and problems. Pure, without I/O."""
