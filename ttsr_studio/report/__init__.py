"""What is told of a render: JSON, picture, audition page."""
