"""Output laws: from hidden states to distributions."""
