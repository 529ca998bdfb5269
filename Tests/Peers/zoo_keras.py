"""The part of the zoo that Keras makes and tf2onnx exports."""

import pathlib

import numpy as np


def keras_models():
    from tf_keras import Sequential, applications, layers
    from tf_keras import Model

    def application(make, size=32, **settings):
        return lambda: make(input_shape=(size, size, 3), weights=None, classes=10, **settings)

    def recurrent(layer, **settings):
        return lambda: Sequential([
            layers.Input((9,)), layers.Embedding(40, 12), layers.Bidirectional(layer(8, return_sequences=True, **settings)),
            layer(6, **settings), layers.Dense(4, activation="softmax")])  # fmt: skip

    def attention():
        tokens = layers.Input((7, 16))
        mixed = layers.MultiHeadAttention(4, 8)(tokens, tokens)
        x = layers.LayerNormalization()(layers.Add()([tokens, mixed]))
        x = layers.LayerNormalization()(layers.Add()([x, layers.Dense(16)(layers.Dense(32, activation="swish")(x))]))
        return Model(tokens, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))

    def segmenter():
        image = layers.Input((32, 32, 3))
        down = layers.SeparableConv2D(8, 3, strides=2, padding="same", activation="relu")(image)
        deep = layers.LeakyReLU()(layers.BatchNormalization()(layers.Conv2D(16, 3, dilation_rate=2, padding="same")(down)))
        up = layers.UpSampling2D(2, interpolation="bilinear")(layers.Conv2DTranspose(8, 3, padding="same")(deep))
        joined = layers.Concatenate()([up, layers.ZeroPadding2D(2)(layers.Cropping2D(2)(image))])
        return Model(image, layers.Conv2D(4, 1, activation="softmax")(layers.PReLU(shared_axes=[1, 2])(joined)))

    def clips():
        return Sequential([
            layers.Input((6, 16, 16, 2)), layers.Conv3D(8, 3, activation="swish"), layers.MaxPooling3D((1, 2, 2)),
            layers.AveragePooling3D((2, 1, 1)), layers.GlobalAveragePooling3D(), layers.Dense(5, activation="selu")])  # fmt: skip

    def signals():
        return Sequential([
            layers.Input((40, 6)), layers.Conv1D(8, 5, padding="causal", activation="elu"), layers.BatchNormalization(),
            layers.MaxPooling1D(2), layers.Conv1DTranspose(6, 3, strides=2), layers.Flatten(), layers.Dense(5)])  # fmt: skip

    return {
        "keras_mobilenet": application(applications.MobileNet, alpha=0.25),
        "keras_mobilenet_v2": application(applications.MobileNetV2, alpha=0.35),
        "keras_mobilenet_v3": application(applications.MobileNetV3Small, alpha=0.75, minimalistic=False),
        "keras_efficientnet_b0": application(applications.EfficientNetB0),
        "keras_lstm": recurrent(layers.LSTM),
        "keras_gru": recurrent(layers.GRU),
        "keras_gru_reset_before": recurrent(layers.GRU, reset_after=False),
        "keras_attention": attention,
        "keras_segmenter": segmenter,
        "keras_conv3d": clips,
        "keras_conv1d": signals,
    }


def export_keras(name, folder):
    import tensorflow as tf
    import tf2onnx

    tf.config.threading.set_intra_op_parallelism_threads(1)
    seed = sum(map(ord, name))
    tf.random.set_seed(seed)
    random = np.random.default_rng(seed)
    model = keras_models()[name]()
    for weight in model.weights:
        shape = tuple(weight.shape)
        if "moving_variance" in weight.name or "gamma" in weight.name:
            weight.assign(random.uniform(0.6, 1.4, shape))
        elif "moving_mean" in weight.name or "beta" in weight.name or "bias" in weight.name:
            weight.assign(random.normal(0, 0.1, shape))
    shape = [2, *model.inputs[0].shape[1:]]
    if "embedding" in model.layers[0].name:
        given = random.integers(0, 40, shape).astype(np.float32)
    else:
        given = random.normal(0, 1, shape).astype(np.float32)
    expected = model(given, training=False).numpy()
    spec = [tf.TensorSpec([None, *shape[1:]], tf.float32, name="input")]
    tf2onnx.convert.from_keras(model, spec, opset=15, output_path=str(pathlib.Path(folder) / f"{name}.onnx"))
    return [given], [expected]
