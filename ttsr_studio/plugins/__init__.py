"""What other packages add by entry point."""
