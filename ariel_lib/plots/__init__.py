"""Figures from arrays. The only package that imports matplotlib and Bokeh."""
