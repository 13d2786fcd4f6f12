"""What drivers of SCPI instruments have in common."""
