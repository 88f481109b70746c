"""Tasks besides forecasting, on the same trunk: embeddings, classification, regression, generation."""
