"""The trajectory gate: a candidate precision passes if the boxes it gives over clips are as good as fp32's."""
