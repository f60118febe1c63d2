"""The demonstration workspace: people, devices and campaigns worth looking at, all of them made up."""
