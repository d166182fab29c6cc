"""What samples are compared with, and what may be said: errors, verdict, advice, calibration."""
