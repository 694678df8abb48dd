"""Arrays to figures. The only importer of matplotlib and Bokeh."""
