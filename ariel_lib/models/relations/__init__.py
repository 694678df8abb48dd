"""Edge types of the wavelength graph, one module each: `pairs(wavelength)` gives the nodes that it joins. config.RELATIONS lists them."""
