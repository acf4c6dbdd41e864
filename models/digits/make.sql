-- How the shipped digit model was made: psql -f models/digits/make.sql in a database with the
-- extension and a table mnist(id int, label text, image bytea) of the 60,000 training images.
-- README.md says how its two files are then written.
\set ON_ERROR_STOP on
\timing on

SELECT version, status, metrics
FROM teller.train('digits', 'image_classification',
    'SELECT image, label FROM public.mnist ORDER BY id',
    $${
        "architecture": {
            "name": "digits",
            "input": {"height": 28, "width": 28, "channels": 1},
            "layers": [
                {"type": "conv2d", "filters": 32, "kernel": 3, "activation": "relu"},
                {"type": "max_pool2d", "size": 2},
                {"type": "conv2d", "filters": 64, "kernel": 3, "activation": "relu"},
                {"type": "max_pool2d", "size": 2},
                {"type": "dropout", "rate": 0.2},
                {"type": "flatten"},
                {"type": "dense", "units": 64, "activation": "relu"},
                {"type": "dropout", "rate": 0.2},
                {"type": "dense", "units": "classes"},
                {"type": "softmax"}
            ]
        },
        "epochs": 16, "batch_size": 64, "learning_rate": 0.002,
        "augmentation": {"shift": 0.07, "rotation": 10, "scale": 0.1, "shear": 8,
                         "noise": 0.12, "cutout": 0.25},
        "validation_fraction": 0.05, "patience": 0, "seed": 42
    }$$);
