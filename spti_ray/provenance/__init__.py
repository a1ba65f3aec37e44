"""What does an image say of itself?"""
