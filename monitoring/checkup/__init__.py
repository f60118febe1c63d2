"""Whether each part of the installation works: looked at, watched, and what was found written down."""
