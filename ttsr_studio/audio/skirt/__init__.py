"""A gentle filter's skirt: how far what lies below the edge of a band was turned down, and the way back."""
