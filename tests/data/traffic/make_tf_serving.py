"""Write tf_serving_warmup_requests with TensorFlow itself: pip install tensorflow-cpu tensorflow-serving-api."""

from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import classification_pb2, predict_pb2, prediction_log_pb2

file = Path(__file__).parent / "tf_serving_warmup_requests"
tensors = [
    {"x": tf.make_tensor_proto(np.array([[0.5, 1.5]], np.float32))},
    {"x": tf.make_tensor_proto(3.0, shape=[2, 2])},  # one value that stands for four
    {"text": tf.make_tensor_proto([b"caf\xc3\xa9", b"\xff"]), "flag": tf.make_tensor_proto([True, False])},
    {
        "half": tf.make_tensor_proto(np.array([0.5, -2], np.float16)),
        "brain": tf.make_tensor_proto(tf.constant([0.5, -2], tf.bfloat16)),
        "long": tf.make_tensor_proto(np.array([2**40, -1], np.int64)),
        "byte": tf.make_tensor_proto(np.array([0, 255], np.uint8)),
    },
    # The fields that other clients than TensorFlow's own fill.
    {"half": tensor_pb2.TensorProto(dtype=tf.float16.as_datatype_enum, half_val=[0x3800], tensor_shape={"dim": []})},
]
with tf.io.TFRecordWriter(str(file)) as writer:
    for inputs in tensors:
        request = predict_pb2.PredictRequest(inputs=inputs)
        request.model_spec.name = "half_plus_two"
        log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
        writer.write(log.SerializeToString())
    classify = prediction_log_pb2.ClassifyLog(request=classification_pb2.ClassificationRequest())
    writer.write(prediction_log_pb2.PredictionLog(classify_log=classify).SerializeToString())
