"""What Goldenpath is measured against."""
