"""The stages of a comparison: inputs, columns, reproduce, regimes; then what is asked beside them."""
