"""Annotated street photographs: reading them, cropping people out of them, simulating infrared on them."""
