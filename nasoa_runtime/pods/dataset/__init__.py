"""Class folders of images: listing, reading, splitting. Nothing here reaches torch."""
