"""One module for each format that recorded traffic comes in."""
