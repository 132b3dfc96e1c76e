"""What makes a degraded image of a clean sRGB one: resampling, blur, noise, JPEG, and the published chains of them.

None moves the image: pixel i of an image that is 1/s as large shows what lies around s * i + (s - 1) / 2.
"""
