"""Test charts: what a model keeps of sharpness, detail and colour, and what noise it leaves."""
