"""packlight fits a trained model to a device."""
