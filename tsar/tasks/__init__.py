"""Tasks besides forecasting, on the same trunk."""
