"""A calibration's report: one HTML file with pictures, for whoever decides on the threshold.

`figures` computes, `words` says it, `pictures` draws it, `page` puts it together.
"""
