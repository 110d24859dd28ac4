"""A stand-in for the package torchcodec, which is not among the packages of the tests."""
