"""What was measured, remembered."""
