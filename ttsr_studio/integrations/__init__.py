"""Scripts for DAWs and units for services that come with the program, and how they get to where they belong."""
