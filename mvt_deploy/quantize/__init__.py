"""Int8: which nodes a target quantises, their activation ranges, and the Q/DQ graphs."""
