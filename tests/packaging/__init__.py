"""Tests of the package as a whole: imports, newest versions, examples."""
