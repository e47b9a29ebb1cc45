"""One HTML file to look at pages with boxes in a browser (`write.write`)."""
