"""What a trained model is good for besides forecasting."""
