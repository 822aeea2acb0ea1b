"""Many machines: live work over Ray, and job files for the render managers of studios."""
