"""The service's page."""
