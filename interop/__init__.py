"""Paths, environment and process launch across the two systems; Windows drives."""
