"""Files: storing, fetching, thumbnails."""
