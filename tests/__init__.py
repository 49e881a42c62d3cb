"""The test house: tests mirror the package; what they share speaks raw bytes and knows no HTTP library."""
