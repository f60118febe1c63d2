"""What decides: values in, values out. Standard library only, no Django; time and chance are arguments."""
