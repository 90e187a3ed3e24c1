"""The model that foreign servers serve in foreign_server_test.py: doubled = 2 x, upper = words in capitals, and an output nobody asks for."""
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceResponse


class Ranker(MLModel):
    async def predict(self, payload):
        inputs = {one.name: one for one in payload.inputs}
        x = NumpyCodec.decode_input(inputs["x"])
        words = StringCodec.decode_input(inputs["words"])
        if x.max() > 1000:
            raise ValueError("x is too large for this model")
        return InferenceResponse(model_name=self.name, outputs=[
            StringCodec.encode_output("upper", [word.upper() for word in words]),
            NumpyCodec.encode_output("unasked", x),
            NumpyCodec.encode_output("doubled", x * 2)])
