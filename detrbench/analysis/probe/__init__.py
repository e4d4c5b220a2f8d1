"""What a device can do at best, measured: the ceilings that times are held against."""
