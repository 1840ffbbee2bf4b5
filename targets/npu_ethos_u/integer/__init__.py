"""What an int8 TFLite model computes, in integers and without LiteRT."""
