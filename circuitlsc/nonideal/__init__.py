"""What the parts of a device-level circuit do wrong: declared parameters, presets, one draw per part."""
