"""The stages of an audit, in the order they run: inputs, generate, embed, slices, copies, membership, pictures."""
