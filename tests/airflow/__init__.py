"""Tests of the scheduled loads in a real Airflow and a real Dagster, run from packages on loopback."""
